"""The arithmetic and the checks of the benchmarks; no time is asserted, and no other library is needed."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import first_call, heavy_tails, rounds, stream
from benchmarks.__main__ import main
from benchmarks.agreement import disagreement
from benchmarks.contenders import CONTENDERS, REFERENCES, Contender, reference_of
from benchmarks.machine import ROOT, write_result
from benchmarks.page import FIGURES, MARKED, PAGES, TABLES, with_tables
from benchmarks.problem import make_problem
from benchmarks.processes import Processes
from benchmarks.summary import fastest_peer, ratio, timing
from benchmarks.table import show_bytes, show_seconds, tables
from benchmarks.with_float64 import forward, reference_curve
from benchmarks.with_products import products, traffic_bytes
from benchmarks.workloads import Workload, chosen, make_workloads, step_spec

pytestmark = pytest.mark.once

SMALL = step_spec((5, 4, 3, 2), "relu", "softmax", "adam", batch=7, batches=4, epochs=3)
STEP = Workload("step/small", "step", SMALL, ("gpubp", "torch", "jax"))


def facts(*seconds):
    return {"seconds": list(seconds), "peak_bytes": 10**8, "grown_bytes": 10**6, "first_call": 0.5}


RESULT = {
    **{"date": "2020-01-01T00:00:00+00:00", "commit": "0" * 40, "changed_since_commit": False, "load_before": 0.0},
    **{"threads": 2, "rounds": 3, "seconds": 0.5, "versions": {"numpy": "2.0"}, "absent": {"thinc": "not installed"}},
    "machine": {
        "processor": "a CPU",
        "cores": 2,
        "memory_bytes": 8 * 10**9,
        "system": "an OS",
        "blas": "b",
        "gpu": None,
    },
    "workloads": [
        {
            **{"name": "step/small", "kind": "step", "spec": SMALL},
            "contenders": {
                "gpubp": facts(1e-5, 2e-5, 3e-5),
                "scikit-learn": facts(8e-5, 8e-5, 8e-5),
                "torch": facts(2e-5, 5e-5, 6e-5),
                "jax": {"failed": "deviates from the reference at value 2"},
                "thinc": {"unable": "Thinc has no momentum"},
                "floor": facts(1e-5, 1e-5, 1e-5),
            },
        },
        *(
            {"name": f"growth/width/{w}", "kind": "step", "spec": SMALL, "contenders": {"gpubp": facts(w, w)}}
            for w in (1, 2)
        ),
    ],
}


# --- statistics ---


def test_median_and_spread_of_rounds():
    assert timing([1.0, 5.0, 2.0, 4.0, 3.0]) == (3.0, (4.0 - 2.0) / 3.0)
    assert timing([2.0]) == (2.0, 0.0)


def test_ratio_is_taken_round_by_round():
    """The second round was ten times slower for both, so the ratio is unchanged."""
    assert ratio({"seconds": [1.0, 20.0, 2.0]}, {"seconds": [2.0, 40.0, 4.0]}) == 0.5
    assert ratio({"seconds": [1.0, 20.0, 2.0]}, {"seconds": [2.0, 10.0, 40.0]}) == 0.5  # the medians are 2 and 10


def test_fastest_peer_excludes_gpubp_floors_and_failures():
    found = RESULT["workloads"][0]["contenders"]
    assert fastest_peer(found) == "torch"
    assert fastest_peer(found | {"torch-cuda": facts(1e-9)}) == "torch"
    assert fastest_peer(found | {"torch-cuda": facts(1e-9)}, on_gpu=True) == "torch-cuda"
    assert fastest_peer({"gpubp": facts(1.0)}) is None


# --- agreement ---


@pytest.mark.parametrize("workload", chosen(make_workloads(), ["step/6-", "step/20-"]), ids=lambda w: w.name)
def test_a_curve_of_another_training_is_rejected(workload):
    """In the small workloads the loss changes enough to reveal a learning rate wrong by 5 %."""
    problem, dtype = make_problem(workload.spec), "float32"
    right = {"curve": reference_curve(problem, 3)}
    assert disagreement({"curve": [error * (1 + 1e-6) for error in right["curve"]]}, right, dtype) is None
    wrong = reference_curve(problem._replace(spec=workload.spec | {"rate": 1.05 * workload.spec["rate"]}), 3)
    assert "deviates from the reference at value" in disagreement({"curve": wrong}, right, dtype)
    untrained = [right["curve"][0]] * 3
    assert "deviates from the reference at value 2 of 3" in disagreement({"curve": untrained}, right, dtype)


def test_each_form_of_adam_has_its_reference():
    momentum = Workload("step/small", "step", SMALL | {"optimizer": "momentum"}, ("torch",))
    assert [reference_of(name, STEP) for name in ("gpubp", "torch", "floor")] == [*REFERENCES, None]
    assert reference_of("torch-graph-cuda", STEP) == REFERENCES[1]
    assert reference_of("torch", momentum) == REFERENCES[0]
    problem = make_problem(SMALL)
    curves = [reference_curve(problem, 3, corrected=corrected) for corrected in (False, True)]
    assert curves[0] != curves[1]
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)


def test_other_disagreements():
    right = {"curve": [0.5, 0.25], "accuracy": 0.9, "tested": 100}
    assert disagreement(right, right, "float64") is None
    assert "1 values, not 2" in disagreement({"curve": [0.5]}, right, "float64")
    assert "nan" in disagreement(right | {"curve": [0.5, float("nan")]}, right, "float64")
    assert disagreement(right | {"accuracy": 0.95}, right, "float64") is None
    assert "accuracy 0.8000, not 0.9000" in disagreement(right | {"accuracy": 0.8}, right, "float64")


def fake_processes(curves, measured):
    """Replace processes: takes each contender's curve, returns a list of those that are timed."""

    class Fake(Processes):
        def prepare(self, name):
            self.running[name] = SimpleNamespace()
            return {"curve": curves[name]}

        def measure(self, name, seconds):
            measured.append(name)
            return {"seconds": 1.0}

        def end(self, name):
            del self.running[name]

    return Fake


