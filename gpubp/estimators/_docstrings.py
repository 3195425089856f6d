"""The parts of the docstrings that the classifier and the regressor share."""

from collections.abc import Callable
from textwrap import wrap
from typing import Any, TypeVar

from gpubp.estimators._optimizer import OPTIMIZER_OF
from gpubp.nn.activations import ACTIVATIONS

_Class = TypeVar("_Class", bound=type)


_ACTIVATIONS = "\n    ".join(wrap(", ".join(f'"{name}"' for name in ACTIVATIONS), 108))
_SOLVERS = ", ".join(f'"{name}"' for name in ("lbfgs", *OPTIMIZER_OF))


class _AnyOptions:
    """Options with a number for every parameter, from which any optimizer can be made."""

    def __getattr__(self, name: str) -> float:
        return 0.5


def _solvers_with(setting: str) -> str:
    """List the solvers whose optimizer has a setting."""
    options: Any = _AnyOptions()
    names = [f'"{solver}"' for solver, make in OPTIMIZER_OF.items() if setting in make(options, 0.5).settings]
    return " and ".join([part for part in (", ".join(names[:-1]), *names[-1:]) if part])


PARAMETERS = f"""
hidden_layer_sizes : int or sequence of int, default=(100,)
    The number of units of each hidden layer; ``()`` for no hidden layer.
activation : str, or sequence of str with one for each hidden layer, default="relu"
    The activation of the hidden layers:
    {_ACTIVATIONS}.
    Some take a number in parentheses, as in "leaky_relu(0.1)" and "elu(0.5)".
solver : {{{_SOLVERS}}}, default="adam"
    "lbfgs" uses all samples at once, the others use batches. "sgd" has Nesterov momentum by default, "momentum" is
    eq. 9 of Rumelhart, Hinton & Williams (1986). :func:`gpubp.get_optimizer` names the functions with their equations.
alpha : float, default=1e-4
    Strength of the L2 penalty, which is divided by the sum of the sample weights of a batch.
batch_size : int or "auto", default="auto"
    "auto" is 200, or all samples if there are fewer.
learning_rate : str or callable, default="constant"
    The schedule of the learning rate. "constant": no change. "cosine": along half a cosine down to 0 at ``max_iter``
    epochs; "flat_cosine" begins with it after half of them. "coslog4": four cosine waves, each twice as long as the one
    before (:class:`gpubp.CosineCycles`). A callable takes the epochs done, a float, and returns the rate; so do the
    schedules, such as :class:`gpubp.InverseScaling`. Only for "sgd" and "momentum": "invscaling" divides by the
    ``power_t``-th power of the number of samples seen, and "adaptive" divides by 5 after ``n_iter_no_change`` epochs
    without improvement.
learning_rate_init : float, default=0.001
    The learning rate at the start.
power_t : float, default=0.5
    The exponent of "invscaling".
max_iter : int, default=200
    The maximum number of epochs, or of iterations of "lbfgs".
shuffle : bool, default=True
    Whether to shuffle the samples in each epoch.
random_state : int, RandomState or None, default=None
    Seed of the initial weights, the held-out samples, the order of the samples and the masks of dropout.
tol : float, default=1e-4
    The smallest change of the loss, or of the validation score, that counts as an improvement.
verbose : bool, default=False
    Whether to print the loss of each epoch.
warm_start : bool, default=False
    Whether :meth:`fit` continues from the current weights and the current state of the solver; the schedule of the
    learning rate starts again.
momentum : float, default=0.9
    The fraction of the last update that is added to the next, for {_solvers_with("momentum")}.
nesterovs_momentum : bool, default=True
    Whether "sgd" uses Nesterov momentum.
early_stopping : bool, default=False
    Whether to stop when the score on held-out samples no longer improves, and to keep the weights of the best epoch;
    not for "lbfgs". The held-out samples are ``validation_data`` of :meth:`fit`, or a part of X. A score that is NaN is
    no improvement. If none is a number, a warning says so, and the weights of the last epoch are kept; if the held-out
    samples cannot have the score, such as R^2 of one sample or "roc_auc" of one class, :meth:`fit` raises.
validation_fraction : float, default=0.1
    The fraction of X that early stopping holds out.
beta_1, beta_2 : float, default=0.9, 0.999
    Decay rates of the means of the gradient and of its square, for {_solvers_with("beta_1")}. Of "lion", those of the
    mean of the gradient in its step, and in what it keeps; the defaults of its paper are 0.9 and 0.99.
epsilon : float, default=1e-8
    Added to the denominator, for {_solvers_with("epsilon")}.
n_iter_no_change : int or inf, default=10
    The number of epochs without improvement after which training stops.
max_fun : int, default=15000
    The maximum number of evaluations of the loss, for "lbfgs".
device : str, default="auto"
    Where to compute: "cpu", "cuda", "cuda:1", "torch:cpu", ... "auto" is the device of X; for NumPy arrays, a GPU if
    one works. See :func:`gpubp.backends.backend.choose_backend`.
dtype : {{"float32", "float64"}} or None, default=None
    The precision of the computation; by default, that of X.
matmul_precision : {{"float32", "tf32", "bfloat16", "float16"}}, default="float32"
    The precision to which operands of matrix products are rounded, if ``dtype`` or X is float32: see
    :func:`gpubp.train`. With "float32", or in float64, nothing is rounded; "float16" is not for "lbfgs".
dropout : float or schedule, or sequence of them, default=0.0
    The probability that a unit is dropped in training (Srivastava et al. 2014). One number is for every hidden layer; a
    sequence has one for each hidden layer, optionally preceded by one for the inputs. A schedule, such as
    :class:`gpubp.FlatCosine`, changes it from epoch to epoch. Not for "lbfgs".
weight_decay : float, default=0.01
    The fraction of the weights that each step subtracts, times the learning rate, for {_solvers_with("weight_decay")}.
rho : float, default=0.9
    Decay rate of the mean of the squared gradient, for {_solvers_with("rho")}.
warm_up : float, default=0
    The number of epochs over which the learning rate grows from 0, with any schedule.
max_grad_norm : float or None, default=None
    The norm to which the gradient of a batch is clipped (Pascanu et al. 2013).
scoring : str, callable or None, default=None
    The score of ``validation_scores_`` and of early stopping: None is %(default score)s, "loss" is minus the validation
    loss; or any scorer of :func:`sklearn.metrics.check_scoring`.
max_time : float or None, default=None
    The number of seconds after which training stops, at the end of an epoch.
callbacks : callable, sequence of callables or None, default=None
    Each is called after each epoch, or iteration of "lbfgs", with a :class:`gpubp.Progress`; training ends if one
    returns True. An attribute ``every`` is the number of epochs between two calls; ``on_begin``, ``on_end`` and
    ``on_error`` are optional: see docs/callbacks.md. Callbacks make restarts, ensembles and searches fit
    one network at a time, except those that have ``every`` and none of these three: in a stack they are called for
    each network. scikit-learn's own callbacks, from version 1.9 on, are set by ``set_callbacks``.
n_restarts : int, default=1
    The number of fits from different initial weights, trained together if possible. The best is kept: by the score on
    held-out samples if it is a number, else by the loss. The first equals that of ``n_restarts=1``. A warm start or
    :meth:`partial_fit` continues with the best, and with a new state of the solver.
parallel : "mpi" or None, default=None
    "mpi": all processes that an MPI launcher has started train this one model, each on its share of every batch, and
    all get the same result. Each must make the same calls. See :func:`gpubp.train` and docs/scaling.md.
"""

