"""The docstrings of the estimators describe every parameter, with its default, and every fitted attribute."""

import inspect
import itertools
import re
import warnings
from pathlib import Path

import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from gpubp import LossCurveDisplay, MLPClassifier, MLPRegressor
from gpubp.estimators import regressor
from gpubp.estimators._optimizer import OPTIMIZER_OF
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.optim.first_order import OPTIMIZERS, nesterov
from tests.registries import assert_same_names

ROOT = Path(__file__).parents[2]
SOLVERS = "OPTIMIZER_OF of gpubp/estimators/_optimizer.py"
HERE = "of tests/estimators/test_docstrings.py"
X, Y = load_iris(return_X_y=True, as_frame=True)


def section(docstring, title):
    """Return the entries of a numpydoc section: each name, with its type and the text below it."""
    text = inspect.cleandoc(docstring)
    match = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[^\n]*\n-{{3,}}$|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    entries = {}
    for head, body in re.findall(
        r"^(\w[^\n]*)\n((?:[ ]+[^\n]*\n?|\n)*)", match[1] if match else "", flags=re.MULTILINE
    ):
        names, _, kind = head.partition(" : ")
        entries.update(dict.fromkeys(names.split(", "), (kind, " ".join(body.split()))))
    return entries


def parameters_of(function):
    return {name: p.default for name, p in inspect.signature(function).parameters.items() if name != "self"}


def plainly(default):
    """Format a default as in a docstring."""
    return repr(default).replace("'", '"')


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_every_parameter_is_documented_in_order_with_its_default(kind):
    documented, parameters = section(kind.__doc__, "Parameters"), parameters_of(kind.__init__)
    assert [*documented] == [*parameters]
    for name, default in parameters.items():
        of_type, text = documented[name]
        assert len(text) > 20, f"{name} says nothing"
        if name in ("beta_1", "beta_2"):  # documented together
            assert of_type.endswith("default=0.9, 0.999")
        else:
            stated = re.search(r"default=(.*)$", of_type)[1]
            assert stated == plainly(default) or float(stated) == default, name


@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_every_fitted_attribute_is_documented_and_exists(kind, options):
    documented = section(kind.__doc__, "Attributes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = kind(max_iter=2, device="cpu", **options).fit(X, Y)
    fitted = {name for name in vars(model) if name.endswith("_") and not name.startswith("_")}
    assert {*documented} == fitted
    assert all(text for _, text in documented.values())


@pytest.mark.parametrize(
    "method",
    [
        getattr(kind, name)
        for kind in (MLPClassifier, MLPRegressor)
        for name in ("fit", "predict", "score", "plot_loss_curve", "report")
    ]
    + [MLPClassifier.predict_proba, MLPClassifier.predict_log_proba]
    + [kind(solver="sgd").partial_fit for kind in (MLPClassifier, MLPRegressor)]
    + [LossCurveDisplay.from_estimator, LossCurveDisplay.plot],
    ids=lambda method: method.__qualname__,
)
def test_every_argument_of_a_method_is_documented(method):
    documented = {name.lstrip("*") for name in section(method.__doc__.replace("**", ""), "Parameters")}
    assert {name for name in parameters_of(method) if name != "cls"} == documented
    assert "Returns" in method.__doc__


def test_differences_from_scikit_learn_are_documented():
    for kind in (MLPClassifier, MLPRegressor):
        notes = kind.__doc__.partition("Notes\n")[2]
        assert "Differences from scikit-learn" in " ".join(notes.split())
        assert "warm start" in notes
    assert "mean over the outputs" in MLPRegressor.__doc__
    assert "needs no ``classes``" in MLPClassifier.__doc__


def test_a_section_is_read_to_its_end():
    text = "First.\n\nParameters\n----------\na, b : int, default=1\n    Long\n    text.\n\n    More.\nc : str\n"
    text += "\nNotes\n-----\nd : no\n"
    assert section(text, "Parameters") == {
        "a": ("int, default=1", "Long text. More."),
        "b": ("int, default=1", "Long text. More."),
        "c": ("str", ""),
    }
    assert section(text, "Returns") == {}


def names_in(text):
    """Return the names in quotation marks before the first full stop, without examples in brackets."""
    return set(re.findall(r'"([a-z_0-9]+)"', text.partition(". ")[0]))


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_listed_names_match_the_registries(kind):
    documented = section(kind.__doc__, "Parameters")
    shared = "in gpubp/estimators/_docstrings.py"
    places = {"ACTIVATIONS of gpubp/nn/activations.py": ACTIVATIONS}
    assert_same_names(places | {f"the text of activation {shared}": names_in(documented["activation"][1])})
    solvers = names_in(documented["solver"][0].partition("default")[0])
    assert_same_names({SOLVERS: {"lbfgs", *OPTIMIZER_OF}, f"the type of solver {shared}": solvers})
    file = Path(inspect.getfile(kind)).relative_to(ROOT).as_posix()
    losses = names_in(documented["loss"][0].partition("default")[0])
    offered = kind._parameter_constraints["loss"][0].options
    assert_same_names({f"the losses of {file}": offered, f"the type of loss in its docstring in {file}": losses})
    for loss in names_in(documented["loss"][0]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = kind(loss=loss, max_iter=1, device="cpu").fit(X, Y)
        assert get_loss(model._network().loss) is not None


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_settings_of_optimizers_are_documented_for_their_solvers(kind):
    documented = section(kind.__doc__, "Parameters")
    settings_of = {solver: OPTIMIZERS.get(solver, nesterov)().settings for solver in OPTIMIZER_OF}
    for setting in {*itertools.chain(*settings_of.values())} - {"learning_rate"}:
        with_it = {solver for solver, settings in settings_of.items() if setting in settings}
        described = f"the text of {setting} in gpubp/estimators/_docstrings.py"
        assert_same_names({f"the solvers with {setting}": with_it, described: names_in(documented[setting][1])})


NOT_SOLVERS = {"gradient_descent", "nesterov", "adagrad"}  # the first two are those of "sgd"
NOT_OFFERED = {"cross_entropy", "binary_cross_entropy", "dead_zone"}


def test_every_optimizer_is_a_solver_or_listed_as_none():
    assert not NOT_SOLVERS & {*OPTIMIZER_OF}, f"remove it from NOT_SOLVERS {HERE}"
    decided = ({*OPTIMIZER_OF} - {"sgd"}) | NOT_SOLVERS
    places = {"OPTIMIZERS of gpubp/optim/first_order.py": OPTIMIZERS}
    assert_same_names(places | {f"{SOLVERS}, to offer it, or NOT_SOLVERS {HERE}": decided})


def test_every_loss_is_offered_by_the_regressor_or_listed_as_not():
    offered = {regressor.LOSS_OF.get(name, name) for name in regressor.LOSSES}
    assert not NOT_OFFERED & offered, f"remove it from NOT_OFFERED {HERE}"
    either = f"LOSSES of gpubp/estimators/regressor.py, to offer it, or NOT_OFFERED {HERE}"
    assert_same_names({"LOSSES of gpubp/nn/losses.py": LOSSES, either: offered | NOT_OFFERED})
