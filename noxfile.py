"""The project's checks: ``nox`` runs those of every change, ``nox -s quick`` a contributor's short run."""

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typecheck", "tests", "tests_min", "examples"]

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml("pyproject.toml")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
IN_PARALLEL = ("-n", str(min(CORES, 8)), "--dist", "loadfile")
WHEEL = []  # the one wheel of this run, once it is built


def group(name):
    return nox.project.dependency_groups(PYPROJECT, name)


def lowest(requirements):
    """Pin each requirement at the lowest version that it allows."""
    return [requirement.replace(">=", "==") for requirement in requirements]


def wheel(session):
    """Build the source distribution, and the wheel from that, once a run."""
    if not WHEEL:
        out = Path(session.cache_dir) / "dist"
        shutil.rmtree(out, ignore_errors=True)
        session.install(*group("build"))
        session.run("python", "-m", "build", "--outdir", str(out), silent=True)
        WHEEL.extend(out.glob("*.whl"))
    return WHEEL[0]


def install(session, extras, *requirements):
    """Install this run's wheel with extras, and requirements beside it.

    Files are not compiled to bytecode beforehand, which takes as long as the installation: each is when it is imported.
    """
    built = wheel(session)
    session.install("--no-compile", f"{built}[{extras}]", *requirements)
    session.install("--no-compile", "--no-deps", "--force-reinstall", built)  # in an environment that is used again


def run_tests(session, *arguments, env=(), parallel=True):
    """Run the tests, and the doctests of what is installed, not of the folder ``gpubp``.

    ``tests`` and ``benchmarks`` are found after what is installed, and no process imports from its working directory.
    """
    for folder in Path(session.virtualenv.location).rglob("site-packages"):
        (folder / "gpubp-repository.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    arguments = [*(IN_PARALLEL if parallel else ()), *arguments, *session.posargs]
    paths = () if any((ROOT / argument.partition("::")[0]).exists() for argument in session.posargs) else PATHS
    session.run("pytest", *paths, *arguments, env={"PYTHONSAFEPATH": "1", **dict(env)})


PATHS = ("tests", "--pyargs", "gpubp")


@nox.session
def lint(session):
    """Style and form."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def typecheck(session):
    """mypy --strict on the library."""
    install(session, "cli", *group("typecheck"))
    session.run("mypy")


@nox.session
def quick(session):
    """A contributor's run: the suite without its slow tests, on the working tree, nothing compiled."""
    session.install(*group("test"), "-e", ".[cli]")
    session.run("pytest", *IN_PARALLEL, "-m", "not slow", *session.posargs, env={"GPUBP_COMPILED": "never"})


@nox.session
def tests(session):
    """The suite on NumPy, all of it compiled that can be, on array-api-strict, and in several processes of MPI."""
    install(session, "cli,fast,onnx,stream", *group("test"), *group("mpi-test"))
    run_tests(session, env={"GPUBP_COMPILED": "always"})


@nox.session
def tests_min(session):
    """The suite with the lowest versions that are supported, and nothing compiled, but for what depends on no version.

    They have no wheels for the newest Pythons.
    """
    if sys.version_info >= (3, 13):
        session.skip("the lowest versions need Python 3.11 or 3.12")
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    install(session, "cli,onnx", *group("test"), *lowest(project["dependencies"] + extras["cli"] + extras["onnx"]))
    # old releases beside new ones warn of each other's deprecated parts
    run_tests(session, "-W", "ignore::DeprecationWarning", "-m", "not once")


@nox.session
def tests_mpi(session):
    """Training in several processes, alone."""
    install(session, "cli", *group("test"), *group("mpi-test"))
    run_tests(session, "tests/distributed", parallel=False)


@nox.session
def tests_torch(session):
    """The suite with torch on the CPU beside the others."""
    install(session, "cli", *group("test"), *group("torch"))
    run_tests(session)


@nox.session
def tests_jax(session):
    """What runs on every device, on JAX."""
    install(session, "cli", *group("test"), *group("jax"))
    run_tests(session, "-k", "jax", env={"JAX_ENABLE_X64": "1"})


@nox.session
@nox.parametrize("cuda", ["12", "13"])
def tests_cuda(session, cuda):
    """The suite on a GPU, which must be there, in kernels of our own wherever there are any."""
    install(session, f"cli,cuda{cuda}", *group("test"))
    run_tests(session, "--require-cuda", env={"GPUBP_COMPILED": "always"}, parallel=False)


@nox.session
def examples(session):
    """Install the wheel alone and run its main job; then run every script under examples/, start to end."""
    install(session, "cli")
    with session.chdir(session.create_tmp()):
        session.run("gpubp", "train", "digits", "--epochs", "5", "--no-picture")
        session.run("gpubp", "show", "digits.safetensors")
        session.run("gpubp", "explain", "--html", "rain.html")  # its style and script are in the wheel
    session.install("--no-compile", f"{wheel(session)}[cli,onnx]", "pandas>=2.2")
    for script in session.posargs or sorted(Path("examples").glob("*.py")):
        session.run("python", "-W", "error", script, env={"GPUBP_DEVICE": "cpu"})


@nox.session
def bench(session):
    """gpubp beside its peers: tables on the screen, a result file and charts under benchmarks/results/."""
    session.install(*group("bench"), "-e", ".")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def build(session):
    """Build the source distribution and the wheel into dist/, for a release."""
    built = wheel(session)
    shutil.copytree(built.parent, ROOT / "dist", dirs_exist_ok=True)
