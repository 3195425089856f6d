"""The library of the compiled engine: what is refused, what is chosen, and how it is built."""

import ctypes
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import gpubp
from gpubp.engine import cpu
from gpubp.engine.cpu import compiler, library
from gpubp.errors import DataError, DeviceError
from tests.compiled_engine import needs_engine

ROOT = Path(__file__).parents[2]
FOLDER = "gpubp/engine/cpu"
ENGINE = """
#include "engine.h"
#define JOINED(a, b) gpubp_##a##_##b
#define NAME(a, b) JOINED(a, b)
struct functions { int precision; };
const struct functions NAME(VARIANT, PRECISION) = {PRECISION};
"""
"""An engine that computes nothing and is compiled at once."""
HEADER = '#define EXPORT __attribute__((visibility("default")))\n'

HAS_COMPILER = compiler.system_compiler() is not None or importlib.util.find_spec("ziglang") is not None
needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="there is no C compiler")
needs_hatchling = pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed")


def make_project(root):
    """Make what is needed to build a wheel, with :data:`ENGINE`; return the folder of the engine."""
    folder = root / FOLDER
    (folder / "c").mkdir(parents=True)
    (root / "docs" / "packaging").mkdir(parents=True)
    for name in (
        *("pyproject.toml", "README.md", "LICENSE", ".gitignore", "gpubp/_version.py"),
        *(f"{FOLDER}/c/interface.c", "docs/packaging/metadata_hook.py"),
    ):
        shutil.copy(ROOT / name, root / name)
    for name in ("compiler.py", "build_hook.py"):
        shutil.copy(ROOT / FOLDER / name, folder)
    for package in (folder, *folder.relative_to(root).parents[:-1]):
        (root / package / "__init__.py").touch()
    (folder / "c" / "engine.h").write_text(HEADER, encoding="utf-8")
    (folder / "c" / "engine.c").write_text(ENGINE, encoding="utf-8")
    return folder


def compiler_of(folder):
    """Import a project's own ``compiler.py``, as the build hook does."""
    specification = importlib.util.spec_from_file_location("compiler_of_a_project", folder / "compiler.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    """Another engine, which is not compiled yet."""
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Another engine, compiled: the path of the library. Tests do not change it."""
    if not HAS_COMPILER:
        pytest.skip("there is no C compiler")
    path, _ = compiler_of(make_project(tmp_path_factory.mktemp("built"))).build()
    return path


class TestLoading:
    def test_what_was_compiled_is_loaded(self, built):
        loaded = library.load(built, built.parent / "c")
        assert isinstance(loaded, ctypes.CDLL), loaded
        names = [loaded.gpubp_variant_name(n).decode() for n in range(loaded.gpubp_n_variants())]
        assert names[-1] == "baseline"
        assert loaded.gpubp_variant_is_supported(len(names) - 1)
        for number in range(len(names)):
            for precision in (32, 64):
                address = loaded.gpubp_functions(number, precision)
                assert ctypes.c_int.from_address(address).value == precision

    def test_it_is_where_it_is_compiled(self):
        assert compiler.HERE / compiler.library_name() == library.PATH

    @pytest.mark.parametrize("change", ["content", "name", "new file", "option"])
    def test_a_stale_one_is_refused(self, built, tmp_path, monkeypatch, change):
        sources = shutil.copytree(built.parent / "c", tmp_path / "c")
        assert isinstance(library.load(built, sources), ctypes.CDLL)
        if change == "content":
            (sources / "engine.h").write_text(f"{HEADER} ", encoding="utf-8")
        elif change == "name":
            (sources / "engine.h").rename(sources / "engines.h")
        elif change == "new file":
            (sources / "generated").mkdir()
            (sources / "generated" / "functions.h").touch()
        else:
            monkeypatch.setattr(compiler, "OPTIONS", (*compiler.OPTIONS, "-g"))
        reason = library.load(built, sources)
        assert reason == (
            "the compiled engine is older than its sources; to fix it: python -m gpubp.engine.cpu.compiler"
        )

    def test_without_sources_it_is_trusted(self, built, tmp_path):
        assert isinstance(library.load(built, tmp_path / "c"), ctypes.CDLL)

    def test_a_missing_one_is_reported(self, folder, tmp_path):
        reason = library.load(folder / "_engine.so", folder / "c")
        assert reason == "the compiled engine has not been built; to fix it: python -m gpubp.engine.cpu.compiler"
        reason = library.load(tmp_path / "_engine.so", tmp_path / "c")
        assert reason.startswith(
            "gpubp was installed without the compiled engine (GPUBP_BUILD_ENGINE=0); to fix it: pip "
        )

    def test_one_that_is_no_library_is_reported(self, folder):
        (path := folder / "_engine.so").write_bytes(b"not a library")
        reason = library.load(path, folder / "c")
        assert reason.startswith("the compiled engine cannot be loaded (")
        assert reason.endswith("); to fix it: python -m gpubp.engine.cpu.compiler")

    def test_another_library_is_refused(self, folder):
        other = Path(np._core._multiarray_umath.__file__)
        assert "gpubp_" in library.load(other, folder / "c")

    def test_a_matrix_product_that_cannot_be_used_is_reported(self, built, monkeypatch):
        def fail(dtype):
            raise ImportError("another signature")

        monkeypatch.setattr(library, "gemm", fail)
        reason = library.load(built, built.parent / "c")
        assert reason == (
            "SciPy cannot be used by the compiled engine (another signature); to fix it: pip install -U scipy"
        )

    def test_the_instructions_are_those_of_the_system(self, built):
        """Linux lists them as well."""
        if not (path := Path("/proc/cpuinfo")).exists() or platform.machine() != "x86_64":
            pytest.skip("the system lists no features")
        features = set(next(line for line in path.read_text().splitlines() if line.startswith("flags")).split())
        loaded = library.load(built, built.parent / "c")
        numbers = range(loaded.gpubp_n_variants())
        supported = {loaded.gpubp_variant_name(n).decode() for n in numbers if loaded.gpubp_variant_is_supported(n)}
        level_3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "popcnt", "sse4_2"}
        level_4 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
        assert ("avx2" in supported) == (level_3 <= features)
        assert ("avx512" in supported) == (level_3 | level_4 <= features)


