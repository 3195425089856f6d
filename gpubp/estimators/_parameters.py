"""The constraints of the parameters that both estimators share, and how they are stored."""

from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, InvalidParameterError, Options, StrOptions

from gpubp.backends.matmul_precision import MATMUL_PRECISIONS
from gpubp.distributed.process_group import ProcessGroup
from gpubp.errors import DataError
from gpubp.estimators._optimizer import OPTIMIZER_OF
from gpubp.nn.activations import ACTIVATIONS, get_activation
from gpubp.optim.schedules import SCHEDULES


class NameOf(StrOptions):  # type: ignore[misc]
    """A name in one of gpubp's registries: one of those listed, or one with a number such as "elu(0.5)"."""

    def __init__(self, find: Callable[[str], Any], names: Iterable[str]) -> None:
        self.names = tuple(names)
        super().__init__(set(self.names))
        self.find = find

    def __str__(self) -> str:
        """List the names in the order of the registry."""
        return f"a str among {{{', '.join(map(repr, self.names))}}}"

    def is_satisfied_by(self, val: Any) -> bool:
        """Whether the name is known."""
        return isinstance(val, str) and not self.fault(val)

    def fault(self, name: str) -> str:
        """Return the registry's error message about a name, or "" if the name is known."""
        try:
            self.find(name)
        except DataError as error:
            return str(error)
        return ""


def check_name_parameters(estimator: Any, constraints: Mapping[str, Any]) -> None:
    """Check the parameters that are names, so that the error has the registry's message.

    Raises
    ------
    InvalidParameterError
        With scikit-learn's message, followed by that of the registry.
    """
    for parameter, kinds in constraints.items():
        value = getattr(estimator, parameter)
        for kind in kinds if isinstance(value, str) and isinstance(kinds, list) else ():
            if isinstance(kind, NameOf) and (fault := kind.fault(value)):
                raise InvalidParameterError(
                    f"The {parameter!r} parameter of {type(estimator).__name__} must be {kind}. Got {value!r} instead: "
                    f"{fault}"
                )


CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [NameOf(get_activation, ACTIVATIONS), "array-like"],
    "solver": [StrOptions({"lbfgs", *OPTIMIZER_OF})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", *SCHEDULES}), callable],
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
    "dropout": [Interval(Real, 0, 1, closed="left"), callable, "array-like"],
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


def keep_parameters(model: Any, arguments: Mapping[str, Any]) -> None:
    """Set each argument of ``__init__`` as an attribute, as scikit-learn's estimators do."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(model, name, value)
