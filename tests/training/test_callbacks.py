"""Callbacks: when they are called, their arguments, and those that are found by name."""

import csv
import json
import math
import sys

import numpy as np
import pytest

from gpubp.errors import DataError, DivergenceWarning
from gpubp.optim.first_order import adam, gradient_descent, momentum
from gpubp.optim.schedules import Cosine
from gpubp.optim.second_order import lbfgs
from gpubp.training import batched_epochs
from gpubp.training.callbacks import (
    CALLBACKS,
    CSVLogger,
    JSONLines,
    Progress,
    check_callbacks,
    epochs_before_due,
    get_callback,
)
from gpubp.training.checkpoints import Checkpoints
from gpubp.training.fit import all_correct
from tests.callback_stand_ins import TARGETS, X, fit
from tests.interrupts import interrupt
from tests.threads_as_processes import results_of, run_on_ranks


class Journal:
    """A callback that records all of its arguments."""

    def __init__(self, every=1, stops_at=math.inf):
        self.every, self.stops_at = every, stops_at
        self.runs, self.seen, self.outcomes = [], [], []

    def on_begin(self, run):
        self.runs.append(run)

    def __call__(self, progress):
        self.seen.append(progress)
        return progress.epoch >= self.stops_at

    def on_end(self, outcome):
        self.outcomes.append(outcome)


class Closing(Journal):
    """A callback that records what interrupts the training, and then fails itself."""

    def on_error(self, error):
        self.outcomes.append(error)
        raise OSError("nothing can be closed")


@pytest.mark.parametrize("where", ["on_begin", "__call__", "on_end"])
def test_an_exception_of_one_callback_is_reported_to_all(where, monkeypatch):
    error, watchers, failing = KeyError("no"), (Closing(), Closing()), type("Failing", (Journal,), {})()

    def fails(self, _):
        raise error

    monkeypatch.setattr(type(failing), where, fails)
    with pytest.raises(KeyError) as raised:
        fit((watchers[0], failing, watchers[1]), epochs=2)
    assert raised.value is error
    assert all(watcher.outcomes[-1] is error for watcher in watchers)


@pytest.fixture
def sizes(epochs_per_call, monkeypatch):
    """Record the number of epochs of each call; an epoch takes a microsecond on the fake clock."""
    monkeypatch.setattr(batched_epochs.BatchedEpochs, "record_duration", lambda self, _: setattr(self, "seconds", 1e-6))
    no_time = property(lambda self: 0.0, lambda self, seconds: None)
    monkeypatch.setattr(batched_epochs.BatchedEpochs, "seconds_to_record", no_time, raising=False)
    return epochs_per_call


class TestEvery:
    @pytest.mark.parametrize("every", [1, 7, 20, 100])
    def test_called_after_multiples(self, every):
        journal = Journal(every)
        fit(journal, epochs=45)
        assert [progress.epoch for progress in journal.seen] == list(range(every, 46, every))

    def test_the_parameters_are_those_of_the_epoch(self):
        journal = Journal(20)
        fit(journal, epochs=45)
        for progress in journal.seen:
            single = fit((), epochs=progress.epoch)
            np.testing.assert_array_equal(progress.theta, single.theta)
            assert progress.loss == single.history.loss[-1]

    def test_epochs_between_are_trained_in_one_call(self, sizes):
        plain = fit((), epochs=300)
        sizes.clear()
        watched = fit([Journal(50), Journal(100)], epochs=300)
        np.testing.assert_array_equal(watched.theta, plain.theta)
        assert watched.history.loss == plain.history.loss
        assert max(sizes) >= 32
        assert sum(sizes) == 300
        assert len(sizes) < 60

    def test_only_due_callbacks_are_called_and_can_end_the_training(self):
        often, seldom = Journal(3), Journal(5, stops_at=7)
        result = fit([often, seldom], epochs=45)
        assert [progress.epoch for progress in often.seen] == [3, 6, 9]
        assert [progress.epoch for progress in seldom.seen] == [5, 10]
        assert (result.stop_reason, len(result.history.loss)) == ("callback", 10)

    @pytest.mark.parametrize(("epoch", "n_before_due"), [(0, 9), (1, 8), (9, 0), (10, 9), (23, 6)])
    def test_epochs_before_one_is_due(self, epoch, n_before_due):
        assert epochs_before_due([Journal(10), Journal(40)], epoch) == n_before_due

    def test_without_callbacks_none_is_due(self):
        assert epochs_before_due([], 3) == math.inf

    @pytest.mark.parametrize("every", [0, -1, 1.5, "7", None])
    def test_must_be_a_count(self, every):
        with pytest.raises(DataError, match="a callback's every must be a whole number of at least 1, got"):
            fit(Journal(every))

    def test_one_callback_or_several(self):
        journal = Journal()
        assert check_callbacks(journal) == (journal,)
        assert check_callbacks(iter([journal, journal])) == (journal, journal)