class TestInstructions:
    @pytest.fixture(autouse=True)
    def supported(self, monkeypatch):
        monkeypatch.setattr(library, "_supported", lambda: {"avx2": 1, "baseline": 2})
        monkeypatch.delenv("GPUBP_INSTRUCTIONS", raising=False)

    def test_the_best_or_those_requested(self, monkeypatch):
        assert library.variant() == "avx2"
        monkeypatch.setenv("GPUBP_INSTRUCTIONS", "baseline")
        assert library.variant() == "baseline"

    @pytest.mark.parametrize("requested", ["avx512", "sse"])
    def test_others_are_refused(self, monkeypatch, requested):
        monkeypatch.setenv("GPUBP_INSTRUCTIONS", requested)
        message = f"GPUBP_INSTRUCTIONS must be one of avx2, baseline on this CPU, got '{requested}'"
        with pytest.raises(DataError, match=message):
            library.variant()


@needs_engine
def test_instructions_of_a_fit(monkeypatch):
    monkeypatch.setenv("GPUBP_COMPILED", "always")
    tables = set()
    for name in library._supported():
        monkeypatch.setenv("GPUBP_INSTRUCTIONS", name)
        tables |= {library.functions("float32"), library.functions("float64")}
        gpubp.train(gpubp.Network((1, 1)), [[1.0]], [[1.0]], epochs=1, device="cpu")
    assert len(tables) == 2 * len(library._supported())
    monkeypatch.setenv("GPUBP_INSTRUCTIONS", "sse")
    with pytest.raises(DataError, match="GPUBP_INSTRUCTIONS must be one of"):
        gpubp.train(gpubp.Network((1, 1)), [[1.0]], [[1.0]], epochs=1, device="cpu")