ATTRIBUTES = """
coefs_, intercepts_ : list of array
    Weights ``(n_in, n_out)`` and biases ``(n_out,)`` of each layer, as NumPy arrays. Changing them changes the
    predictions.
loss_, best_loss_ : float
    The loss of the last epoch, and the smallest; ``best_loss_`` is None with early stopping.
loss_curve_ : list of float
    The loss of each epoch, or iteration of "lbfgs", with the penalty, computed while the weights were changing.
validation_curve_ : list of float or None
    The loss of the held-out samples after each epoch, without the penalty; None if there are none.
validation_scores_, best_validation_score_ : list of float and float, or None
    The score on the held-out samples after each epoch, and the best; None if there are none, and NaN if a score, or
    each of them, is not a finite number. R^2 of equal targets is NaN.
n_iter_, t_ : int
    Epochs of the last fit, and samples seen in all fits.
stop_reason_ : {"epochs", "patience", "converged", "time", "callback", "interrupted", "diverged"}
    Why the last fit ended; :meth:`report` explains it.
fit_seconds_ : float
    The duration of the last fit.
restart_scores_, best_restart_ : list of float and int, or None
    The score of each restart, higher being better and NaN for one that failed, and the number of the best; None with
    ``n_restarts=1``.
n_layers_, n_outputs_, n_features_in_ : int
    Layers, including the inputs; outputs of the network; columns of X.
feature_names_in_ : array of str
    Set if X was a data frame.
out_activation_ : str
    The activation of the output layer.
"""


def fill_docstring(default_score: str) -> Callable[[_Class], _Class]:
    """Return a class decorator that inserts the common parts at ``%(parameters)s`` and ``%(attributes)s``.

    Parameters
    ----------
    default_score : str
        The score that ``scoring=None`` selects.
    """

    def fill(kind: _Class) -> _Class:
        if kind.__doc__ is not None:  # python -OO removes docstrings
            doc = kind.__doc__.replace("%(parameters)s", _indented(PARAMETERS))
            doc = doc.replace("%(attributes)s", _indented(ATTRIBUTES))
            kind.__doc__ = doc.replace("%(default score)s", default_score)
        return kind

    return fill


def _indented(text: str) -> str:
    return "\n    ".join(text.strip().splitlines())
