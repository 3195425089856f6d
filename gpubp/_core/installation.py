"""Where this installation of gpubp comes from, for commands that install it again, or with an extra."""

import json
import os
from typing import Any


def installed_from() -> str:
    """Return what pip is given to install gpubp again: a folder, a file, an address, or a name if it is from an index.

    Examples
    --------
    >>> isinstance(installed_from(), str)
    True
    """
    text = _direct_url()
    return requirement_in(text) if text else "gpubp"


def install_command(packages: str, extra: str = "") -> str:
    """Return the command that installs an extra of gpubp from where gpubp is installed from, or else its packages.

    It is the packages if gpubp is not known to be from a folder, a file or an address, or if these are gone.

    Examples
    --------
    >>> install_command("onnx onnxruntime")
    'pip install onnx onnxruntime'
    """
    text = _direct_url() if extra else None
    return f"pip install {(text and with_extra(text, extra)) or packages}"


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


def with_extra(direct_url: str, extra: str) -> str:
    """Return what pip is given to install gpubp with an extra, as a shell reads it; "" if its source is gone.

    Examples
    --------
    >>> with_extra('{"url": "https://example.org/gpubp.whl"}', "onnx")
    '"gpubp[onnx] @ https://example.org/gpubp.whl"'
    """
    found: dict[str, Any] = json.loads(direct_url)
    requirement = requirement_in(direct_url)
    if not found["url"].startswith("file:") or "vcs_info" in found:
        return f'"gpubp[{extra}] @ {requirement}"'
    editable = "-e " if found.get("dir_info", {}).get("editable") else ""
    return f'{editable}"{requirement}[{extra}]"' if os.path.exists(requirement) else ""


def _direct_url() -> str | None:
    from importlib.metadata import PackageNotFoundError, distribution  # which an import of gpubp does without

    try:
        return distribution("gpubp").read_text("direct_url.json")
    except PackageNotFoundError:
        return None