class TestChoice:
    REASON = "the compiled engine has not been built; to fix it: python -m gpubp.engine.cpu.compiler"

    @pytest.fixture
    def missing(self, monkeypatch):
        cpu._warn_once.cache_clear()
        monkeypatch.setattr(cpu, "why_not", lambda: self.REASON)
        yield
        cpu._warn_once.cache_clear()

    @pytest.mark.parametrize(("requested", "wanted"), [("", True), ("auto", True), ("always", True), ("never", False)])
    def test_an_engine_that_works(self, monkeypatch, requested, wanted):
        monkeypatch.setattr(cpu, "why_not", lambda: "")
        monkeypatch.setenv("GPUBP_COMPILED", requested)
        assert cpu.is_wanted() is wanted

    def test_without_one_the_plain_path_is_used_and_the_log_says_so_once(self, monkeypatch, missing, caplog):
        def fit():
            return gpubp.train(gpubp.Network((2, 2, 1)), np.eye(2), np.ones((2, 1)), epochs=3, seed=0, device="cpu")

        monkeypatch.setenv("GPUBP_COMPILED", "never")
        plain = fit().theta
        assert caplog.messages == []
        monkeypatch.setenv("GPUBP_COMPILED", "auto")
        assert np.array_equal(fit().theta, plain)
        fit()
        assert caplog.messages == [f"training and prediction on the CPU are slower, since {self.REASON}"]

    def test_without_one_it_is_an_error_where_it_is_requested(self, monkeypatch, missing):
        monkeypatch.setenv("GPUBP_COMPILED", "always")
        with pytest.raises(
            DeviceError, match=r"GPUBP_COMPILED is 'always', but the compiled engine has not been built"
        ):
            gpubp.train(gpubp.Network((1, 1)), [[1.0]], [[1.0]], epochs=1, device="cpu")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scipys_product_is_called_by_its_address(dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((3, 4), (4, 5)))
    c = np.empty((3, 5), dtype)
    gemm = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(library.gemm(dtype))
    one, zero = np.ones(1, dtype), np.zeros(1, dtype)
    m, n, k = (ctypes.c_int(size) for size in (5, 3, 4))  # Fortran sees rows as columns
    pointers = [ctypes.byref(number) for number in (m, n, k)]
    as_is = ctypes.c_char_p(b"N")
    at = [array.ctypes.data for array in (one, b, a, zero, c)]
    size_b, size_a, size_c = pointers[0], pointers[2], pointers[0]
    gemm(as_is, as_is, *pointers, at[0], at[1], size_b, at[2], size_a, at[3], at[4], size_c)
    np.testing.assert_allclose(c, a @ b, rtol=1e-5 if dtype == "float32" else 1e-13)


