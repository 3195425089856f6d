"""Hatchling's metadata hook: where the project is, which the workflow that builds a release knows."""

import os

from hatchling.metadata.plugin.interface import MetadataHookInterface


class AddressHook(MetadataHookInterface):
    """Add ``[project.urls]`` from the environment variables ``REPOSITORY_URL`` and ``SITE_URL``, if they are set."""

    def update(self, metadata):
        repository, site = os.environ.get("REPOSITORY_URL"), os.environ.get("SITE_URL")
        urls = {"Documentation": site} if site else {}
        if repository:
            changes = f"{repository}/blob/main/CHANGELOG.md"
            urls |= {"Repository": repository, "Issues": f"{repository}/issues", "Changelog": changes}
        if urls:
            metadata["urls"] = urls