def test_only_contenders_that_agree_are_timed_and_all_take_turns(monkeypatch):
    curves, measured = {"gpubp": [1.0, 0.5], "torch": [1.0, 0.6], "jax": [1.0, 0.5]}, []
    curves |= {name: [1.0, 0.5] for name in REFERENCES}
    monkeypatch.setattr(rounds, "Processes", fake_processes(curves, measured))
    options = {"threads": 1, "rounds": 3, "seconds": 0.0, "limit": 1, "patience": 1, "report": lambda text: None}
    (result,) = rounds.run_workloads([STEP], ["gpubp", "torch", "jax"], **options)
    assert result["contenders"]["torch"] == {"failed": "deviates from the reference at value 2 of 2: 0.6, not 0.5"}
    assert result["contenders"]["gpubp"]["seconds"] == [1.0] * 3
    assert measured == ["gpubp", "jax", "jax", "gpubp", "gpubp", "jax"]


# --- floors and problems ---


def test_floor_holds_the_products_of_a_step_and_no_others():
    problem = make_problem(SMALL)
    weights = [w for w, _ in problem.weights]
    ahead, back = products(problem.batches[0][0], weights, np.ones)
    multiplications = [a.shape[0] * a.shape[1] * out.shape[1] for a, b, out in ahead + back]
    # each weight once for each of 7 samples, ahead and in the gradient; but for the first layer once more on the way
    # back
    assert sum(multiplications) == 7 * (2 * (5 * 4 + 4 * 3 + 3 * 2) + 4 * 3 + 3 * 2)
    for a, b, out in ahead + back:
        np.matmul(a, b, out=out)  # raises if shapes do not fit
    np.testing.assert_allclose(ahead[-1][2], np.linalg.multi_dot([problem.x[:7], *weights]), rtol=1e-5)


