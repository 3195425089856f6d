"""Every parameter of every estimator that has files is in them, or is named here with the reason why not."""

import inspect

import numpy as np
import pytest

import gpubp
from gpubp.data.preprocessing import preprocessing_of

N = 60
GENERATOR = np.random.default_rng(0)
TABLE = {
    "size": GENERATOR.normal(size=N),
    "town": np.arange(N) % 3,
    "code": [f"c{row % 4}" for row in range(N)],
    "note": np.arange(N),
    "household": np.arange(N) // 2,
    "year": 1960 + np.arange(N),
}
CLASSES = np.where(TABLE["size"] > 0.0, 1, 0)
TARGETS = {"TabularClassifier": CLASSES, "TabularRegressor": TABLE["size"] + TABLE["town"]}
ESTIMATORS = [
    kind for kind in (getattr(gpubp, name) for name in gpubp.__all__) if {"load", "set_params"} <= {*dir(kind)}
]

NOT_IN_FILES = {"device", "callbacks"}
"""What belongs to a machine, and code."""

OTHERS_THAN_DEFAULTS = [
    {
        "hidden_layer_sizes": (7,),
        "activation": "tanh",
        "optimizer": gpubp.adamw(0.02, weight_decay=0.3),
        "epochs": 3,
        "batch_size": 16,
        "l2": 0.5,
        "dropout": 0.25,
        "patience": 2,
        "tolerance": 1e-3,
        "validation_fraction": 0.25,
        "refit": False,
        "types": {"town": "category"},
        "categorical": ("code",),
        "drop": ("note",),
        "missing": ("-999",),
        "max_categories": 7,
        "strict": True,
        "numbers": "linear",
        "categories": "target",
        "n_networks": 2,
        "group": "household",
        "random_state": 5,
        "dtype": "float64",
        "class_weight": {0: 1.0, 1: 5.0},
        "label_smoothing": 0.125,
    },
    {
        "loss": {"TabularClassifier": "squared", "TabularRegressor": "huber"},
        "time": "year",
        "optimizer": "momentum",
        "learning_rate": 0.01,
        "n_restarts": 2,
        "class_weight": "balanced",
        "matmul_precision": "tf32",
        "patience": None,
        "random_state": None,
        "epochs": 2,
    },
    {"preset": "best", "time_budget": 0.01},
]


def test_estimators_with_files_are_found():
    assert {kind.__name__ for kind in ESTIMATORS} == {*TARGETS}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_each_parameter_has_another_value(kind):
    defaults = {name: one.default for name, one in inspect.signature(kind).parameters.items()}
    given = {name for parameters in OTHERS_THAN_DEFAULTS for name in parameters}
    assert defaults.keys() - given == NOT_IN_FILES
    for parameters in OTHERS_THAN_DEFAULTS:
        assert [name for name, value in parameters.items() if name in defaults and value == defaults[name]] == []


@pytest.mark.filterwarnings("ignore::gpubp.errors.TableWarning")
@pytest.mark.parametrize("number", range(len(OTHERS_THAN_DEFAULTS)))
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_each_parameter_is_loaded(kind, number, tmp_path):
    parameters = {
        name: value[kind.__name__] if name == "loss" else value
        for name, value in OTHERS_THAN_DEFAULTS[number].items()
        if name in inspect.signature(kind).parameters
    }
    model = kind(device="cpu", **parameters).fit(TABLE, TARGETS[kind.__name__])
    model.save(tmp_path / "model.safetensors")
    loaded = kind.load(tmp_path / "model.safetensors").get_params()
    if not isinstance(parameters.get("optimizer", ""), str):
        optimizer, expected = loaded.pop("optimizer"), parameters.pop("optimizer")
        assert (optimizer.name, optimizer.settings) == (expected.name, expected.settings)
    assert {name: loaded[name] for name in parameters} == parameters
    rest = loaded.keys() - parameters.keys() - NOT_IN_FILES
    defaults = kind().get_params()
    assert {name: loaded[name] for name in rest} == {name: defaults[name] for name in rest}


@pytest.mark.parametrize(
    ("labels", "weights"),
    [(CLASSES == 1, {True: 2.0}), (np.where(CLASSES, "yes", "no"), {"yes": 2.0}), (CLASSES + 1.0, {2.0: 2.0})],
    ids=["bool", "str", "float"],
)
def test_weights_of_classes_are_loaded_in_the_type_of_the_classes(labels, weights, tmp_path):
    model = gpubp.TabularClassifier(class_weight=weights, epochs=1, refit=False, device="cpu").fit(TABLE, labels)
    model.save(tmp_path / "model.safetensors")
    loaded = gpubp.TabularClassifier.load(tmp_path / "model.safetensors")
    others = {} if isinstance(labels[0], str) else dict.fromkeys(model.classes_.tolist(), 1.0)
    assert loaded.class_weight == others | weights
    again = loaded.set_params(device="cpu").fit(TABLE, labels)
    np.testing.assert_array_equal(again.model_.theta, model.model_.theta)


def test_weights_that_are_no_numbers_are_left_out(tmp_path):
    model = gpubp.TabularClassifier(class_weight={0: 1.0, 1: 2.0}, epochs=1, device="cpu").fit(TABLE, CLASSES).model_
    assert preprocessing_of(model).target.classes == ("0", "1")
    about = {**model.about, "training": {**model.about["training"], "class_weight": {"0": "forged", "2": 1.0}}}
    gpubp.save_model(
        tmp_path / "m.safetensors", model.network, model.theta, preprocessing=model.preprocessing, about=about
    )
    assert gpubp.TabularClassifier.load(tmp_path / "m.safetensors").class_weight is None
