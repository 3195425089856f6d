"""The script for a GPU, tested without one: its targets, its results, and a dry run with replacements."""

import json
from types import SimpleNamespace

import pytest

from benchmarks import gpu, gpu_parts, with_gpubp
from benchmarks.agreement import disagreement
from benchmarks.bars import BARS, CORES_OF_A_SEARCH, EPOCH, PROGRAMS, SEARCH, STACK, STEP, WIDE, crossover, verdicts
from benchmarks.contenders import unable
from benchmarks.problem import make_problem
from benchmarks.with_float64 import reference_curve
from benchmarks.with_gpubp import step
from benchmarks.workloads import Workload, chosen, make_workloads, step_spec
from gpubp.engine.cuda import small_networks, steps
from gpubp.nn.network import Network

pytestmark = pytest.mark.once

ENOUGH = {"cores": CORES_OF_A_SEARCH}
SMALL = step_spec((5, 4, 3, 2), "relu", "softmax", "adam", batch=7, batches=4, epochs=3)


def took(**seconds):
    return {name.replace("_", "-"): {"seconds": [2 * time, time, time / 2]} for name, time in seconds.items()}


ROWS = {
    STEP: took(gpubp_cuda=2e-5, torch_cuda=1e-4, torch_graph_cuda=2.5e-5, torch_compile_cuda=9e-5, jax_scan_cuda=3e-5),
    WIDE["tf32"]: took(gpubp_cuda=7.4e-3, cublaslt_cuda=7e-3, torch_compile_cuda=7.5e-3),
    WIDE["bfloat16"]: took(gpubp_cuda=4.7e-3, cublaslt_cuda=3.6e-3, torch_compile_cuda=3.6e-3),
    EPOCH: took(gpubp_cuda=5e-6),
    STACK: took(gpubp_cuda=1e-3, torch_cuda=0.1),
    SEARCH: took(gpubp_cuda=1.0, scikit_learn=19.0),
}


class TestBars:
    def test_are_met_or_missed(self):
        found = [one["verdict"] for one in verdicts(ROWS, ENOUGH)]
        assert found == ["met", "met", "met", "met", "met", "missed", "missed"]

    def test_missing_rows_are_not_measured(self):
        assert {one["verdict"].partition(":")[0] for one in verdicts({}, ENOUGH)} == {"not measured"}
        assert all(one["value"] is None for one in verdicts({}, ENOUGH))

    def test_a_contender_without_times_is_named(self):
        rows = {STEP: ROWS[STEP] | {"torch-compile-cuda": {"failed": "stopped after 120 s"}}}
        best = verdicts(rows, ENOUGH)[1]
        assert best["value"] is None  # the others' first network may not be the best
        assert best["verdict"] == "not measured: torch-compile-cuda: stopped after 120 s"
        absent = verdicts({EPOCH: {"gpubp-cuda": {"absent": "no usable GPU"}}}, ENOUGH)
        assert absent[2]["verdict"] == "not measured: gpubp-cuda: no usable GPU"

    def test_target_of_a_search_needs_enough_cores(self):
        verdict = verdicts({SEARCH: took(gpubp_cuda=1.0, scikit_learn=99.0)}, {"cores": 2})[-1]
        assert verdict["value"] == pytest.approx(99.0)
        assert verdict["verdict"] == "not measured: scikit-learn must have 16 cores, but this machine has 2"

    def test_a_dry_run_measures_nothing(self):
        assert {one["verdict"] for one in verdicts(ROWS, ENOUGH, dry_run=True)} == {"not measured: of a dry run"}

    @pytest.mark.parametrize("bar", BARS, ids=lambda bar: bar.name)
    def test_refer_to_existing_rows(self, bar):
        searched = ("gpubp-cuda", "scikit-learn")
        contenders = searched if bar.row == SEARCH else gpu_parts.WORKLOADS[bar.row].contenders
        assert bar.value({name: {"seconds": [1.0]} for name in contenders}) == 1

    def test_programs_are_peers_of_the_step(self):
        assert set(PROGRAMS) < set(gpu_parts.WORKLOADS[STEP].contenders)


def test_where_a_gpu_pays_off():
    times = {16: 3.0, 32: 0.9, 64: 1.5, 128: 0.8, 256: 0.1}
    rows = {f"gpu/crossover/{width}": took(gpubp=1.0, gpubp_cuda=ratio) for width, ratio in times.items()}
    assert crossover(rows)["pays from width"] == 128
    assert crossover(rows)["gpu / cpu by width"]["64"] == 1.5
    rows["gpu/crossover/256"]["gpubp-cuda"] = {"failed": "no memory"}
    assert list(crossover(rows)["gpu / cpu by width"]) == ["16", "32", "64", "128"]
    assert crossover({"gpu/crossover/16": rows["gpu/crossover/16"]})["pays from width"] is None


@pytest.fixture
def uncompiled(monkeypatch):
    monkeypatch.setenv("GPUBP_COMPILED", "never")  # compiling takes longer