class TestBeginAndEnd:
    def test_once_each(self):
        journal = Journal()
        result = fit(journal, epochs=3)
        (run,), (outcome,) = journal.runs, journal.outcomes
        assert (run.epoch, run.epochs, run.device) == (0, 3, "cpu")
        assert run.theta.shape == result.theta.shape
        assert (outcome.epoch, outcome.stop_reason) == (3, "epochs")
        np.testing.assert_array_equal(outcome.theta, result.theta)

    def test_a_function_needs_neither_begin_nor_end(self):
        assert fit([lambda progress: progress.epoch == 2], epochs=5).stop_reason == "callback"

    def test_after_ctrl_c(self):
        journal = Journal()
        fit([journal, interrupt], epochs=5)
        assert [outcome.stop_reason for outcome in journal.outcomes] == ["interrupted"]

    def test_not_after_an_error(self):
        def fails(progress):
            raise RuntimeError("no")

        journal = Journal()
        with pytest.raises(RuntimeError, match="no"):
            fit([journal, fails], epochs=5)
        assert len(journal.runs) == 1
        assert journal.outcomes == []

    def test_a_resumed_run_begins_at_its_epoch(self, tmp_path):
        fit((), epochs=3, checkpoint=Checkpoints(tmp_path / "kept"))
        journal = Journal()
        fit(journal, epochs=5, checkpoint=tmp_path / "kept", resume=True)
        assert [run.epoch for run in journal.runs] == [3]
        assert [progress.epoch for progress in journal.seen] == [4, 5]


def test_only_rank_0_of_several_processes_calls_them():
    journals = [Journal(2), Journal(3), Journal(1)]

    def work(processes):
        callbacks = journals[:2] if processes.rank == 0 else journals[2:]
        return fit(callbacks, epochs=7, parallel=processes)

    results_of(run_on_ranks(2, work))
    assert [[progress.epoch for progress in journal.seen] for journal in journals] == [[2, 4, 6], [3, 6], []]
    assert [len(journal.runs) for journal in journals] == [1, 1, 0]
    assert [len(journal.outcomes) for journal in journals] == [1, 1, 0]


