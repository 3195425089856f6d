"""The benchmark of tables: the inputs that contenders share, its statistics, and its files."""

import json
import math
import os
import re

import numpy as np
import pytest
from sklearn.metrics import log_loss, r2_score

from benchmarks.tables import __main__ as command
from benchmarks.tables import inputs, page
from benchmarks.tables.aims import verdicts
from benchmarks.tables.chart import LOOKS
from benchmarks.tables.contenders import CONTENDERS, Job
from benchmarks.tables.inputs import Rows, named_tables, write_inputs
from benchmarks.tables.report import overview, report
from benchmarks.tables.runs import constant, scores
from benchmarks.tables.summary import mean_ranks, reference, summaries, tables_of
from gpubp.data import table_from_mapping
from tests.shop import ROWS, shop

pytestmark = pytest.mark.once


def fit_of(loss, cpu_seconds, task="regression"):
    named = {"rmse": loss, "r2": 0.5} if task == "regression" else {"log_loss": loss, "accuracy": 0.5}
    return {"scores": named, "cpu_seconds": cpu_seconds, "seconds": 2 * cpu_seconds, "peak_bytes": 10**8}


def table_of(losses, task="regression", constant=1.0, n_seeds=1):
    """Return a table of a result; `losses` are those of each contender, or why it failed."""
    contenders = {
        name: {"failed": loss} if isinstance(loss, str) else fit_of(loss, 0.1 * (number + 1), task)
        for number, (name, loss) in enumerate(losses.items())
    }
    seed = {"contenders": contenders, "baseline": fit_of(constant, 0.0, task)["scores"]}
    return {"target": "y", "task": task, "rows": 600, "seeds": {str(number): seed for number in range(n_seeds)}}


RESULT = {
    "settings": {"limit": 60.0, "most_rows": None, "threads": 1},
    "runs": [],
    "sets": {
        "others": {
            "a": table_of({"best-4s": 0.3, "best-20s": 0.2, "MLP": 0.4, "RealMLP-TD": 0.25}),
            "b": table_of({"best-4s": 0.5, "best-20s": 0.5, "MLP": 0.503, "RealMLP-TD": 0.4}),
            "c": table_of({"best-4s": 6.0, "best-20s": 5.0, "MLP": "ValueError: no"}, "classification", constant=10.0),
            "d": {"target": "y", "error": "DataError: no such file"},
        }
    },
}


# --- statistics ---


def test_ratios_are_geometric_means_over_tables_of_normalised_scores():
    found = {one.name: one for one in summaries(RESULT, "others", "best-20s")}
    logs = [math.log(0.3 / 0.2), 0.0, math.log(6.0 / 5.0)]
    assert found["best-4s"].ratio == pytest.approx(math.exp(np.mean(logs)))
    assert found["best-4s"].ratio_error == pytest.approx(found["best-4s"].ratio * np.std(logs, ddof=1) / math.sqrt(3))
    assert found["best-4s"].median_ratio == pytest.approx(1.2)
    assert found["best-20s"].normalised == pytest.approx((0.2 * 0.5 * 0.5) ** (1 / 3))
    assert (found["best-4s"].n_better, found["best-4s"].n_worse) == (0, 2)
    assert (found["MLP"].n_tables, found["MLP"].n_failed) == (2, 1)
    assert (found["MLP"].n_better, found["MLP"].n_worse) == (0, 1)  # 0.503 against 0.5 is less than 1 %
    assert (found["RealMLP-TD"].n_better, found["RealMLP-TD"].n_worse) == (1, 1)
    assert found["MLP"].cpu_seconds == pytest.approx(0.3)
    of_classes = {one.name: one for one in summaries(RESULT, "others", "best-20s", "classification")}
    assert of_classes["best-4s"].ratio == pytest.approx(1.2)
    assert of_classes["best-4s"].ratio_error is None  # of one table


