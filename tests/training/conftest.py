"""Fixtures of the tests of training."""

import pytest

from gpubp.training import epochs


@pytest.fixture
def epochs_per_call(monkeypatch):
    """Record the number of epochs of each call."""
    numbers, train_on_batches = [], epochs.train_on_batches

    def counted(plan, model, batches):
        numbers.append(epochs.epochs_of(batches))
        return train_on_batches(plan, model, batches)

    monkeypatch.setattr(epochs, "train_on_batches", counted)
    return numbers
