"""The machine, software and commit of a measurement; threads and memory of this machine."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path

from gpubp.backends.probe import probe_cuda

ROOT = Path(__file__).parents[1]
PACKAGES = (
    *(
        "numpy",
        "scipy",
        "scikit-learn",
        "thinc",
        "torch",
        "jax",
        "jaxlib",
        "threadpoolctl",
        "array-api-compat",
    ),
    *("cupy-cuda12x", "cupy-cuda13x", "mpi4py", "mpich"),
)


def provenance():
    """Return the machine, the versions, the date and the commit as plain data."""
    import gpubp

    versions = {"gpubp": gpubp.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "machine": {
            "processor": _processor(),
            "cores": cores(),
            "memory_bytes": _meminfo("MemTotal"),
            "system": f"{platform.system()} {platform.machine()}",
            "blas": _blas(),
            "gpu": _gpu(),
        },
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": versions,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "changed_since_commit": bool(_git("status", "--porcelain", "--", "gpubp", "benchmarks/*.py")),
    }


def write_result(result, name, path=None):
    """Write a result as JSON, by default to benchmarks/results/DATE-name.json; return the path."""
    path = path or ROOT / "benchmarks" / "results" / f"{result['date'][:10]}-{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path


def commit():
    """Return the commit that is checked out, or None."""
    return _git("rev-parse", "HEAD")


def cores():
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_to(threads):
    """Restrict this process and its children to this many cores, if the system supports it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def available_bytes():
    """Return the free memory, or 4 GiB if the system does not report it."""
    return _meminfo("MemAvailable") or 4 * 2**30


def _meminfo(name):
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def _processor():
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _blas():
    with contextlib.suppress(ImportError):
        import numpy  # noqa: F401 - loads the BLAS library that is reported
        import threadpoolctl

        pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        return ", ".join(f"{p['internal_api']} {p['version']} for {p.get('architecture')}" for p in pools)
    return None


def _gpu():
    if not probe_cuda().usable:
        return None
    import cupy

    return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()


def _git(*arguments):
    with contextlib.suppress(OSError):
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None
    return None
