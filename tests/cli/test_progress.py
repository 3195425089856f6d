"""The progress bar: only on a terminal, rarely redrawn, and correct however training ends."""

import io
import re
import sys
import threading

import numpy as np
import pytest
from rich.console import Console

from gpubp import Network, train
from gpubp.cli import progress as module
from gpubp.cli.progress import progress_bar, search_bar
from gpubp.training.callbacks import Progress

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def screen(monkeypatch):
    """A terminal of 120 columns instead of stderr."""
    screen = io.StringIO()
    monkeypatch.setenv("TERM", "xterm-256color")

    def make(*, stderr: bool = True, width: int = 120) -> Console:
        assert stderr
        return Console(file=screen, force_terminal=True, width=width, color_system=None)

    monkeypatch.setattr(module, "Console", make)
    return screen


@pytest.fixture
def redraws(monkeypatch):
    counted = []
    refresh = module.Bar.refresh
    monkeypatch.setattr(module.Bar, "refresh", lambda self: (counted.append(1), refresh(self))[1])
    return counted


def progress_at(epoch=1, epochs=10, loss=0.5, validation_loss=None, validation_score=None) -> Progress:
    as_array = [value if value is None else np.asarray(value) for value in (loss, validation_loss)]
    return Progress(epoch, epochs, *as_array, validation_score, 12_345.0, None)


def drawn(screen: io.StringIO) -> list[str]:
    """Return every line that was drawn, without cursor movements."""
    text = re.sub(r"\x1b\[[0-9?]*[A-Za-z]|\r", "\n", screen.getvalue())
    return [line for line in text.splitlines() if line.strip()]


def last(screen: io.StringIO) -> list[str]:
    """Return the two lines that were drawn last: the bar, and the figures below it."""
    return [line.strip() for line in drawn(screen)[-2:]]


def test_piped_it_is_silent(capfd):
    with progress_bar(5) as bar:
        fit = train(Network((1, 1)), [[0.0], [1.0]], [[0.0], [1.0]], epochs=5, callbacks=[bar], device="cpu")
    assert fit.stop_reason == "epochs"
    assert capfd.readouterr() == ("", "")


