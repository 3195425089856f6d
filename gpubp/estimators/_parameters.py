"""The parameters that both estimators take: what each may be, and how they are kept."""

from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from gpubp.backends.matmul_precision import MATMUL_PRECISIONS
from gpubp.distributed.process_group import ProcessGroup
from gpubp.errors import DataError
from gpubp.estimators._optimizer import OPTIMIZER_OF
from gpubp.nn.activations import ACTIVATIONS, get_activation


class NameOf(StrOptions):  # type: ignore[misc]
    """A name that a function of ours finds: one of those listed, or one with a number, such as "elu(0.5)"."""

    def __init__(self, find: Callable[[str], Any], names: Iterable[str]) -> None:
        super().__init__(set(names))
        self.find = find

    def is_satisfied_by(self, val: Any) -> bool:
        """Tell whether the name is known."""
        if not isinstance(val, str):
            return False
        try:
            self.find(val)
        except DataError:
            return False
        return True


CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [NameOf(get_activation, ACTIVATIONS), "array-like"],
    "solver": [StrOptions({"lbfgs", *OPTIMIZER_OF})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", "cosine"}), callable],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "device": [str],
    "dtype": [StrOptions({"float32", "float64"}), None],
    "matmul_precision": [StrOptions({*MATMUL_PRECISIONS})],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "rho": [Interval(Real, 0, 1, closed="left")],
    "warm_up": [Interval(Real, 0, None, closed="left")],
    "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
    "scoring": [str, callable, None],
    "max_time": [Interval(Real, 0, None, closed="neither"), None],
    "callbacks": [callable, "array-like", None],
    "n_restarts": [Interval(Integral, 1, None, closed="left")],
    "parallel": [StrOptions({"mpi"}), ProcessGroup, None],
}


def keep_parameters(model: Any, given: Mapping[str, Any]) -> None:
    """Set each argument of ``__init__`` as an attribute, as scikit-learn's estimators do."""
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(model, name, value)
