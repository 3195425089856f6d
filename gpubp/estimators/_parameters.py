"""The constraints of the parameters that both estimators share, and how they are stored."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options

from gpubp.backends.matmul_precision import MATMUL_PRECISIONS
from gpubp.distributed.process_group import ProcessGroup
from gpubp.estimators._optimizer import OPTIMIZER_OF
from gpubp.estimators.parameter_checks import NameOf, OneOf
from gpubp.nn.activations import ACTIVATION_NAMES, get_activation
from gpubp.optim.schedules import SCHEDULES

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [NameOf(get_activation, ACTIVATION_NAMES), "array-like"],
    "solver": [OneOf(["lbfgs", *OPTIMIZER_OF])],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [OneOf(["auto"]), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [OneOf(["constant", "invscaling", "adaptive", *SCHEDULES]), callable],
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
    "dtype": [OneOf(["float32", "float64"]), None],
    "matmul_precision": [OneOf([*MATMUL_PRECISIONS])],
    "dropout": [Interval(Real, 0, 1, closed="left"), callable, "array-like"],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "rho": [Interval(Real, 0, 1, closed="left")],
    "warm_up": [Interval(Real, 0, None, closed="left")],
    "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
    "scoring": [str, callable, None],
    "max_time": [Interval(Real, 0, None, closed="neither"), None],
    "callbacks": [callable, "array-like", None],
    "n_restarts": [Interval(Integral, 1, None, closed="left")],
    "parallel": [OneOf(["mpi"]), ProcessGroup, None],
}
