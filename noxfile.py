import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typecheck", "tests", "tests_min", "examples", "build"]

PYPROJECT = nox.project.load_toml("pyproject.toml")


def group(name):
    return nox.project.dependency_groups(PYPROJECT, name)


def lowest(requirements):
    """Pin each requirement at the lowest version that it allows."""
    return [requirement.replace(">=", "==") for requirement in requirements]


@nox.session
def lint(session):
    """Style and form."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def typecheck(session):
    """mypy --strict on the library."""
    session.install(*group("typecheck"), ".[cli]")
    session.run("mypy")


@nox.session
def tests(session):
    """The suite on NumPy, all of it compiled that can be, on array-api-strict, and in several processes of MPI."""
    session.install(*group("test"), *group("mpi-test"), "-e", ".[cli,fast,onnx,stream]")
    session.run("pytest", *session.posargs, env={"GPUBP_COMPILED": "always"})


@nox.session
def tests_min(session):
    """The suite with the lowest versions that are supported, and nothing compiled.

    They have no wheels for the newest Pythons.
    """
    if sys.version_info >= (3, 13):
        session.skip("the lowest versions need Python 3.11 or 3.12")
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    session.install(
        *group("test"), "-e", ".[cli,onnx]", *lowest(project["dependencies"] + extras["cli"] + extras["onnx"])
    )
    # old releases beside new ones warn of each other's deprecated parts
    session.run("pytest", "-W", "ignore::DeprecationWarning", *session.posargs)


@nox.session
def tests_mpi(session):
    """Training in several processes, alone."""
    session.install(*group("test"), *group("mpi-test"), "-e", ".[cli]")
    session.run("pytest", "-k", "parallel or lifeline", *session.posargs)


@nox.session
def tests_torch(session):
    """The suite with torch on the CPU beside the others."""
    session.install(*group("test"), *group("torch"), "-e", ".[cli]")
    session.run("pytest", *session.posargs)


@nox.session
def tests_jax(session):
    """What runs on every device, on JAX."""
    session.install(*group("test"), *group("jax"), "-e", ".[cli]")
    session.run("pytest", "-k", "jax", *session.posargs, env={"JAX_ENABLE_X64": "1"})


@nox.session
@nox.parametrize("cuda", ["12", "13"])
def tests_cuda(session, cuda):
    """The suite on a GPU, which must be there, in kernels of our own wherever there are any."""
    session.install(*group("test"), "-e", f".[cli,cuda{cuda}]")
    session.run("pytest", "--require-cuda", *session.posargs, env={"GPUBP_COMPILED": "always"})


@nox.session
def examples(session):
    """Every script under examples/, start to end."""
    session.install(".[cli,onnx]", "pandas>=2.2")
    for script in session.posargs or sorted(Path("examples").glob("*.py")):
        session.run("python", "-W", "error", script, env={"GPUBP_DEVICE": "cpu"})


@nox.session
def bench(session):
    """gpubp beside its peers: tables on the screen, a result file and charts under benchmarks/results/."""
    session.install(*group("bench"), "-e", ".")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def build(session):
    """Build the wheel, install it alone, and run its main job."""
    session.install(*group("build"))
    out = session.create_tmp()
    session.run("python", "-m", "build", "--outdir", out)
    wheel = max(Path(out).glob("*.whl"), key=lambda path: path.stat().st_mtime)
    session.install("--force-reinstall", f"{wheel}[cli]")
    session.chdir(out)
    session.run("gpubp", "train", "digits", "--epochs", "5", "--no-picture")
    session.run("gpubp", "show", "digits.safetensors")
    session.run("gpubp", "explain", "--html", "rain.html")  # its style and script are in the wheel