def test_scipy_can_be_imported_after_its_product():
    """It is loaded without the package that it is in."""
    code = (
        "import sys; from gpubp.engine.cpu import library; address = library.gemm('float64');"
        "assert 'scipy.linalg' not in sys.modules;"
        "import scipy.linalg.cython_blas, scipy.linalg.blas; scipy.linalg.blas.dgemm(1.0, [[2.0]], [[3.0]]);"
        "library._cython_blas.cache_clear(); library.gemm.cache_clear();"
        "print(library.gemm('float64') == address, scipy.linalg.cython_blas.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "scipy.linalg.cython_blas"]


class TestCompiler:
    @pytest.fixture
    def no_compiler(self, monkeypatch, tmp_path):
        """A machine without a C compiler: the folder of its commands."""
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.delenv("CC", raising=False)
        find_spec = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ziglang" else find_spec(name))
        return tmp_path / "bin"

    def test_none(self, no_compiler):
        assert compiler.system_compiler() is None
        with pytest.raises(compiler.CompilerError, match=r"no C compiler .* to fix it: pip install ziglang, or set CC"):
            compiler.find_compiler()

    @pytest.mark.skipif(sys.platform == "win32", reason="only CC counts there")
    def test_one_that_is_too_old_is_not_used(self, no_compiler):
        for name, status in (("cc", 1), ("gcc", 0)):
            (no_compiler / name).write_text(f"#!/bin/sh\nexit {status}\n", encoding="utf-8")
            (no_compiler / name).chmod(0o700)
        assert compiler.find_compiler().command == ("gcc",)

    def test_that_of_the_environment(self, no_compiler, monkeypatch):
        monkeypatch.setenv("CC", "ccache another-cc")
        assert compiler.find_compiler().command == ("ccache", "another-cc")

    @needs_compiler
    def test_an_error_has_the_command_its_output_and_the_fix(self, folder, monkeypatch):
        (folder / "c" / "engine.c").write_text("#error this machine is too hot\n", encoding="utf-8")
        with pytest.raises(compiler.CompilerError.__base__) as raised:
            compiler_of(folder).build()
        message = str(raised.value)
        for part in ("-DVARIANT=baseline", "this machine is too hot", "To fix it: set CC", "GPUBP_BUILD_ENGINE=0"):
            assert part in message
        assert sorted(path.name for path in folder.iterdir() if "engine" in path.name) == []

    def test_a_command_that_does_not_start(self, folder, monkeypatch):
        monkeypatch.setenv("CC", "no-such-compiler")
        with pytest.raises(compiler.CompilerError.__base__, match=r"no-such-compiler -std=c11"):
            compiler_of(folder).build()

    @needs_compiler
    def test_in_place(self, folder):
        made = compiler_of(folder)
        assert not made.is_built()
        done = subprocess.run(
            [sys.executable, str(folder / "compiler.py")], capture_output=True, text=True, check=True, env=os.environ
        )
        assert done.stdout.startswith(f"{folder / compiler.library_name()}: compiled by ")
        assert made.is_built()
        assert not [path for path in folder.iterdir() if path.name.startswith(".engine")]
        (folder / "c" / "engine.h").write_text(f"{HEADER}/* changed */\n", encoding="utf-8")
        assert not made.is_built()


def hatchling(root, *arguments, **environment):
    """Run hatchling in a project; return what it printed."""
    command = [sys.executable, "-m", "hatchling", *arguments]
    done = subprocess.run(
        command, cwd=root, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout


@needs_hatchling
class TestBuild:
    def wheel(self, root, **environment):
        shutil.rmtree(root / "dist", ignore_errors=True)
        output = hatchling(root, "build", "-t", "wheel", **environment)
        assert (root / "dist").is_dir(), output
        [path] = (root / "dist").iterdir()
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.startswith(FOLDER)]
            [metadata] = [archive.read(name).decode() for name in archive.namelist() if name.endswith("/WHEEL")]
        return path.name, {name.removeprefix(f"{FOLDER}/") for name in names}, metadata

    @needs_compiler
    def test_the_wheel_has_the_library_and_not_its_sources(self, folder, tmp_path):
        (folder / compiler.library_name()).write_bytes(b"a stale one")
        name, files, metadata = self.wheel(tmp_path, GPUBP_BUILD_ENGINE="")
        assert name.startswith("gpubp-")
        assert "-py3-none-" in name
        assert not name.endswith("-any.whl")
        assert files == {"__init__.py", "compiler.py", compiler.library_name()}
        assert "Root-Is-Purelib: false" in metadata
        with zipfile.ZipFile(tmp_path / "dist" / name) as archive:
            content = archive.read(f"{FOLDER}/{compiler.library_name()}")
        assert compiler.digest(folder / "c").encode() in content

    def test_without_the_engine(self, folder, tmp_path):
        (folder / compiler.library_name()).write_bytes(b"one that was built in place")
        name, files, metadata = self.wheel(tmp_path, GPUBP_BUILD_ENGINE="0", CC="no-such-compiler")
        assert name.endswith("-py3-none-any.whl")
        assert files == {"__init__.py", "compiler.py"}
        assert "Root-Is-Purelib: true" in metadata

    def test_an_unknown_target_is_refused(self, folder, tmp_path):
        output = hatchling(tmp_path, "build", "-t", "wheel", GPUBP_BUILD_ENGINE="pdp11")
        assert "GPUBP_BUILD_ENGINE must be 0, 1 or one of x86_64-linux-gnu.2.17, " in output

    def test_the_source_distribution_has_the_sources_and_not_the_library(self, folder, tmp_path):
        (folder / compiler.library_name()).write_bytes(b"one that was built in place")
        output = hatchling(tmp_path, "build", "-t", "sdist", CC="no-such-compiler")
        [path] = (tmp_path / "dist").iterdir()
        with tarfile.open(path) as archive:
            names = [name.partition(f"{FOLDER}/")[2] for name in archive.getnames() if FOLDER in name]
        assert {"c/engine.c", "c/engine.h", "c/interface.c", "compiler.py", "build_hook.py"} <= set(names), output
        assert compiler.library_name() not in names

    @needs_compiler
    def test_an_editable_install_compiles_in_place_what_is_not_built(self, folder, tmp_path):
        with (tmp_path / "pyproject.toml").open("a", encoding="utf-8") as project:
            project.write("\n[tool.hatch.build]\ndev-mode-dirs = ['.']\n")  # needs no other package

        def install(cc):
            code = "import hatchling.build as build; build.build_editable('wheels')"
            (tmp_path / "wheels").mkdir(exist_ok=True)
            environment = os.environ | cc
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            return done.returncode, done.stderr

        assert install({}) == (0, "")
        assert isinstance(library.load(folder / compiler.library_name(), folder / "c"), ctypes.CDLL)
        assert install({"CC": "no-such-compiler"})[0] == 0
        (folder / "c" / "engine.h").write_text(f"{HEADER}/* changed */\n", encoding="utf-8")
        assert "no-such-compiler" in install({"CC": "no-such-compiler"})[1]

    @pytest.mark.parametrize(
        ("requested", "cc", "needed"),
        [("", "cc", []), ("", "", ["ziglang"]), ("0", "", []), ("aarch64-macos.11.0", "cc", ["ziglang"])],
    )
    def test_a_compiler_is_required_only_where_there_is_none(self, folder, tmp_path, requested, cc, needed):
        (tmp_path / "bin").mkdir()
        code = "import hatchling.build as build; print(*build.get_requires_for_build_wheel())"
        environment = os.environ | {"GPUBP_BUILD_ENGINE": requested, "CC": cc, "PATH": str(tmp_path / "bin")}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert [name.partition(">")[0] for name in done.stdout.split()] == needed, done.stderr