def test_ranks_count_failures_as_last_and_leave_out_tables_that_one_did_not_run():
    tables = tables_of(RESULT, "others")
    assert mean_ranks(tables, ["best-4s", "best-20s", "MLP"]) == {
        "best-4s": 1.5 + 1 / 3,
        "best-20s": 3.5 / 3,
        "MLP": 3.0,
    }
    assert mean_ranks(tables, ["best-20s", "RealMLP-TD"]) == {"best-20s": 1.5, "RealMLP-TD": 1.5}


def test_scores_of_seeds_are_averaged_as_logarithms():
    seeds = table_of({"MLP": 0.2})["seeds"] | {"1": table_of({"MLP": 0.8})["seeds"]["0"]}
    (table,) = tables_of({"sets": {"s": {"a": table_of({"MLP": 0.2}) | {"seeds": seeds}}}}, "s")
    assert math.exp(table.scores["MLP"]) == pytest.approx(0.4)
    assert len(table.by_seed["MLP"]) == 2


def test_others_are_compared_with_the_longest_search():
    assert reference(RESULT) == "best-20s"
    assert reference(RESULT, "MLP") == "MLP"
    assert reference({"sets": {"s": {"a": table_of({"MLP": 1.0, "fast": 1.0})}}}) == "fast"


def test_targets_are_met_missed_or_not_measured():
    found = {one.what: one for one in verdicts(RESULT)}
    peer = found["others: best-20s / RealMLP-TD"]
    assert (peer.limit, peer.verdict) == ("1", "met")  # 0.2 / 0.25 and 0.5 / 0.4
    assert peer.value.startswith("1.000 ±")
    assert found["others: best-20s, better and worse than RealMLP-TD by 1 %"].verdict == "missed"
    assert found["others: CPU time of best-20s / RealMLP-TD"][2:] == ("0.500", "missed")
    assert found["others: fast / RealMLP-TD"].verdict == "not measured"
    linear = "others: tables of 500 rows on which fast is worse than linear by 2 standard errors"
    assert found[linear].verdict == "not measured: needs 10 seeds"
    always = table_of({"fast": 1.0, "linear": 0.9}, n_seeds=10)
    of_many = {one.what: one for one in verdicts({"sets": {"others": {"a": always}}})}
    assert of_many[linear][2:] == ("1 of 1", "missed")


def test_a_report_names_failures_and_tables_that_could_not_be_read():
    lines = [[part.strip() for part in line.split("|")] for line in report(RESULT).splitlines()]
    assert ["", "d", "y", "", "", "DataError: no such file", *[""] * 5] in lines
    (row,) = [line for line in lines if line[1:2] == ["c"]]
    assert row[6:10] == ["0.500", "0.500", "ValueError: no", ""]
    (row,) = [line for line in overview(RESULT, "others") if "MLP" in line and "Real" not in line]
    assert [part.strip() for part in row.split("|")][2:4] == ["2", "1"]


