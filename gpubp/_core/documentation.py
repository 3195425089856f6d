"""The link to the site that scikit-learn puts into the HTML of an estimator."""

import functools
import importlib.metadata


@functools.cache
def site_address() -> str:
    """Return the address of the site, which the metadata of a release has; "" if it is not known."""
    try:
        urls = importlib.metadata.metadata("gpubp").get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    named: dict[str, str] = dict(url.split(", ", 1) for url in urls)
    return named.get("Documentation", "").rstrip("/")


class DocumentationLink:
    """Makes the HTML of an estimator link to its page of the site, where the address of the site is known."""

    def _get_doc_link(self) -> str:
        """Return the address of the page of a class of gpubp; "" for a user's, and without a site."""
        kind, site = type(self), site_address()
        return f"{site}/reference/gpubp.{kind.__name__}.html" if site and kind.__module__.startswith("gpubp.") else ""
