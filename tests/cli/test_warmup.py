"""Compiling ahead: the compiled kernels, the output, and that a later fit compiles nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpubp.__main__ import main
from gpubp.backends.backend import Backend, choose_backend
from gpubp.backends.libraries import CUPY
from gpubp.cli.warmup import compilations as module
from gpubp.engine import cpu
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.losses import LOSSES
from gpubp.optim.first_order import OPTIMIZERS

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
FIT = """
import logging, os, sys
logging.basicConfig(level=logging.INFO, format="%(message)s")
os.environ["GPUBP_COMPILED"] = "always"
from gpubp import Network, train
for _ in range(2):
    train(Network((2, 3, 1), activation="tanh"), [[0.0, 1.0]] * 4, [[1.0]] * 4, epochs=1, device="cpu")
"""
AHEAD = """
from gpubp.engine.cpu.ahead import compilations
wanted = ("activation tanh", "activation identity", "loss squared of identity", "optimizer adam,", "steps")
for name, do in compilations():
    if name.startswith(wanted) and name.endswith("float64"):
        do()
"""
COMPILES = "compiling for this CPU"


def names_of(backend):
    return [name for name, _ in module.compilations(backend)]


class TestOnACpu:
    pytestmark = pytest.mark.skipif(not cpu.numba_works(), reason="numba, of the extra 'fast', is not installed")

    def test_all_activations_losses_and_optimizers_in_both_precisions(self):
        names = names_of(choose_backend("cpu"))
        for dtype in ("float32", "float64"):
            for kind, of in (("activation", ACTIVATIONS), ("loss", LOSSES), ("optimizer", OPTIMIZERS)):
                for name in of:
                    assert any(n.startswith(f"{kind} {name}") and n.endswith(dtype) for n in names), name
            assert f"steps, {dtype}" in names
            assert f"predictions, {dtype}" in names
        assert len(set(names)) == len(names)

    def test_each_can_be_done(self):
        kinds = ["activation relu", "loss cross", "optimizer adam,", "steps", "pred"]
        done = []
        for name, do in module.compilations(choose_backend("cpu")):
            if name.endswith("float32") and name.startswith(tuple(kinds)):
                do()
                done.append(next(kind for kind in kinds if name.startswith(kind)))
        assert sorted({*done}) == sorted(kinds)

    @pytest.mark.slow
    def test_a_fit_says_once_that_it_compiles_and_after_a_warm_up_nothing(self, tmp_path):
        logs = [self.log_of(code, tmp_path / folder) for folder, code in (("1", FIT), ("2", AHEAD), ("2", FIT))]
        assert [log.count(COMPILES) for log in logs] == [1, 0, 0]
        assert "gpubp warmup" in logs[0]

    @staticmethod
    def log_of(code, folder):
        env = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
        )
        return done.stderr

    def test_command_prints_what_and_where(self, capsys, monkeypatch):
        done = []
        jobs = [
            (name, lambda name=name: done.append(name))
            for name in ("activation a", "activation b", "loss c", "optimizer d", "steps")
        ]
        monkeypatch.setattr("gpubp.cli.warmup.command.compilations", lambda backend: iter(jobs))
        assert main(["warmup", "--device", "cpu"]) == 0
        out = capsys.readouterr().out
        assert done == ["activation a", "activation b", "loss c", "optimizer d", "steps"]
        assert "2 activations, 1 loss, 1 optimizer, 1 other, in " in out
        assert "kept in" in out


class TestElsewhere:
    def test_without_numba_there_is_nothing_to_compile(self, capsys, monkeypatch):
        monkeypatch.setattr(cpu, "numba_works", lambda: False)
        assert names_of(choose_backend("cpu")) == []
        assert main(["warmup", "--device", "cpu"]) == 0
        assert 'pip install "gpubp[fast]"' in capsys.readouterr().out

    def test_libraries_that_need_none(self, capsys):
        assert main(["warmup", "--device", "array_api_strict:device1"]) == 0
        assert "nothing" in capsys.readouterr().out

    def test_a_gpu_takes_a_small_step_by_every_activation_loss_and_optimizer(self):
        """With a CPU instead of a GPU; the kernels that are made can be tested only on a GPU."""
        names = names_of(Backend(choose_backend("cpu").xp, None, "cuda:0", CUPY))
        kinds = (("activation", ACTIVATIONS), ("loss", LOSSES), ("optimizer", OPTIMIZERS))
        assert names == [f"{kind} {name}" for kind, of in kinds for name in of]
        for _, do in module._cupy_compilations("cpu"):
            do()

    def test_a_missing_gpu(self, capsys):
        from gpubp.backends.probe import probe_cuda

        if probe_cuda().usable:
            pytest.skip("there is one")
        assert main(["warmup", "--device", "cuda"]) == 2
        assert "cannot be used" in capsys.readouterr().err