@pytest.mark.usefixtures("uncompiled")
class TestRows:
    def test_are_left_out_unless_they_are_requested(self):
        workloads = make_workloads()
        assert not any(w.name.startswith("gpu/") for w in chosen(workloads, []) + chosen(workloads, ["784-256-10"]))
        assert [w.name for w in chosen(workloads, ["gpu/wide"])] == [*WIDE.values()]

    def test_all_have_a_part_and_a_replacement(self):
        rows = [row for part in gpu.PARTS.values() for row in getattr(part.run, "keywords", {}).get("rows", ())]
        assert sorted(rows) == sorted(gpu_parts.WORKLOADS)
        assert sum(part.seconds for part in gpu.PARTS.values()) <= 15 * 60
        names = {name for workload in gpu_parts.WORKLOADS.values() for name in workload.contenders}
        assert {name for name in names if name.endswith("-cuda")} == set(gpu_parts.STAND_INS)

    def test_of_a_stack_the_first_network_is_compared(self):
        problem = make_problem(SMALL | {"stack": 3})
        right = {"curve": reference_curve(problem, 3)}
        assert disagreement({"curve": step(problem)(3)}, right, "float32") is None

    @pytest.mark.parametrize("matmul", ["tf32", "bfloat16"])
    def test_in_lower_precision_agree_within_its_tolerance(self, matmul):
        problem = make_problem(SMALL | {"matmul": matmul})
        curve, right = step(problem)(3), {"curve": reference_curve(problem, 3)}
        assert disagreement({"curve": curve}, right, "float32", matmul) is None
        assert curve != step(make_problem(SMALL))(3)
        assert "deviates from the reference" in disagreement(
            {"curve": [1.1 * e for e in curve]}, right, "float32", matmul
        )

    def test_other_choices_differ(self, monkeypatch):
        for module, name in ((steps, "has_branches"), (small_networks, "threads_of_each")):
            monkeypatch.setattr(module, name, getattr(module, name))  # what it is again at the end
        device = SimpleNamespace(multiprocessors=132, shared_memory_of_multiprocessor=228 << 10)

        def choices():
            networks = [Network(gpu_parts.WORKLOADS[row].spec["sizes"]) for row in gpu_parts.CHOICES]
            branches = [steps.has_branches(network, 128, 1, device, narrow=True) for network in networks]
            return [*branches, small_networks.threads_of_each(device, 512, 112_392, 1024)]

        usual = choices()
        with_gpubp._choose_otherwise()
        assert all(other != choice for other, choice in zip(choices(), usual, strict=True))

    def test_jax_has_no_bfloat16_of_float32(self):
        workload = Workload("gpu/wide/bfloat16", "step", SMALL | {"matmul": "bfloat16"}, ())
        assert unable("jax-scan-cuda", workload)
        assert unable("torch-cuda", workload) is None


@pytest.mark.slow
@pytest.mark.usefixtures("uncompiled")
class TestScript:
    @pytest.fixture
    def call(self, tmp_path, capsys):
        path = tmp_path / "gpu.json"

        def call(*arguments):
            status = gpu.main(["--dry-run", "--output", str(path), *arguments])
            return status, capsys.readouterr().out, json.loads(path.read_text()) if path.exists() else None

        return call

    def test_a_dry_run_of_some_parts(self, call):
        status, out, result = call("--parts", "look", "epoch")
        assert status == 0
        assert result["dry_run"]
        assert result["parts"]["look"]["found"]["versions"] == {"left out": "there is no GPU"}
        assert result["parts"]["epoch"]["found"][EPOCH]["gpubp-cuda"]["seconds"]
        assert len(result["bars"]) == len(BARS)
        assert "not measured: of a dry run" in out

    def test_resumes_where_it_stopped(self, call, monkeypatch):
        run = []
        monkeypatch.setattr(gpu, "_run_part", lambda part, dry_run: run.append(part) or {"took": 1.0, "found": {}})
        status, out, _ = call("--parts", "wide", "--minutes", "0")
        assert (status, run) == (3, [])
        assert "some parts are left" in out
        assert call("--parts", "wide/b")[0] == 0
        assert call("--parts", "wide")[0] == 0
        assert run == ["wide/bfloat16", "wide/tf32"]

    def test_is_not_mixed_with_a_real_run(self, call, tmp_path):
        call("--parts", "look", "--minutes", "0")
        with pytest.raises(SystemExit, match=r"is of a dry run; pass another --output"):
            gpu.main(["--output", str(tmp_path / "gpu.json")])

    def test_a_hang_or_failure_affects_only_its_part(self, call, monkeypatch):
        look = gpu.PARTS["look"]
        monkeypatch.setattr(gpu, "PARTS", {"look": look._replace(seconds=0.01), "no such": look})
        status, out, result = call()
        assert status == 1
        assert result["parts"]["look"]["failed"].startswith("stopped after 0.01 s")
        assert "KeyError" in result["parts"]["no such"]["failed"]
        assert "failed after" in out


@pytest.mark.on("cuda")
def test_gpu_memory_is_that_of_the_pool_and_of_the_kernels(monkeypatch):
    import cupy

    monkeypatch.setattr(cupy.cuda, "Memory", cupy.cuda.Memory)  # what it is again at the end
    with_gpubp._count_memory.cache_clear()
    with_gpubp.step(make_problem(SMALL), device="cuda")(2)
    outside = with_gpubp.gpu_bytes() - cupy.get_default_memory_pool().total_bytes()
    n_parameters = 6 * 4 + 5 * 3 + 4 * 2
    assert outside >= 3 * 4 * n_parameters  # the parameters and Adam's averages
    assert cupy.cuda.Memory.now <= outside - 3 * 4 * n_parameters  # released after the fit