def test_a_chart_has_a_dot_for_each_contender(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.tables.chart import draw, score_against_time

    shown = [axes for axes in score_against_time(RESULT).axes if axes.get_visible()]
    of_numbers = next(axes for axes in shown if "regression" in axes.get_title(loc="left"))
    dots = [container[0].get_xydata()[0].tolist() for container in of_numbers.containers]
    assert sorted(dots)[1] == pytest.approx([0.2, math.sqrt(0.2 * 0.5)])
    assert len(dots) == 4
    (drawn,) = draw(RESULT, tmp_path / "a.json")
    assert drawn.stat().st_size > 10_000
    assert draw({"sets": {"s": {}}}, tmp_path / "b.json") == []


# --- inputs ---


def rows_of(work, target, **changes):
    return write_inputs(table_from_mapping(shop(**changes)), target, 3, work)


def read(work, form):
    import pickle

    return pickle.loads((work / f"{form}.pickle").read_bytes())


def test_all_contenders_learn_the_same_rows(tmp_path):
    frame = shop()
    frame.loc[[3, 7], "town"] = None
    rows = write_inputs(table_from_mapping(frame), "buys", 3, tmp_path)
    assert (rows.facts["rows"], rows.facts["learned"], rows.facts["tested"]) == (ROWS, 48, 12)
    ages = {form: read(tmp_path, form) for form in inputs.FORMS}
    as_read = ages["table"]["old"].columns["age"]
    assert not {"buys"} & set(ages["table"]["old"].columns)
    scaled = (as_read - as_read.mean()) / as_read.std()
    np.testing.assert_allclose(ages["one-hot"]["old"][:, 0], scaled, rtol=1e-5)
    np.testing.assert_array_equal(ages["codes"]["old"]["x0"], ages["one-hot"]["old"][:, 0])
    towns, codes = ages["table"]["old"].columns["town"], ages["codes"]["old"]["x2"]
    assert codes.dtype == "category"
    assert len(set(zip(towns.tolist(), codes.tolist(), strict=True))) == len(set(towns.tolist()))
    assert all(np.array_equal(one["y"], rows.learned) for one in ages.values())
    learned = frame["buys"].to_numpy()[ages["table"]["old"].selected] == "yes"
    np.testing.assert_array_equal(learned, rows.learned == 1)


def test_a_sample_of_rows_and_classes_of_one_row(tmp_path):
    sample = write_inputs(table_from_mapping(shop()), "income", 0, tmp_path, most_rows=30)
    assert (sample.facts["rows"], sample.facts["learned"] + sample.facts["tested"]) == (ROWS, 30)
    for seed in range(5):
        rows = write_inputs(table_from_mapping(shop(buys=["perhaps"])), "buys", seed, tmp_path)
        assert rows.tested.max() < rows.facts["classes"]
        assert set(rows.learned.tolist()) == set(range(rows.facts["classes"]))


def test_scores_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    classes = Rows({"task": "classification", "classes": 3}, np.array([0, 1, 2, 1]), random.integers(0, 3, 20), 1.0)
    shares = random.dirichlet(np.ones(3), 20)
    found = scores(shares, classes)
    assert found["log_loss"] == pytest.approx(log_loss(classes.tested, shares, labels=[0, 1, 2]), rel=1e-4)
    assert found["accuracy"] == (shares.argmax(axis=1) == classes.tested).mean()
    np.testing.assert_allclose(constant(classes)[0], [0.25, 0.5, 0.25])
    assert math.isfinite(scores(np.eye(3)[(classes.tested + 1) % 3], classes)["log_loss"])
    numbers = Rows({"task": "regression"}, np.zeros(4), random.normal(size=20), 5.0)
    found = scores(numbers.tested + 0.1, numbers)
    assert found["rmse"] == pytest.approx(0.5)
    assert found["r2"] == pytest.approx(r2_score(numbers.tested, numbers.tested + 0.1), rel=1e-4)


def test_contenders_that_are_installed_can_be_made():
    for contender in CONTENDERS.values():
        for task in ("classification", "regression"):
            pytest.importorskip("sklearn")
            if contender.library in ("gpubp", "sklearn"):
                assert hasattr(contender.make(Job(task, 0, 1, 1.0)), "fit")


def test_every_contender_has_a_look_in_the_chart():
    looks = [tuple(look.items()) for look in LOOKS.values()]
    assert set(LOOKS) == set(CONTENDERS)
    assert len(set(looks)) == len(looks)


# --- the command ---


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each fit is a fork")
def test_what_a_result_holds_is_not_run_again(tmp_path, monkeypatch, capsys):
    shop().assign(spend=shop()["income"] * 2).to_csv(tmp_path / "spend.csv", index=False)
    named = {
        name: {"package": "none", "file": f"{name}.csv", "target": target}
        for name, target in (("spend", "spend"), ("absent", "y"))
    }
    monkeypatch.setattr(inputs, "TABLES", tmp_path / "tables.json")
    (tmp_path / "tables.json").write_text(json.dumps({"those": named}))
    path = tmp_path / "result.json"
    usual = [str(tmp_path), "--seeds", "1", "--output", str(path), "--contenders"]
    command.main([*usual, "linear"])
    printed, log = capsys.readouterr()
    assert log.count("linear:") == 1
    spend, absent = json.loads(path.read_text())["sets"]["those"].values()
    fits = spend["seeds"]["0"]["contenders"]
    assert (spend["rows"], spend["task"], spend["seeds"]["0"]["tested"]) == (ROWS, "regression", 12)
    assert fits["linear"]["scores"]["r2"] > 0.99
    assert fits["linear"]["seconds"] > 0.0
    assert fits["linear"]["cpu_seconds"] > 0.0
    assert fits["linear"]["peak_bytes"] is None or fits["linear"]["peak_bytes"] > 10**7
    assert spend["seeds"]["0"]["baseline"]["rmse"] == pytest.approx(20.0, rel=0.5)  # in the units of the target
    assert absent["error"].startswith("DataError: no such file: absent.csv;")
    assert re.search(r"^\| absent +\| y .*no such file", printed, re.MULTILINE)

    command.main([*usual, "linear", "MLP", "--again", "MLP"])
    printed, log = capsys.readouterr()
    result = json.loads(path.read_text())
    again = result["sets"]["those"]["spend"]["seeds"]["0"]["contenders"]
    assert again["linear"] == fits["linear"]
    assert "linear:" not in log
    assert (again["linear"]["run"], again["MLP"]["run"], len(result["runs"])) == (0, 1, 2)
    command.main(["--from", str(path)])
    assert capsys.readouterr().out == printed
    with pytest.raises(SystemExit):
        command.main([*usual, "linear", "--most-rows", "30"])
    assert "choose another file" in capsys.readouterr().err


def test_searches_are_measured_again_by_the_name_of_the_contender(tmp_path, monkeypatch, capsys):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(RESULT))
    monkeypatch.setattr(command, "run", lambda result, *_, **__: path.write_text(json.dumps(result)))
    monkeypatch.setattr(command, "_draw", lambda *_: None)
    usual = [str(tmp_path), "--output", str(path), "--time-budget", "20", "--limit", "60", "--again"]
    command.main([*usual, "best"])
    kept = json.loads(path.read_text())["sets"]["others"]["a"]["seeds"]["0"]["contenders"]
    assert list(kept) == ["best-4s", "MLP", "RealMLP-TD"]
    with pytest.raises(SystemExit):
        command.main([*usual, "bset"])
    assert "invalid choice: 'bset'" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each fit is a fork")
