"""Compile the engine: ``python -m gpubp.engine.cpu.compiler`` does it in place.

``CC`` names another compiler, and ``CFLAGS`` has further options, such as ``-g -fsanitize=address,undefined``.

The build hook loads this file by its path, where gpubp is not installed; so it imports the standard library alone.
"""

import argparse
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SOURCES = HERE / "c"
COMMAND = "python -m gpubp.engine.cpu.compiler"

OPTIONS = ("-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fvisibility=hidden")
WARNINGS = ("-Wall", "-Wextra")
INSTRUCTIONS = {  # how wide vectors are to be, beside the level of x86-64
    "baseline": ("x86-64", ()),
    "avx2": ("x86-64-v3", ()),
    "avx512": ("x86-64-v4", ("-mprefer-vector-width=512",)),
}
PRECISIONS = (32, 64)

TARGETS = {  # each with the tag of its wheel; zig has the libraries of all of them
    "x86_64-linux-gnu.2.17": "manylinux_2_17_x86_64",
    "aarch64-linux-gnu.2.17": "manylinux_2_17_aarch64",
    "x86_64-linux-musl": "musllinux_1_2_x86_64",
    "aarch64-linux-musl": "musllinux_1_2_aarch64",
    "x86_64-macos.11.0": "macosx_11_0_x86_64",
    "aarch64-macos.11.0": "macosx_11_0_arm64",
    "x86_64-windows-gnu": "win_amd64",
}


class CompilerError(RuntimeError):
    """The engine cannot be compiled; the message has the command, its output and the fix."""


class Compiler(NamedTuple):
    """A command that compiles C, and what for; zig takes the target as an option."""

    command: tuple[str, ...]
    target: str
    is_zig: bool

    @property
    def system(self) -> str:
        """Return "linux", "macos" or "windows"."""
        return self.target.split("-")[1].partition(".")[0]

    @property
    def is_x86(self) -> bool:
        """Return whether there are several instruction sets."""
        return self.target.startswith("x86_64-")

    def options(self, variant: str) -> tuple[str, ...]:
        """Return what all compilations for an instruction set have in common."""
        level, wide = INSTRUCTIONS[variant]
        options = [*OPTIONS, *WARNINGS]
        if self.system != "windows":
            options.append("-fPIC")
        if self.is_zig:
            options += ["-target", self.target]
        elif self.system == "macos":
            architecture = "x86_64" if self.is_x86 else "arm64"
            options += ["-arch", architecture, "-mmacosx-version-min=11.0"]
        if self.is_x86:
            options += [f"-mcpu={level.replace('-', '_')}" if self.is_zig else f"-march={level}", *wide]
        flags = () if self.is_zig else shlex.split(os.environ.get("CFLAGS", ""))
        return (*flags, *options)  # the last ones count


# --- sources ---


def digest(sources: Path = SOURCES) -> str:
    """Compute the SHA-256 of the sources, by name, and of the options; the library carries that of its own."""
    total = hashlib.sha256(repr((OPTIONS, INSTRUCTIONS, PRECISIONS)).encode())
    for path in source_files(sources):
        content = path.read_bytes()
        total.update(f"{path.relative_to(sources).as_posix()} {len(content)} ".encode())
        total.update(content)
    return total.hexdigest()


def source_files(sources: Path = SOURCES) -> list[Path]:
    """List the files of C, in one order on every system."""
    files = [path for pattern in ("*.c", "*.h") for path in sources.rglob(pattern)]
    return sorted(files, key=lambda path: path.relative_to(sources).as_posix())


def library_name(system: str = sys.platform) -> str:
    """Return the name of the library's file."""
    return "_engine." + {"darwin": "dylib", "macos": "dylib", "win32": "dll", "windows": "dll"}.get(system, "so")


def is_built() -> bool:
    """Return whether there is a library in place that carries the hash of the sources."""
    path = HERE / library_name()
    return path.is_file() and digest().encode() in path.read_bytes()


# --- compilers ---