def test_a_dumb_terminal_gets_none(screen, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with progress_bar(5) as bar:
        bar(progress_at())
    assert screen.getvalue() == ""


def test_it_can_be_switched_off(screen):
    with progress_bar(5, enabled=False) as bar:
        bar(progress_at())
    assert screen.getvalue() == ""


def test_it_can_be_switched_on_in_a_pipe(capfd):
    with progress_bar(5, enabled=True) as bar:
        bar(progress_at(5, 5))
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 5/5" in err


def test_it_shows_epoch_loss_score_best_time_and_speed(screen, clock):
    with progress_bar(10) as bar:
        assert last(screen)[0].startswith("epoch 0/10")
        bar(progress_at(1, 10))
        clock.now += 4.0
        assert bar(progress_at(2, 10, 0.25, 0.5, 0.875)) is None
        line, figures = last(screen)
        assert line.startswith("epoch 2/10 ")
        assert line.endswith(" 16.0 s left")
        assert figures == "loss 0.2500, validation score 0.8750, best 0.8750, 12.3k samples/s"
        clock.now += 86.0
        bar(progress_at(3, 10, 0.25, 0.5, 0.5))
        assert last(screen)[0].endswith(" 3:30 left")
        assert "validation score 0.5000, best 0.8750, " in last(screen)[1]
    assert last(screen)[0].endswith(" in 1:30")


def test_epochs_before_a_resume_do_not_count_for_the_speed(screen, clock):
    with progress_bar(10) as bar:
        clock.now += 3.0
        bar(progress_at(7, 10))
        assert last(screen)[0].startswith("epoch 7/10 ")
        assert last(screen)[0].endswith(" 9.0 s left")


def test_the_score_has_its_name(screen, clock):
    with progress_bar(10, score_name="accuracy") as bar:
        bar(progress_at(1, 10, 0.25, 0.5, 0.875))
    assert last(screen)[1] == "loss 0.2500, validation accuracy 0.8750, best 0.8750, 12.3k samples/s"


def test_without_a_score_the_lowest_validation_loss_is_best(screen, clock):
    with progress_bar(10) as bar:
        for epoch, loss in enumerate((0.5, 0.25, 0.375), 1):
            bar(progress_at(epoch, 10, 0.125, loss))
    assert last(screen)[1] == "loss 0.1250, validation loss 0.3750, best 0.2500, 12.3k samples/s"


def test_without_validation_there_is_no_best(screen, clock):
    with progress_bar(10) as bar:
        bar(progress_at(1, 10, 0.125))
    assert last(screen)[1] == "loss 0.1250, 12.3k samples/s"


def test_a_stack_shows_the_middle_network(screen, clock):
    with progress_bar(10) as bar:
        bar(progress_at(1, 10, [0.5, 0.25, np.nan, 4.0], [np.nan] * 4))
    assert last(screen)[1] == "median loss 0.5000, median validation loss nan, 12.3k samples/s"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_is_two_lines_on_every_terminal(screen, clock, monkeypatch, width):
    make = module.Console
    monkeypatch.setattr(module, "Console", lambda **options: make(width=width))
    with progress_bar(1000) as bar:
        bar(progress_at(999, 1000, 0.5, 0.5, 0.5))
    lines = drawn(screen)
    assert max(map(len, lines)) == width
    assert [line.startswith("epoch ") for line in lines] == [True, False] * (len(lines) // 2)
    assert "━━━" in lines[-2]
    assert ("…" in lines[-1]) == (width == 40)


def test_many_epochs_are_few_redraws(screen, clock, redraws):
    with progress_bar(10_000) as bar:
        for epoch in range(1, 10_001):
            clock.now += 0.001
            bar(progress_at(epoch, 10_000))
    assert 20 <= len(redraws) <= 10 * 10  # in ten seconds


def test_no_thread_draws_during_training(screen):
    before = threading.active_count()
    with progress_bar(10):
        assert threading.active_count() == before


def test_every_slow_epoch_is_shown(screen, clock, redraws):
    with progress_bar(20) as bar:
        before = len(redraws)
        for epoch in range(1, 21):
            clock.now += 1.0
            bar(progress_at(epoch, 20))
        assert len(redraws) - before == 20


def test_epochs_that_are_not_drawn_count(screen, clock):
    with progress_bar(10) as bar:
        for epoch, score in enumerate((0.5, 0.96875, 0.75), 1):  # the clock stands still: only the first is drawn
            bar(progress_at(epoch, 10, 0.5, 0.5, score))
        assert "best 0.5000" in last(screen)[1]
    assert last(screen)[0].startswith("epoch 3/10")
    assert "score 0.7500, best 0.9688" in last(screen)[1]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_it_ends_cleanly_when_training_does_not(screen, clock, error):
    def run() -> None:
        with progress_bar(10) as bar:
            bar(progress_at(1))
            bar(progress_at(2))
            raise error

    with pytest.raises(error):
        run()
    assert last(screen)[0].startswith("epoch 2/10")
    assert screen.getvalue().rindex(SHOW_CURSOR) > screen.getvalue().rindex(HIDE_CURSOR)
    assert not isinstance(sys.stderr, module.Bar)
    assert screen.getvalue().count("\n") >= 1


def test_it_ends_before_the_first_epoch(screen):
    with progress_bar(10):
        pass
    assert last(screen)[0].startswith("epoch 0/10")


def test_training_that_stops_early_ends_at_its_last_epoch(screen):
    stop = lambda progress: progress.epoch == 7  # noqa: E731
    with progress_bar(50) as bar:
        fit = train(
            Network((1, 1)), [[0.0], [1.0]], [[0.0], [1.0]], epochs=50, callbacks=[bar, stop], device="cpu", seed=[0, 1]
        )
    assert fit.stop_reason == "callback"
    assert last(screen)[0].startswith("epoch 7/50")


def test_output_on_a_piped_stdout_is_kept(screen, capsys):
    with progress_bar(10) as bar:
        bar(progress_at())
        print("a result")
    assert capsys.readouterr().out == "a result\n"
    assert "a result" not in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1:00"), (3599.6, "1:00:00"), (7325, "2:02:05")]
)
def test_durations(seconds, text):
    assert module._duration_text(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (999, "999"), (1000, "1k"), (2_340_000, "2.34M"), (5e9, "5G")]
)
def test_speeds(value, text):
    assert module._rate_text(value) == text


def test_a_second_training_starts_the_bar_again(screen, clock):
    with progress_bar(4) as callback:
        for epochs in (4, 2):
            for epoch in range(1, epochs + 1):
                clock.now += 1.0
                callback(progress_at(epoch=epoch, epochs=epochs))
            assert (callback.bar.tasks[0].completed, callback.bar.tasks[0].total) == (epochs, epochs)


def test_a_search_shows_how_much_of_its_time_has_passed(screen, clock):
    with search_bar(60.0) as (callback, begin):
        begin("candidate 1 of 10")
        clock.now += 3.0
        callback(progress_at(1, 200, [0.5, 0.25], [0.5, 0.75]))
        line, figures = last(screen)
        assert line.startswith("candidate 1 of 10, epoch 1 ━")
        assert line.endswith(" 3.0 s of 1:00")
        assert figures.startswith("median loss 0.3750, median validation loss 0.6250")
        begin("candidate 2 of 10")
        clock.now += 9.0
        callback(progress_at(1, 200))
        assert last(screen)[0].endswith(" 12.0 s of 1:00")
        assert callback.bar.tasks[0].percentage == 20.0
        clock.now += 90.0
        callback(progress_at(2, 200))
        assert last(screen)[0].endswith(" 1:42 of 1:00")
    assert callback.bar.tasks[0].percentage == 100.0
    assert last(screen)[0].endswith(" in 1:42")
    with search_bar(60.0, enabled=False) as (callback, begin):
        assert (callback(progress_at()), begin) == (None, None)
