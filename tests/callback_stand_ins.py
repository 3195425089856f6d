"""Short fits with callbacks, and stand-ins for the bars, writers and trackers of other libraries."""

from types import SimpleNamespace

import numpy as np

from gpubp import train
from gpubp.nn.network import Network
from gpubp.optim.first_order import momentum
from gpubp.training.callbacks import Progress

NETWORK = Network((3, 4, 2), activation="tanh")
RNG = np.random.default_rng(0)
X, TARGETS = RNG.normal(size=(11, 3)), RNG.uniform(size=(11, 2))


def fit(callbacks, **options):
    arguments = {"batch_size": "full", "optimizer": momentum(0.05), "device": "cpu", "dtype": "float64", "seed": 1}
    return train(NETWORK, X, TARGETS, callbacks=callbacks, **arguments | options)


def epoch(number, loss=0.5, score=None):
    return Progress(number, 100, loss, None, score, 1.0, np.zeros(2))


def fails(progress):
    raise RuntimeError("no")


class Bar:
    """A stand-in for tqdm's bar."""

    def __init__(self, total):
        self.total, self.n, self.texts, self.closed = total, 0, [], False

    def update(self, n):
        self.n += n

    def set_postfix_str(self, text):
        self.texts.append(text)

    def close(self):
        self.closed = True


class Writer:
    """A stand-in for a SummaryWriter."""

    def __init__(self, folder=None):
        self.folder, self.written, self.closed = folder, [], False

    def add_scalar(self, tag, value, step):
        self.written.append((tag, value, step))

    def close(self):
        self.closed = True


class Tracker:
    """A stand-in for the module mlflow."""

    def __init__(self):
        self.active, self.runs = None, []

    def active_run(self):
        return self.active

    def start_run(self):
        run = SimpleNamespace(info=SimpleNamespace(run_id=str(len(self.runs))), params={}, metrics=[], tags={}, end="")
        self.runs.append(run)
        self.active = run
        return run

    def end_run(self, status="FINISHED"):
        if self.active is not None:
            self.active.end, self.active = status, None

    def log_params(self, params):
        assert not set(params) & set(self.active.params)  # MLflow refuses other values
        self.active.params |= params

    def log_metrics(self, metrics, step):
        self.active.metrics.append((step, metrics))

    def set_tag(self, name, value):
        self.active.tags[name] = value