def test_traffic_counts_weights_state_outputs_and_samples():
    weights, outputs, samples = 6 * 4 + 5 * 3 + 4 * 2, 7 * (4 + 3 + 2), 7 * (5 + 2)
    assert traffic_bytes(SMALL) == 4 * (6 * weights + 2 * outputs + samples)
    assert traffic_bytes(SMALL | {"optimizer": "momentum"}) == 4 * (4 * weights + 2 * outputs + samples)


def test_problem_is_drawn_from_its_seed_and_cut_without_copies():
    one, same = make_problem(SMALL), make_problem(SMALL)
    assert all(np.array_equal(a, b) for a, b in zip(one[1:3], same[1:3], strict=True))
    assert len(one.batches) == 4
    assert all(x.base is one.x and len(x) == 7 for x, _ in one.batches)
    assert forward(one, one.weights, one.x)[-1].sum(axis=1) == pytest.approx(np.ones(28))


def test_names_of_workloads():
    workloads = make_workloads()
    names = [workload.name for workload in workloads]
    assert len(set(names)) == len(names)
    assert {w.kind for w in workloads if w.quick} == {"step", "fit", "predict", "import"}
    assert len(chosen(workloads, ["step/*"])) == 20
    assert [w.name for w in chosen(workloads, ["step/*/relu/adam", "784-256-10/1-row"])][
        -1
    ] == "predict/784-256-10/1-row"
    assert chosen(workloads, ["no such"]) == []
    assert all(json.loads(json.dumps(w.spec)) == w.spec for w in workloads)


# --- processes ---


def response_of(contender, monkeypatch, workload=STEP, limit=60):
    monkeypatch.setitem(CONTENDERS, "floor", contender)
    with Processes(workload, 1, limit) as processes:
        return processes.prepare("floor")


def test_a_contender_has_its_own_environment(monkeypatch):
    monkeypatch.setenv("GPUBP_COMPILED", "always")
    importing = Workload("start/import", "import", {}, ("floor",))
    imports = "import os; assert os.environ['GPUBP_COMPILED'] == 'never', os.environ['GPUBP_COMPILED']"
    plain = Contender("", "", "", imports, environment={"GPUBP_COMPILED": "never"})
    assert response_of(plain, monkeypatch, importing)["seconds"] > 0
    assert response_of(Contender("", "", "", imports), monkeypatch, importing)["failed"] == "AssertionError: always"


def test_a_process_that_fails_ends_or_hangs_is_reported(monkeypatch):
    importing = Workload("start/import", "import", {}, ("floor",))
    assert response_of(Contender("", "no_such_module", ""), monkeypatch)["failed"].startswith("ModuleNotFoundError")
    ended = response_of(Contender("", "", "", "import os; os._exit(3)"), monkeypatch, importing)
    assert ended["failed"].startswith("its process ended with status 3")
    if hasattr(__import__("signal"), "alarm"):
        hangs = response_of(Contender("", "", "", "import time; time.sleep(60)"), monkeypatch, importing, limit=1)
        assert hangs["failed"] == "stopped after 1 s"


