"""The contenders' processes for one workload: one each, with the same number of threads."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.machine import ROOT


class Processes:
    """Contenders' processes, started by :meth:`prepare`, ended by :meth:`end` or on leaving the ``with``.

    Caches of compiled code are empty at first, kept until the ``with`` is left, and not shared between contenders.
    """

    def __init__(self, workload, threads, limit):
        self.workload, self.threads, self.limit = workload, threads, limit
        self.running = {}
        self.spent = {}  # the seconds that each contender's requests have taken

    def __enter__(self):
        self.caches = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        return self

    def __exit__(self, *_):
        for name in list(self.running):
            self.end(name)
        self.caches.cleanup()

    def prepare(self, name):
        """Start a contender's process and let it do the work once; return its facts, or ``{"failed": why}``."""
        contender, cache = CONTENDERS[name], Path(self.caches.name, name)
        cache.mkdir(exist_ok=True)
        with (cache / "stderr").open("w") as stderr_text:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker"],
                cwd=ROOT,
                env=os.environ | environment(self.threads, "cuda" in name, cache) | contender.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr_text,
                text=True,
            )
        request = {"kind": self.workload.kind, "spec": self.workload.spec}
        request |= {"module": contender.module, "imports": contender.imports}
        return self._request(name, request | {"options": contender.options})

    def measure(self, name, seconds):
        """Time a prepared contender for about ``seconds``; return ``{"seconds": of one}`` or a failure."""
        return self._request(name, {"seconds": seconds})

    def end(self, name):
        """End a contender's process."""
        if not (process := self.running.pop(name, None)):
            return
        process.terminate()
        process.wait()
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()

    def _request(self, name, request):
        process, began = self.running[name], time.perf_counter()
        try:
            process.stdin.write(json.dumps(request | {"limit": self.limit}) + "\n")
            process.stdin.flush()
            reply = json.loads(process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            reply = {"failed": self._last_words(name, process.wait())}
        self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - began
        if "failed" in reply:
            self.end(name)
        return reply

    def _last_words(self, name, status):
        if status == -9:
            return "killed by the system, for example because memory ran out"
        if status == -14:
            return f"stopped after {self.limit} s"
        stderr_text = Path(self.caches.name, name, "stderr").read_text(errors="replace").strip().splitlines()
        return f"its process ended with status {status}{': ' + stderr_text[-1][:200] if stderr_text else ''}"


def environment(threads, on_gpu, cache):
    """Return environment variables that set each library's threads, device and an empty cache."""
    settings = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL", "VECLIB", "BLIS")}
    settings |= {"NPROC": str(threads), "TORCHINDUCTOR_COMPILE_THREADS": "1"}  # NPROC is XLA's count
    settings |= {f"{name}_CACHE_DIR": str(cache) for name in ("TORCHINDUCTOR", "TRITON", "CUPY")}
    settings["JAX_PLATFORMS"] = "cuda" if on_gpu else "cpu"
    settings["PYTHONDONTWRITEBYTECODE"] = ""  # a checkout keeps its bytecode, as installed packages do
    return settings if on_gpu else settings | {"CUDA_VISIBLE_DEVICES": ""}
