"""Hatchling's build hook: compile the engine and put it into the wheel, or for an editable install beside its sources.

``GPUBP_BUILD_ENGINE`` is 0 for a wheel without the engine, or one of the targets of ``compiler.py``.
"""

import importlib.util
import os
import sysconfig
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ENVIRONMENT_VARIABLE = "GPUBP_BUILD_ENGINE"
FOLDER = "gpubp/engine/cpu"


def _import_compiler(folder: Path) -> Any:
    """Import ``compiler.py``, where gpubp is not installed."""
    specification = importlib.util.spec_from_file_location("gpubp_compiler", folder / "compiler.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class EngineHook(BuildHookInterface[Any]):
    """Compile the engine for this machine, or for a target."""

    @cached_property
    def compiler(self) -> Any:
        """The module that compiles."""
        return _import_compiler(Path(self.root, FOLDER))

    @cached_property
    def target(self) -> str | None:
        """What to compile for; "" without the engine, None for this machine.

        Raises
        ------
        ValueError
            If the environment variable names no target.
        """
        requested = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
        if requested in ("", "1"):
            return None
        if requested != "0" and requested not in self.compiler.TARGETS:
            targets = ", ".join(self.compiler.TARGETS)
            raise ValueError(f"{ENVIRONMENT_VARIABLE} must be 0, 1 or one of {targets}, got {requested!r}")
        return requested if requested != "0" else ""

    def dependencies(self) -> list[str]:
        """Ask for a compiler where there is none."""
        if self.target == "" or (self.target is None and self.compiler.system_compiler()):
            return []
        return ["ziglang>=0.14"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel is put together."""
        if self.target == "":
            return
        if version == "editable":
            if not self.compiler.is_built():
                self.compiler.build()
            return
        self._temporary = tempfile.TemporaryDirectory(prefix="gpubp-")
        library, compiler = self.compiler.build(Path(self._temporary.name), self.target)
        build_data["force_include"][str(library)] = f"{FOLDER}/{library.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{self._platform(compiler)}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what is in the wheel by now."""
        if hasattr(self, "_temporary"):
            self._temporary.cleanup()

    def _platform(self, compiler: Any) -> str:
        """Return where the wheel can be installed; the system's compiler uses the system's own libc."""
        if self.target or compiler.system == "macos":
            tag: str = self.compiler.TARGETS[compiler.target]
            return tag
        return sysconfig.get_platform().replace("-", "_").replace(".", "_")
