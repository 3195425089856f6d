"""The cost model of several processes, and the summary of a soak test; nothing is timed."""

import json

import pytest

from benchmarks import processes_soak, scaling
from benchmarks import scaling_model as model

pytestmark = pytest.mark.once


def test_fitting_recovers_a_link():
    link = model.Link(2e-5, 1.5e9)
    n_bytes = [1 << k for k in range(10, 27, 2)]
    assert model.fitted_link(n_bytes, [link.seconds(n) for n in n_bytes]) == pytest.approx(link)


def test_fitting_recovers_a_compute_model():
    compute = model.Compute(1e-4, 5e-5, 2e-9)
    batches, parameters = (50, 100, 800), 10**6
    seconds = [compute.seconds(batch, 1, parameters) for batch in batches]
    assert model.fitted_compute(batches, seconds, 2e-3, parameters) == pytest.approx(compute)
    assert compute.seconds(800, 4, parameters) == pytest.approx(1e-4 + 200 * 5e-5 + 2e-3)


@pytest.mark.parametrize("processes", [2, 8, 64, 1024])
def test_large_sums_cost_the_time_of_a_ring(processes):
    n_bytes, bandwidth = 4e12, model.EFFICIENCY * (model.H100.inside if processes <= 8 else model.H100.between)
    expected = 2 * (processes - 1) / processes * n_bytes / bandwidth
    assert model.exchange_of_nccl(n_bytes, processes) == pytest.approx(expected, rel=0.02)


def test_latency_of_small_sums_grows_with_the_logarithm():
    inside, two, sixty_four = (model.exchange_of_nccl(4, p) for p in (8, 16, 512))
    assert inside == pytest.approx((4.4 + 2 * 7 * 0.52) * 1e-6, rel=1e-3)
    assert sixty_four - two == pytest.approx(2 * 5 * 5.0 * 1e-6, rel=1e-3)
    assert model.exchange_of_nccl(4, 1) == 0.0


def test_predictions_respect_the_hardware_limits():
    for sizes in (scaling.SIZES, scaling.WIDE):
        on_one_gpu, of_exchange = model.predicted_step(sizes, 1024, 1)
        assert of_exchange == 0.0
        for processes in (8, 64, 1024):
            assert model.predicted_step(sizes, 1024 * processes, processes)[0] > on_one_gpu
    assert model.parameters_of((784, 512, 512, 10)) == 785 * 512 + 513 * 512 + 513 * 10
    assert scaling.predictions().count("\n| ") == 8


def test_tables_show_the_results():
    found = {
        "processes": 2,
        "link": {"latency": 1e-6, "bandwidth": 1e9},
        "exchanges": [{"bytes": 1024, "seconds": [3e-6, 2e-6]}],
        "steps": {"1": {"100": [0.02, 0.01]}},
        "usual": {"100": [0.004]},
        "held_to": {"100": {"model": 0.006, "measured": 0.005, "speedup": 2.0}},
        "parts": {"1": {"100": {"forward": [1e-3], "backward": [2e-3], "sum": [3e-4], "change": [4e-3]}}},
    }
    shown = scaling.tables(json.loads(json.dumps(found)))
    assert "| 1,024 | 2 µs | 0.51 | 2.02 µs |" in shown
    assert "| 100 | 10 ms | 5 ms | 2.00 | 6 ms | 4 ms |" in shown
    assert "| 1 | 100 | 1 ms | 2 ms | 300 µs | 4 ms |" in shown


def test_a_soak_is_summarised():
    run = {"how": "kill", "seconds_to_end": 0.5, "from": None, "of_tolerance": 0.1, "faults": []}
    other = run | {"how": "raise", "seconds_to_end": 1.5, "from": "checkpoint", "faults": ["it ended after 11 s"]}
    shown = processes_soak.summary([run, run, other])
    assert shown["runs"] == 3
    assert shown["failed"] == shown["from_a_checkpoint"] == 1
    assert shown["ways"] == {"kill": 2, "raise": 1}
    assert shown["seconds_to_end"] == {"median": 0.5, "largest": 1.5}
