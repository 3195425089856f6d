"""The project's checks: ``nox`` runs those for every change, ``nox -s quick`` a short subset."""

import os
import platform
import runpy
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typecheck", "tests", "tests_min", "examples"]

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process compiles all that it imports, which takes seconds
ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml("pyproject.toml")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# the files in order: by their number of tests, those with few long tests come last, when other processes have ended
IN_PARALLEL = ("-n", str(min(CORES, 8)), "--dist", "loadfile", "--no-loadscope-reorder", "--max-worker-restart", "2")
# where a test hangs, what each thread does is printed; then its process ends, and the other tests go on
TIMEOUT = ("-o", "faulthandler_timeout=240", "--timeout", "300", "--timeout-method", "thread")
WHEEL = []  # the wheel of this run, once it is built


def group(name):
    return nox.project.dependency_groups(PYPROJECT, name)


def lowest(requirements):
    """Pin each requirement at the lowest version that it allows."""
    return [requirement.replace(">=", "==") for requirement in requirements]


def wheel(session):
    """Build the source distribution, and the wheel from it, once per run; with NOX_OLD_WHEEL, take the last one."""
    if not WHEEL:
        out = Path(session.cache_dir) / "dist"
        if not os.environ.get("NOX_OLD_WHEEL"):
            shutil.rmtree(out, ignore_errors=True)
            session.install(*group("build"))
            session.run("python", "-m", "build", "--outdir", str(out), silent=True)
        WHEEL.extend(out.glob("*.whl"))
    return WHEEL[0]


def install(session, extras, *requirements):
    """Install this run's wheel with extras and further requirements.

    Files are compiled to bytecode on import, since compiling all takes as long as the installation.
    """
    built = wheel(session)
    session.install("--no-compile", f"{built}[{extras}]", *requirements)
    session.install("--no-compile", "--no-deps", "--force-reinstall", built)  # the environment may be reused


def run_tests(session, *arguments, env=(), parallel=True):
    """Run the tests, and the doctests of the installed package, not of the folder ``gpubp``.

    No process imports from its working directory.
    """
    import_from_repository(session)
    arguments = [*arguments, *session.posargs]
    paths = () if any((ROOT / argument.partition("::")[0]).exists() for argument in arguments) else PATHS
    parallelism = IN_PARALLEL if parallel else ()
    session.run("pytest", *paths, *TIMEOUT, *parallelism, *arguments, env={"PYTHONSAFEPATH": "1", **dict(env)})


def import_from_repository(session):
    """Let ``tests`` and ``benchmarks`` be imported, after installed packages."""
    for folder in Path(session.virtualenv.location).rglob("site-packages"):
        (folder / "gpubp-repository.pth").write_text(f"{ROOT}\n", encoding="utf-8")


PATHS = ("tests", "--pyargs", "gpubp")