def test_benchmarks_import_without_peers():
    code = (
        "import sys, benchmarks.__main__, benchmarks.worker, benchmarks.with_float64, benchmarks.with_products;"
        "print([n for n in ('torch', 'jax', 'thinc', 'sklearn', 'matplotlib', 'cupy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- start to end ---


def test_table_of_a_result():
    lines = [[part.strip() for part in line.split("|")] for line in tables(RESULT).splitlines()]
    assert ["", "step/small", "gpubp", "20 us", "PyTorch, eager", "0.50", "2.00", ""] in lines
    first, second = (lines.index([f"### {name}"]) for name in ("step/small", "growth/width/1"))
    cells = {line[1]: line[2:] for line in lines[first:second] if len(line) > 2}
    assert cells["gpubp"][:4] == ["20 us", "50%", "1.00", "2.00"]
    assert cells["scikit-learn"][2:7] == ["0.25", "8.00", "100 MB", "1 MB", "500 ms"]
    assert cells["JAX, jit per step"][0] == "failed: deviates from the reference at value 2"
    assert cells["Thinc"][0] == "Thinc has no momentum"
    assert "left out, not installed: Thinc" in tables(RESULT)


def test_every_table_is_on_a_page():
    names = [match["name"] for page in PAGES for match in MARKED.finditer(page.read_text(encoding="utf-8"))]
    assert sorted(names) == sorted([*TABLES, *FIGURES])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_of_the_pages_match_their_files(page):
    text = page.read_text(encoding="utf-8")
    assert with_tables(text) == text


def times(*seconds):
    return {"seconds": list(seconds), "core_seconds": list(seconds)}


@pytest.mark.parametrize(
    ("name", "figures", "line"),
    [
        (
            "search",
            {"steps": 1000, "contenders": {"gpubp": times(2.0, 3.0) | {"best_accuracy": 0.9}}},
            "| `BatchedSearchCV` | 2.00 | 2.00 | 2000.0 | 1.0 | 0.9000 |",
        ),
        (
            "shapes",
            {
                **{"epochs": 10, "candidates": 11, "folds": 5},
                "ways": {"a": times(1.0), "b": times(3.0, 4.0), "c": times(2.0), "d": times(2.55)},
            },
            "| an additional stack, in each epoch | 10.00 ms | padding of one network, in each epoch | 1.000 ms |",
        ),
        (
            "xor-stack",
            {"networks": 1000, "solved": 990, "peak_bytes": 10**8, "seconds": 2.0},
            "| 1,000 | 990 | 100 MB |",
        ),
        (
            "kills",
            {"compiled": {"kills": 1000, "differences": 0}, "plain": {"kills": 9, "differences": 1}},
            "| kills | 1,000 | 9 | differences | 0 | 1 |",
        ),
        (
            "worst-files",
            {"ties": {"bytes": 10**7, "outcome": "read", "cpu_seconds": 0.5, "peak": 10**8, "of_allowed": 0.25}},
            "| ties | 10 MB | read | 0.50 s | 10.0 | 0.25 |",
        ),
    ],
    ids=("search", "shapes", "xor-stack", "kills", "worst-files"),
)
def test_tables_of_single_benchmarks(name, figures, line, tmp_path):
    path = write_result({"date": "2020-01-01", name: figures}, name, tmp_path / "result.json")
    table = FIGURES[name]([json.loads(path.read_text())])
    assert line in re.sub(r" +", " ", " ".join(table)).replace("| |", "|")


def test_excess_of_a_first_call():
    def parts(*seconds):
        return dict(zip(first_call.PARTS, [[one, 0.5 * one] for one in seconds], strict=True))

    figures = {
        "gpubp": [parts(1.5, 0.3, 0.1), parts(1.6, 0.2, 0.2)],
        "scikit-learn": [parts(1.4, 1.0, 1.0), parts(1.3, 1.0, 1.0)],
    }
    assert first_call.excess(figures, 0) == pytest.approx(1.5 + 0.2 - 1.3 - 0.1)
    table = first_call.table(figures)
    assert re.fullmatch(r"\| gpubp, seconds +\| 1.5 s +\| 200 ms +\| 100 ms +\|", table[2])
    assert "takes 300 ms of time and 150 ms of CPU time more" in table[-1]


def test_numbers_are_written_with_units():
    assert [show_seconds(s) for s in (2.5, 1.234e-3, 9.87654e-5, 1e-7)] == ["2.5 s", "1.23 ms", "98.8 us", "0.1 us"]
    assert [show_bytes(n) for n in (2.5e9, 1.5e7, None)] == ["2.5 GB", "15 MB", "unknown"]


def test_pictures_show_ratios_to_the_fastest_peer(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.chart import draw, ratios

    (axes,) = ratios(RESULT).axes
    drawn = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert drawn == pytest.approx([0.5, 1.6, 1.0, 0.2])
    assert [path.name for path in draw(RESULT, tmp_path / "a.json")] == ["a.png", "a-growth.png"]
    assert all(path.stat().st_size > 10_000 for path in tmp_path.glob("*.png"))


@pytest.mark.slow
def test_measures_writes_and_reads_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GPUBP_COMPILED", "never")  # compiling takes longer
    pattern, path = "step/6-2-2/logistic/adam", tmp_path / "result.json"
    names = ["gpubp", "scikit-learn", "floor", "gpubp-cuda"]
    assert main(["--quick", "--workloads", pattern, "--contenders", *names, "--output", str(path)]) == 0
    first = capsys.readouterr()
    (workload,) = json.loads(path.read_text())["workloads"]
    assert {name: len(facts["seconds"]) for name, facts in workload["contenders"].items() if name in names[:3]} == {
        **{"gpubp": 2, "scikit-learn": 2, "floor": 2}
    }
    assert first.err == ""  # no progress bar without a terminal
    assert main(["--from", str(path)]) == 0
    assert capsys.readouterr().out == first.out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory and the disk are measured as Linux reports them")
@pytest.mark.parametrize("rows_in_memory", [0, 400])
def test_streams_are_measured(tmp_path, monkeypatch, rows_in_memory):
    monkeypatch.setenv("GPUBP_COMPILED", "never")
    path = tmp_path / "rows.npy"
    stream.write_file(path, 600)
    assert np.load(path).shape == (600, stream.WIDTH)
    assert stream.disk_speed(path, in_order=False, most=10**5) >= 0.0
    found = stream.run(path, (256, 4, 10), 8 << 20, rows_in_memory)
    assert found["rows_per_second"] > 0
    assert found["peak_bytes"] >= found["peak_bytes_before"] > 0


def test_the_table_of_heavy_tails_is_that_of_its_files(capsys):
    page = (ROOT / "docs" / "table_benchmark.md").read_text(encoding="utf-8")
    mark = r"<!-- python -m benchmarks\.heavy_tails --from (.*) -->\n\n(.*?)\n\n<!-- end -->"
    files, shown = re.search(mark, page, re.DOTALL).groups()
    heavy_tails.main(["--from", *(str(ROOT / "benchmarks" / "results" / file) for file in files.split())])
    assert capsys.readouterr().out.strip() == shown


@pytest.mark.parametrize("tails", heavy_tails.TAILS)
def test_numbers_with_heavy_tails_are_drawn_from_their_seed(tails):
    X, y = heavy_tails.heavy_tailed(tails, 20_000, 0)
    again = heavy_tails.heavy_tailed(tails, 20_000, 0)
    assert all(np.array_equal(*pair) for pair in zip((X, y), again, strict=True))
    median, quartile = np.quantile(X, [0.5, 0.75])
    assert median == pytest.approx(1.0 if tails == "log-normal" else 0.0, abs=0.05)
    assert quartile == pytest.approx(1.963 if tails == "log-normal" else 0.816, rel=0.03)
    assert np.abs(X).max() > 30.0
    assert not np.array_equal(X, heavy_tails.heavy_tailed(tails, 20_000, 1)[0])


def test_models_are_scored_on_numbers_with_heavy_tails(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(heavy_tails, "N_ROWS", 100)
    monkeypatch.setattr(heavy_tails, "N_TEST", 50)
    output = str(tmp_path / "result.json")
    heavy_tails.main(["--seeds", "2", "--models", "linear", "robust", "--encodings", "--output", output])
    heavy_tails.main(["--from", output])
    found = json.loads((tmp_path / "result.json").read_text())["tails"]
    assert list(found) == list(heavy_tails.TAILS)
    assert len(found["t"]["robust"]["r2"]) == 2
    assert capsys.readouterr().out.count("| robust ") == 2
