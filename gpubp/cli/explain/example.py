"""The network and samples that ``gpubp explain`` walks through."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpubp._core.text import excerpt, shortened
from gpubp.cli.output import print_note
from gpubp.data.datasets import DATASETS, load_dataset
from gpubp.data.preprocessing import ClassTarget, apply, encode_target, preprocessing_of
from gpubp.data.readers import read_table
from gpubp.errors import DataError
from gpubp.explain import Example, rain_network
from gpubp.io.model_file import Model, load_model

FIRST_SAMPLES = 3

Names = tuple[str, ...]


class NamedExample(NamedTuple):
    """An example with names for its inputs, outputs and samples, and a note about it."""

    example: Example
    note: str
    input_names: Names
    output_names: Names
    sample_names: Names


def rain_example() -> NamedExample:
    """Return the built-in example: a network of 2-3-1 units, and three days."""
    rain = load_dataset("rain")
    note = f"A network learns the chance of rain. {rain.description}"
    return NamedExample(
        rain_network(), note, rain.feature_names, ("chance of rain",), ("Monday", "Tuesday", "Wednesday")
    )


def example_from_file(model: Path | None, data: str | None, sample: int | None) -> NamedExample:
    """Read the network from a model file, and samples from a table or from the data set that it was trained on."""
    if model is None:
        raise DataError(f"--data needs a model file; use gpubp explain MODEL {data}")
    trained = load_model(model)
    theta = trained.theta
    source = data if data is not None else _training_data(model, trained)
    X, targets, inputs, outputs = _read_samples(trained, source)
    n = min(FIRST_SAMPLES, len(X)) if sample is None else len(X)
    sample_names = tuple(f"case {number}" for number in range(1, n + 1))
    if theta.ndim > 1:
        if len(theta) > 1:
            print_note(f"{model} holds {len(theta)} networks, whose outputs are averaged; this is the first of them")
        theta = theta[0]
    note = f"The model of {model.name}, and cases of {Path(source).name}, encoded as its inputs."
    return NamedExample(Example(trained.network, theta, X[:n], targets[:n]), note, inputs, outputs, sample_names)


def select_sample(named: NamedExample, sample: int) -> NamedExample:
    """Reduce an example to one sample, counted from 1."""
    X, targets = named.example.x, named.example.d
    if sample > len(X):
        raise DataError(f"--sample must be from 1 to {len(X):,}, the number of cases, got {sample:,}")
    selected = slice(sample - 1, sample)
    return named._replace(
        example=named.example._replace(x=X[selected], d=targets[selected]),
        sample_names=named.sample_names[selected] or (f"case {sample}",),
    )


def _training_data(model: Path, trained: Model) -> str:
    source = str(trained.about.get("source", "")).removeprefix("the set ")
    if source not in DATASETS:
        raise DataError(
            f"{model} was not trained on a built-in data set; pass cases as well, gpubp explain {model} DATA: "
            f"a file, or one of {', '.join(DATASETS)}{_columns_needed(trained)}"
        )
    return source


def _columns_needed(trained: Model) -> str:
    """Name the columns of a table that a model needs, its targets last."""
    if trained.preprocessing is None:
        return ""
    preprocessing = preprocessing_of(trained)
    names = [column.name for column in preprocessing.columns] + list(preprocessing.target_names)
    return f". It needs the columns {shortened([excerpt(repr(name), 60) for name in names])}"


def _read_samples(trained: Model, source: str) -> tuple[np.ndarray, np.ndarray, Names, Names]:
    """Read inputs and targets, and the names of both."""
    if trained.preprocessing is not None:
        preprocessing, table = preprocessing_of(trained), read_table(source)
        target = preprocessing.target
        outputs = target.classes if isinstance(target, ClassTarget) else preprocessing.target_names
        return apply(preprocessing, table), encode_target(preprocessing, table), preprocessing.feature_names, outputs
    n_inputs, n_outputs = trained.network.sizes[0], trained.network.sizes[-1]
    if source in DATASETS and not Path(source).is_file():
        dataset = load_dataset(source)
        X, targets, inputs = dataset.X, dataset.targets, dataset.feature_names
        outputs = dataset.classes or dataset.target_names
    else:
        columns = read_table(source).columns
        matrix = np.stack([*columns.values()], axis=1)
        X, targets = matrix[:, :n_inputs], matrix[:, n_inputs:]
        inputs, outputs = (*columns,)[:n_inputs], (*columns,)[n_inputs:]
    if (X.shape[1], targets.shape[1]) != (n_inputs, n_outputs):
        raise DataError(
            f"{source} gives {X.shape[1]} inputs and {targets.shape[1]} targets, but the network has {n_inputs} and "
            f"{n_outputs}; pass other cases"
        )
    return X, targets, inputs, outputs