def test_a_fit_that_fails_or_takes_too_long_is_recorded(tmp_path):
    from benchmarks.tables.runs import Workers

    rows = rows_of(tmp_path, "income")
    with Workers({"threads": 1, "limit": 0.001}) as workers:
        assert workers.measure("linear", rows, 0, tmp_path) == {"failed": "stopped after 0.001 s"}
        (tmp_path / "one-hot.pickle").unlink()
        workers.settings["limit"] = 60.0
        assert workers.measure("linear", rows, 0, tmp_path)["failed"].startswith("FileNotFoundError")


# --- files and pages ---


def test_public_tables_are_named_once_in_a_set():
    sets = named_tables()
    for tables in sets.values():
        files = [table["file"] for table in tables.values()]
        assert len(set(files)) == len(files)
        assert all({"package", "file", "target"} <= set(table) for table in tables.values())
    assert [len(tables) for tables in sets.values()] == [39, 34, 10]
    used = {table["file"] for table in sets["developed on"].values()}
    assert not used & {table["file"] for table in sets["others"].values()}


def test_the_page_has_the_figures_of_its_files():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.MARKED.search(text)
    assert page.with_tables(text) == text
    for image in re.findall(r"\]\((\.\./benchmarks/results/[^)]+)\)", text):
        assert (page.PAGE.parent / image).exists(), image
