"""The one command that installs NVIDIA's driver, or makes it visible: on this distribution, in WSL, in a container."""

import functools
import os
import platform
from collections.abc import Mapping

OF_NVIDIA = "the installer of https://www.nvidia.com/drivers"
IN_CONTAINER = (
    "for this container: docker run --gpus all IMAGE (the driver belongs on the host, with the NVIDIA "
    "container toolkit)"
)
IN_MACOS = 'device="auto" or "cpu" (there is no NVIDIA driver for macOS)'
IN_WSL = "wsl --update (in Windows, after its own NVIDIA driver; WSL needs no driver within)"

_ADDED = "(with NVIDIA's repository added: https://docs.nvidia.com/datacenter/tesla/driver-installation-guide)"
_OF_FAMILIES = {
    # part of ID or ID_LIKE in /etc/os-release, the most particular first
    "ubuntu": "sudo apt install ubuntu-drivers-common && sudo ubuntu-drivers install",
    "debian": "sudo apt install nvidia-driver (with contrib and non-free among the components of APT's sources)",
    "fedora": f"sudo dnf install nvidia-open {_ADDED}",
    "suse": f"sudo zypper install nvidia-open {_ADDED}",
    "arch": "sudo pacman -S nvidia-open",
}
_OF_STREAMS = f"sudo dnf module enable nvidia-driver:open-dkms && sudo dnf install nvidia-open {_ADDED}"
"""RHEL 8 and 9 and what is built of them, whose driver is a stream of a module."""


def command_for(
    release: Mapping[str, str], *, system: str = "Linux", kernel: str = "", in_container: bool = False
) -> str:
    """Return the command for a system: its name, the version of its kernel, and the fields of /etc/os-release.

    Examples
    --------
    >>> command_for({"ID": "ubuntu", "ID_LIKE": "debian"})
    'sudo apt install ubuntu-drivers-common && sudo ubuntu-drivers install'
    """
    if system == "Darwin":
        return IN_MACOS
    if system != "Linux":
        return OF_NVIDIA
    if in_container:  # also one of Docker Desktop, whose kernel is WSL's
        return IN_CONTAINER
    if "microsoft" in kernel.lower():
        return IN_WSL
    families = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    if "rhel" in families and release.get("VERSION_ID", "").partition(".")[0] in ("8", "9"):
        return _OF_STREAMS
    return next((command for family, command in _OF_FAMILIES.items() if _belongs(families, family)), OF_NVIDIA)


def _belongs(families: list[str], family: str) -> bool:
    alike = {"fedora": ("fedora", "rhel", "centos"), "suse": ("suse", "opensuse", "sles")}.get(family, (family,))
    return any(name.startswith(alike) for name in families)


@functools.cache
def driver_command() -> str:
    """Return the command for this machine."""
    try:
        release: Mapping[str, str] = platform.freedesktop_os_release()
    except OSError:
        release = {}
    markers = ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io")
    in_container = any(map(os.path.exists, markers)) or "container" in os.environ
    return command_for(release, system=platform.system(), kernel=platform.release(), in_container=in_container)
