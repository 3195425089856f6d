"""The command that installs NVIDIA's driver, on each kind of system."""

import pytest

from gpubp.backends.driver_fix import IN_CONTAINER, IN_MACOS, IN_WSL, OF_NVIDIA, command_for

UBUNTU = "sudo apt install ubuntu-drivers-common && sudo ubuntu-drivers install"
STREAM = "sudo dnf module enable nvidia-driver:open-dkms && sudo dnf install nvidia-open"
COMMANDS = {
    "Ubuntu": ({"ID": "ubuntu", "ID_LIKE": "debian"}, UBUNTU),
    "Mint": ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, UBUNTU),
    "Debian": ({"ID": "debian"}, "sudo apt install nvidia-driver"),
    "RHEL 9": ({"ID": "rhel", "ID_LIKE": "fedora", "VERSION_ID": "9.5"}, STREAM),
    "Rocky 8": ({"ID": "rocky", "ID_LIKE": "rhel centos fedora", "VERSION_ID": "8.10"}, STREAM),
    "Alma 10": (
        {"ID": "almalinux", "ID_LIKE": "rhel centos fedora", "VERSION_ID": "10.0"},
        "sudo dnf install nvidia-open",
    ),
    "Fedora": ({"ID": "fedora", "VERSION_ID": "44"}, "sudo dnf install nvidia-open"),
    "openSUSE": ({"ID": "opensuse-leap", "ID_LIKE": "suse opensuse"}, "sudo zypper install nvidia-open"),
    "Arch": ({"ID": "arch"}, "sudo pacman -S nvidia-open"),
    "unknown": ({}, OF_NVIDIA),
}


@pytest.mark.parametrize(("release", "command"), COMMANDS.values(), ids=COMMANDS)
def test_each_distribution_has_its_command(release, command):
    assert command_for(release).partition(" (")[0] == command
    assert ("NVIDIA's repository added" in command_for(release)) == (
        "nvidia-open" in command and "pacman" not in command
    )


def test_where_the_driver_belongs_elsewhere():
    ubuntu = {"ID": "ubuntu"}
    assert command_for(ubuntu, kernel="5.15.167.4-microsoft-standard-WSL2") == IN_WSL
    assert command_for(ubuntu, in_container=True) == IN_CONTAINER
    assert command_for(ubuntu, kernel="5.15.167.4-microsoft-standard-WSL2", in_container=True) == IN_CONTAINER
    assert command_for({}, system="Windows") == OF_NVIDIA
    assert command_for({}, system="Darwin") == IN_MACOS
