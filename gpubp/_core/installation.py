"""Where this installation of gpubp comes from, for commands that install it again."""

import json


def installed_from() -> str:
    """Return what pip is given to install gpubp again: a folder, a file, an address, or a name if it is from an index.

    Examples
    --------
    >>> isinstance(installed_from(), str)
    True
    """
    from importlib.metadata import PackageNotFoundError, distribution  # which an import of gpubp does without

    try:
        text = distribution("gpubp").read_text("direct_url.json")
    except PackageNotFoundError:
        text = None
    return requirement_in(text) if text else "gpubp"


def requirement_in(direct_url: str) -> str:
    """Read the file in which pip records that a package is not from an index (PEP 610).

    Examples
    --------
    >>> requirement_in('{"url": "https://example.org/gpubp", "vcs_info": {"vcs": "git", "commit_id": "1f"}}')
    'git+https://example.org/gpubp@1f'
    """
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    found = json.loads(direct_url)
    url: str = found["url"]
    if "vcs_info" in found:
        return f"{found['vcs_info']['vcs']}+{url}@{found['vcs_info']['commit_id']}"
    return url2pathname(urlsplit(url).path) if url.startswith("file:") else url