@nox.session
def lint(session):
    """Check style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def typecheck(session):
    """Run mypy --strict on the library."""
    install(session, "cli", *group("typecheck"))
    session.run("mypy", "--num-workers", "auto")


@nox.session
def quick(session):
    """Run the suite on the working tree, without slow tests; the engine is compiled in place."""
    session.install(*group("test"), "-e", ".[cli]")
    session.run("pytest", *TIMEOUT, *IN_PARALLEL, "-m", "not slow", *session.posargs, env={"GPUBP_COMPILED": "always"})


@nox.session
def tests(session):
    """Run the suite on NumPy with the compiled engine, on array-api-strict, and in several MPI processes."""
    install(session, "cli,onnx,stream", *group("test"), *group("mpi-test"))
    run_tests(session, env={"GPUBP_COMPILED": "always"})


@nox.session
def tests_min(session):
    """Run the version-dependent tests with the lowest supported versions.

    These versions have no wheels for the newest Pythons.
    """
    if sys.version_info >= (3, 13):
        session.skip("the lowest versions need Python 3.11 or 3.12")
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *extras["cli"], *extras["tables"], *extras["onnx"]]
    install(session, "cli,tables,onnx", *group("test"), *lowest(requirements))
    # combinations of old and new releases emit deprecation warnings
    run_tests(session, "-W", "ignore::DeprecationWarning", "-m", "not once")


@nox.session
def tests_clients(session):
    """Compare what other libraries compute with the estimators of gpubp and of scikit-learn; CI runs it weekly."""
    install(session, "cli", *group("test"), *group("clients"))
    # one file has all tests; a plugin of dash warns, and that ends pytest
    run_tests(session, "tests/clients", "--require-clients", "--dist", "load", "-p", "no:dash")


@nox.session
def tests_sanitized(session):
    """Run the tests of the engine, many random ones among them, on builds that end at the first error of memory.

    GCC is needed; each instruction set of this CPU is tested. CI runs it weekly.
    """
    flags = "-g -fsanitize=address,undefined -fno-sanitize-recover=undefined"
    session.install(*group("test"), ".[cli]", env={"CC": "gcc", "CFLAGS": flags})
    sanitizer = session.run("gcc", "-print-file-name=libasan.so", external=True, silent=True).strip()
    environment = {"LD_PRELOAD": sanitizer, "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    code = "from gpubp.engine.cpu import library; print(*library._supported())"
    variants = session.run("python", "-P", "-c", code, env=environment, silent=True).split()
    shown = "--capture=sys"  # not what the sanitizer writes when it ends the process
    for variant in variants:
        environment |= {"GPUBP_COMPILED": "always", "GPUBP_INSTRUCTIONS": variant}
        run_tests(session, "tests/engine", "--ignore-glob=*/test_cuda*", shown, env=environment)
        run_tests(session, "tests/engine/test_fuzz.py", "--hypothesis-profile=many", shown, env=environment)
    others = ("tests/estimators", "tests/regressions/test_changed_models.py")
    run_tests(session, *others, shown, env=environment | {"GPUBP_INSTRUCTIONS": variants[0]})


@nox.session
def tests_mpi(session):
    """Run only the tests of training in several processes."""
    install(session, "cli", *group("test"), *group("mpi-test"))
    run_tests(session, "tests/distributed", parallel=False)


@nox.session
def tests_torch(session):
    """Run the suite with torch on the CPU in addition to the other backends."""
    install(session, "cli", *group("test"), *group("torch"))
    run_tests(session)


@nox.session
def tests_jax(session):
    """Run the tests for all devices on JAX."""
    install(session, "cli", *group("test"), *group("jax"))
    run_tests(session, "-k", "jax", env={"JAX_ENABLE_X64": "1"})


@nox.session
def tests_nvrtc(session):
    """Compile all CUDA sources of the engine, which needs no GPU, and compare what the kernels use with a table."""
    if sys.platform != "linux":
        session.skip("NVRTC is installed on Linux")
    install(session, "cli", *group("test"), *group("nvrtc"))
    run_tests(session, "tests/engine/test_nvrtc.py", "--require-nvrtc", parallel=False)


@nox.session
@nox.parametrize("cuda", ["12", "13"])
def tests_cuda(session, cuda):
    """Run the suite on a GPU, which is required, with compiled kernels where they exist."""
    install(session, f"cli,cuda{cuda}", *group("test"), *group("mpi-test"))
    run_tests(session, "--require-cuda", env={"GPUBP_COMPILED": "always"}, parallel=False)


@nox.session
def tests_cuda_on_cpu(session):
    """Run the tests for GPUs without one: real CuPy calls a CUDA that runs on the CPU (tests/cuda_on_cpu)."""
    run_cuda_on_cpu(session, group("cuda-on-cpu"))


@nox.session
def tests_cuda_on_cpu_newest(session):
    """The same with the newest CuPy, whose module of the CUDA runtime may need more; CI runs it weekly."""
    run_cuda_on_cpu(session, [requirement.partition("==")[0] for requirement in group("cuda-on-cpu")])


def run_cuda_on_cpu(session, requirements):
    if (sys.platform, platform.machine()) != ("linux", "x86_64") or not shutil.which("g++"):
        session.skip("CUDA on the CPU needs Linux on x86-64, and g++")
    install(session, "cli,onnx", *group("test"), *requirements)
    # each test to the next process that is free, since one file has most of them; a group shares what it computes
    options = ("-p", "tests.cuda_on_cpu.plugin", "--require-cuda", "--dist", "loadgroup")
    run_tests(session, *options, env={"OPENBLAS_NUM_THREADS": "1"})


@nox.session
def examples(session):
    """Install only the wheel and run its main commands; then run every script under examples/."""
    install(session, "cli")
    with session.chdir(session.create_tmp()):
        session.run("gpubp", "train", "digits", "--epochs", "5", "--no-picture")
        session.run("gpubp", "show", "digits.safetensors")
        session.run("gpubp", "explain", "--html", "rain.html")  # its style sheet and script are in the wheel
    session.install("--no-compile", f"{wheel(session)}[cli,onnx]", "pandas>=2.2")

    def output_of(script):
        env = {"GPUBP_DEVICE": "cpu", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        return f"{script}:\n{session.run('python', '-W', 'error', str(script), env=env, silent=True)}"

    scripts = [ROOT / path for path in session.posargs] or sorted((ROOT / "examples").glob("*.py"))
    with session.chdir(session.create_tmp()), ThreadPoolExecutor(min(CORES, 8)) as executor:  # one thread each
        for output in executor.map(output_of, scripts):  # their pictures stay in this folder
            print(output)


@nox.session
def docs(session):
    """Build the site into build/site/, strictly, and check it, in Chromium where there is one.

    All examples and notebooks run for it; ``nox -s docs -- --quick`` leaves both out.
    """
    install(session, "cli,onnx,optuna", *group("docs"), "pandas>=2.2")
    import_from_repository(session)
    session.run("python", "docs/site/build.py", *session.posargs)
    session.run("python", "docs/site/check.py")


@nox.session
def bench(session):
    """Compare gpubp with other libraries: print tables, write a result file and charts to benchmarks/results/."""
    session.install(*group("bench"), "-e", ".")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def wheels(session):
    """Build the source distribution, and from it the wheels of all platforms, into dist/, for a release.

    The engine is compiled by ziglang; arguments name targets, such as ``x86_64-linux-gnu.2.17``.
    """
    session.install(*group("wheels"))
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--sdist", "--no-isolation", "--outdir", str(dist))
    (source,) = dist.glob("*.tar.gz")
    targets = runpy.run_path(str(ROOT / "gpubp" / "engine" / "cpu" / "compiler.py"))["TARGETS"]
    for target in session.posargs or targets:
        command = ("pip", "wheel", "--no-deps", "--no-build-isolation", "--no-cache-dir", "--wheel-dir", str(dist))
        session.run("python", "-m", *command, str(source), env={"GPUBP_BUILD_ENGINE": target})