class TestLearningRate:
    @pytest.mark.parametrize(
        ("optimizer", "rates"),
        [
            (adam(0.01), [0.01, 0.01, 0.01]),
            (gradient_descent(Cosine(0.1, 4)), [Cosine(0.1, 4)(epoch) for epoch in range(3)]),
            (lbfgs(), [None, None, None]),
        ],
        ids=["constant", "schedule", "none"],
    )
    def test_at_the_beginning_of_the_epoch(self, optimizer, rates):
        journal = Journal()
        fit(journal, epochs=3, optimizer=optimizer)
        assert [progress.learning_rate for progress in journal.seen] == rates

    def test_of_each_network_with_nan_after_its_end(self):
        journal, rates = Journal(), np.asarray([[0.1], [0.2], [0.3], [0.4]])
        leaves = [False] * 3
        fit(
            journal,
            epochs=2,
            seed=(1, 2, 3, 4),
            optimizer=momentum(rates),
            stop_when=lambda targets, outputs: np.asarray([True, *leaves])[: len(outputs)] | (len(outputs) < 4),
        )
        np.testing.assert_array_equal(journal.seen[0].learning_rate, [np.nan, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("name", CALLBACKS)
class TestBuiltIn:
    """What holds for every entry of CALLBACKS, each made as on the command line."""

    def test_has_tests_of_its_own(self, name):
        expected = f"Test{CALLBACKS[name].__name__}"
        assert expected in globals(), (
            f"test what {name!r} does in a class {expected} of tests/training/test_callbacks.py"
        )

    @pytest.mark.parametrize(
        "options", [{}, {"seed": (1, 2)}, {"validation_data": (X[:4], TARGETS[:4])}], ids=["one", "stack", "validation"]
    )
    def test_does_not_change_a_bit_of_the_result(self, name, options, tmp_path):
        found, plain = (
            fit(get_callback(f"{name}={tmp_path / 'log'}"), epochs=5, **options),
            fit((), epochs=5, **options),
        )
        np.testing.assert_array_equal(found.theta, plain.theta)
        np.testing.assert_array_equal(found.history.loss, plain.history.loss)

    def test_a_resumed_run_writes_what_one_run_writes(self, name, tmp_path):
        whole, parts = tmp_path / "whole", tmp_path / "parts"
        fit(get_callback(f"{name}={whole}"), epochs=6)
        for epochs in (4, 6):
            fit(get_callback(f"{name}={parts}"), epochs=epochs, checkpoint=tmp_path / "kept", resume=True)
        assert len(parts.read_text().splitlines()) == len(whole.read_text().splitlines()) > 0

    @pytest.mark.parametrize(
        "text",
        [
            *("not a log\n", "a,b\n1,2\n", "a,b", '{"a": 1}', "\n", "epoch,loss\n1,2\n"),
            *(CSVLogger.header + "1,2\n", CSVLogger.header + "a,,,,,\n"),
        ],
    )
    def test_replaces_no_other_file(self, name, text, tmp_path):
        path = tmp_path / "table"
        path.write_text(text)
        with pytest.raises(DataError, match="holds lines that are not epochs; pass another file"):
            fit(get_callback(f"{name}={path}"), epochs=1)
        assert path.read_text() == text


class TestJSONLines:
    def lines(self, path):
        return [json.loads(line) for line in path.read_text().splitlines()]

    def test_an_object_for_each_epoch(self, tmp_path):
        path = tmp_path / "log.jsonl"
        result = fit(JSONLines(path), epochs=3, validation_data=(X[:4], TARGETS[:4]))
        lines = self.lines(path)
        assert [line["epoch"] for line in lines] == [1, 2, 3]
        assert [line["loss"] for line in lines] == result.history.loss
        assert [line["validation_loss"] for line in lines] == result.history.validation_loss
        assert {line["learning_rate"] for line in lines} == {0.05}
        assert set(lines[0]) == set(Progress._fields) - {"theta"}

    def test_every_few_epochs(self, tmp_path):
        path = tmp_path / "log.jsonl"
        fit(JSONLines(path, every=20), epochs=45)
        assert [line["epoch"] for line in self.lines(path)] == [20, 40]

    def test_a_new_run_replaces_the_file_and_a_resumed_one_appends(self, tmp_path):
        path, checkpoints = tmp_path / "log.jsonl", tmp_path / "kept"
        path.write_text('{"epoch": 1, "loss": 8.0}\n')
        fit(JSONLines(path), epochs=3, checkpoint=checkpoints)
        path.write_text(
            path.read_text() + '{"epoch": 4, "loss": 9.0}\n{"epoch": 5, "lo'
        )  # killed as it wrote, after the checkpoint
        fit(JSONLines(path), epochs=6, checkpoint=checkpoints, resume=True)
        lines = self.lines(path)
        assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
        assert lines[3]["loss"] != 9.0

    def test_a_stack_has_lists_with_null_for_nan(self, tmp_path):
        path = tmp_path / "log.jsonl"
        with pytest.warns(DivergenceWarning):
            fit(
                JSONLines(path),
                epochs=200,
                seed=(1, 2),
                optimizer=gradient_descent(np.asarray([[0.1], [1e200]])),
                stop_when=all_correct,
            )
        losses = [line["loss"] for line in self.lines(path)]
        assert len(losses[0]) == 2
        assert losses[-1][1] is None

    @pytest.mark.parametrize(
        ("name", "message"), [("nowhere/log", "its folder does not exist"), (".", "cannot write to ")]
    )
    def test_a_folder_that_cannot_be_written(self, tmp_path, name, message):
        with pytest.raises(DataError, match=message):
            fit(JSONLines(tmp_path / name), epochs=1)

    def test_another_file(self, tmp_path):
        path, checkpoints = tmp_path / "log.jsonl", tmp_path / "kept"
        fit((), epochs=1, checkpoint=checkpoints)
        path.write_text("a,b\n1,2\n")
        with pytest.raises(DataError, match="holds lines that are not epochs; pass another file"):
            fit(JSONLines(path), epochs=2, checkpoint=checkpoints, resume=True)
        assert path.read_text() == "a,b\n1,2\n"

    def test_a_line_that_cannot_be_written_warns_once_and_training_continues(self, tmp_path):
        log = JSONLines(tmp_path / "log.jsonl")

        def make_it_a_folder(progress):
            if progress.epoch == 2:
                (tmp_path / "log.jsonl").unlink()
                (tmp_path / "log.jsonl").mkdir()

        with pytest.warns(UserWarning, match="cannot write to .*log.jsonl: .*; the file gets no more lines") as caught:
            result = fit([make_it_a_folder, log], epochs=5)
        assert len(result.history.loss) == 5
        assert len(caught) == 1


class TestCSVLogger:
    def rows(self, path):
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def test_a_row_for_each_epoch(self, tmp_path):
        path = tmp_path / "log.csv"
        result = fit(CSVLogger(path), epochs=3, validation_data=(X[:4], TARGETS[:4]))
        rows = self.rows(path)
        assert [row["epoch"] for row in rows] == ["1", "2", "3"]
        assert [float(row["loss"]) for row in rows] == result.history.loss
        assert [float(row["validation_loss"]) for row in rows] == result.history.validation_loss
        assert {(row["validation_score"], row["learning_rate"]) for row in rows} == {("", "0.05")}

    def test_a_stack_has_medians(self, tmp_path):
        result = fit(CSVLogger(tmp_path / "log.csv"), epochs=2, seed=(1, 2, 3))
        assert [float(row["loss"]) for row in self.rows(tmp_path / "log.csv")] == [
            float(np.median(loss)) for loss in result.history.loss
        ]

    def test_a_new_run_replaces_the_file_and_a_resumed_one_appends(self, tmp_path):
        path, checkpoints = tmp_path / "log.csv", tmp_path / "kept"
        fit(CSVLogger(path), epochs=9)
        fit(CSVLogger(path), epochs=3, checkpoint=checkpoints)
        path.write_text(path.read_text() + "4,9.0,,,,1.0\n5,0.")  # killed as it wrote, after the checkpoint
        fit(CSVLogger(path), epochs=6, checkpoint=checkpoints, resume=True)
        rows = self.rows(path)
        assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
        assert rows[3]["loss"] != "9.0"


class TestByName:
    @pytest.fixture
    def module(self, tmp_path, monkeypatch):
        """A user's module with a unique name."""
        (tmp_path / "callbacks_of_a_user.py").write_text(
            "def watch(progress): ...\n\n"
            "class Watch:\n    every = 3\n    def __call__(self, progress): ...\n\nfigure = 7\n\n"
            "class Needs(Watch):\n    def __init__(self, path): ...\n"
        )
        (tmp_path / "broken_callbacks_of_a_user.py").write_text("1 / 0\n")
        monkeypatch.syspath_prepend(tmp_path)
        yield "callbacks_of_a_user"
        sys.modules.pop("callbacks_of_a_user", None)

    def test_built_in(self):
        callback = get_callback("json_lines=a=b:c.jsonl")
        assert isinstance(callback, JSONLines)
        assert callback.path == "a=b:c.jsonl"
        assert "json_lines" in CALLBACKS

    def test_of_a_module(self, module):
        assert get_callback(f"{module}:watch").__name__ == "watch"
        assert get_callback(f"{module}:Watch").every == 3

    def test_of_a_module_with_an_argument(self):
        assert get_callback("gpubp:TensorBoardLogger=logs").folder == "logs"
        assert get_callback("gpubp:CSVLogger=a=b.csv").path == "a=b.csv"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("json_lines", "callback 'json_lines' needs a value: json_lines=FILE"),
            ("json_line=log", r"unknown callback 'json_line' \(did you mean 'json_lines'\?\)"),
            ("nothing", "unknown callback 'nothing'; known: .*json_lines.*; or pass module:attribute"),
            (":watch", "unknown callback"),
            ("no_module_has_this_name:watch", "cannot import 'no_module_has_this_name': No module named"),
            ("broken_callbacks_of_a_user:watch", "cannot import 'broken_callbacks_of_a_user': division by zero"),
            ("callbacks_of_a_user:wach", r"module 'callbacks_of_a_user' has no 'wach' \(did you mean '[Ww]atch'"),
            ("callbacks_of_a_user:Needs", r"Needs\(\) raised TypeError: .*'path'"),
            ("callbacks_of_a_user:Watch=a", r"Watch\('a'\) raised TypeError"),
            (":watch=a", "unknown callback ':watch'"),
            ("gpubp:CSVLogger=", "callback 'gpubp:CSVLogger=' has no value after '='; pass one, or gpubp:CSVLogger al"),
            ("callbacks_of_a_user:figure", "callbacks must be functions that take a Progress"),
        ],
    )
    @pytest.mark.usefixtures("module")
    def test_faults(self, text, message):
        with pytest.raises(DataError, match=message):
            get_callback(text)