def host_target() -> str:
    """Name this machine in the form that zig takes."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(name := platform.machine().lower(), name)
    if sys.platform == "win32":
        return f"{machine}-windows-gnu"
    if sys.platform == "darwin":
        return f"{machine}-macos.11.0"
    return f"{machine}-linux-" + ("gnu.2.17" if platform.libc_ver()[0] == "glibc" else "musl")


def system_compiler() -> Compiler | None:
    """Find the compiler that ``CC`` names, or else a suitable one of the system; None if there is neither.

    What is made with MinGW may need libraries that only MinGW has, so on Windows only ``CC`` counts.
    """
    target = host_target()
    if named := shlex.split(os.environ.get("CC", "")):
        return Compiler(tuple(named), target, is_zig=False)
    for name in ("cc", "gcc", "clang") if sys.platform != "win32" else ():
        compiler = Compiler((name,), target, is_zig=False)
        if shutil.which(name) and all(_works(compiler, variant) for variant in _variants(compiler)):
            return compiler
    return None


def find_compiler(target: str | None = None) -> Compiler:
    """Find a compiler for this machine, or zig for a target.

    Raises
    ------
    CompilerError
        If there is none.
    """
    found = system_compiler() if target is None else None
    if found:
        return found
    if importlib.util.find_spec("ziglang") is None:
        reason = f"for {target}" if target else "(cc, gcc or clang, not older than GCC 12 or Clang 12)"
        raise CompilerError(f"no C compiler {reason} was found; to fix it: pip install ziglang, or set CC")
    return Compiler((sys.executable, "-m", "ziglang", "cc"), target or host_target(), is_zig=True)


def _works(compiler: Compiler, variant: str) -> bool:
    """Try whether a compiler starts and knows all options."""
    command = [*compiler.command, *compiler.options(variant), "-fsyntax-only", "-x", "c", "-"]
    try:
        done = subprocess.run(command, input="#include <stdint.h>\nint64_t a;\n", capture_output=True, text=True)
    except OSError:
        return False
    return done.returncode == 0


def _variants(compiler: Compiler) -> tuple[str, ...]:
    return tuple(INSTRUCTIONS) if compiler.is_x86 else ("baseline",)


# --- compilation ---


def build(folder: Path = HERE, target: str | None = None) -> tuple[Path, Compiler]:
    """Compile the library into a folder, for this machine or for a target.

    Raises
    ------
    CompilerError
        If there is no compiler, or it fails.
    """
    if sys.maxsize < 2**32 and target is None:
        raise CompilerError("the engine needs a 64-bit Python; to install gpubp without it, set GPUBP_BUILD_ENGINE=0")
    compiler = find_compiler(target)
    objects: dict[str, list[str]] = {
        "interface": [*compiler.options("baseline"), f'-DGPUBP_SOURCES="{digest()}"', str(SOURCES / "interface.c")]
    }
    for variant in _variants(compiler):
        for precision in PRECISIONS:
            defined = (f"-DVARIANT={variant}", f"-DPRECISION={precision}")
            source = str(SOURCES / "engine.c")
            objects[f"{variant}_{precision}"] = [*compiler.options(variant), *defined, source]
    try:
        return folder / _compile(compiler, objects, folder).name, compiler
    except PermissionError as error:  # on Windows also while a process has it loaded
        raise CompilerError(
            f"{folder} cannot be written to ({error}); to fix it: end the programs that use gpubp, and make it writable"
        ) from None


def _compile(compiler: Compiler, objects: dict[str, list[str]], folder: Path) -> Path:
    with tempfile.TemporaryDirectory(prefix=".engine-", dir=folder) as made:
        files = {name: os.path.join(made, f"{name}.o") for name in objects}
        compilations = [(*compiler.command, *objects[name], "-c", "-o", file) for name, file in files.items()]
        with ThreadPoolExecutor(os.cpu_count()) as executor:
            list(executor.map(_run, compilations))
        library = Path(made, library_name(compiler.system))
        options = (*compiler.options("baseline"), "-shared", "-o", str(library))
        _run((*compiler.command, *options, *files.values(), *_libraries(compiler)))
        os.replace(library, folder / library.name)  # no process sees a part of it
    return library


def _libraries(compiler: Compiler) -> tuple[str, ...]:
    without_names = ("-Wl,-s",) if compiler.is_zig and compiler.system != "macos" else ()
    return (*without_names, "-lm") if compiler.system == "linux" else without_names


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        output, failed = done.stdout.strip(), done.returncode != 0
    except OSError as error:
        output, failed = str(error), True
    if failed:
        raise CompilerError(
            f"the engine cannot be compiled. The command\n    {shlex.join(command)}\nfailed:\n{output}\n"
            "To fix it: set CC to GCC 12, Clang 12 or newer, or unset CC and pip install ziglang; to install gpubp "
            "without the compiled engine, set GPUBP_BUILD_ENGINE=0"
        )
    if output:
        print(output, file=sys.stderr)


def main() -> None:
    """Compile the engine in place, or for another machine."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("--target", choices=TARGETS, help="compile by ziglang for this target")
    parser.add_argument("--folder", type=Path, default=HERE, help="where to put the library (default: in place)")
    options = parser.parse_args()
    start = time.perf_counter()
    try:
        path, compiler = build(options.folder, options.target)
    except CompilerError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{path}: compiled by {shlex.join(compiler.command)} in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
