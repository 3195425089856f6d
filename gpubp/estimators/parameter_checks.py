"""Checks of the parameters of estimators: one error names all that are not valid, and the nearest names."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Self

from sklearn.utils._param_validation import InvalidParameterError, StrOptions, validate_parameter_constraints

from gpubp._core.names import near_miss
from gpubp.errors import DataError

SYNONYMS = (
    ("max_iter", "epochs"),
    ("alpha", "l2"),
    ("solver", "optimizer"),
    ("learning_rate_init", "learning_rate"),
    ("tol", "tolerance"),
    ("n_iter_no_change", "patience"),
    ("early_stopping", "validation_fraction"),
    ("n_estimators", "n_networks"),
    ("random_state", "seed"),
)
"""Parameters of estimators that mean the same: scikit-learn's, and those of estimators of tables."""


def synonym(name: str, known: Iterable[str]) -> str | None:
    """Return the known parameter that means the same as one that does not exist, None if there is none.

    Examples
    --------
    >>> synonym("max_iter", ["epochs"]), synonym("epochs", ["max_iter"]), synonym("epoch", ["max_iter"])
    ('epochs', 'max_iter', None)
    """
    names = {other for pair in SYNONYMS if name in pair for other in pair}
    return next((other for other in known if other in names), None)


class OneOf(StrOptions):  # type: ignore[misc]
    """One of some names, which messages list in this order; `otherwise` is what they say if none of them is near.

    Examples
    --------
    >>> str(OneOf(["fast", "best"])), OneOf(["fast", "best"]).hint("fats")
    ("a str among {'fast', 'best'}", " (did you mean 'fast'?)")
    """

    def __init__(self, names: Iterable[str], otherwise: str = "") -> None:
        self.names, self.otherwise = tuple(names), otherwise
        super().__init__(set(self.names))

    def __str__(self) -> str:
        """List the names in their order."""
        return f"a str among {{{', '.join(map(repr, self.names))}}}"

    def hint(self, value: Any) -> str:
        """Return what follows in the message about a value that is none of them, or ""."""
        return near_miss(value, self.names) or self.otherwise


class NameOf(OneOf):
    """A name in one of gpubp's registries: one of those listed, or one with a number such as "elu(0.5)"."""

    def __init__(self, find: Callable[[str], Any], names: Iterable[str]) -> None:
        super().__init__(names)
        self.find = find

    def is_satisfied_by(self, val: Any) -> bool:
        """Whether the name is known."""
        return isinstance(val, str) and not self.hint(val)

    def hint(self, value: Any) -> str:
        """Return the registry's error message about a name, or "" if the name is known, or none."""
        try:
            if isinstance(value, str):
                self.find(value)
        except DataError as error:
            return f": {error}".removesuffix(f"; known: {', '.join(self.names)}")  # str(self) lists them
        return ""


def problem_of(kind: type, name: str, constraints: Any, value: Any) -> str:
    """Return what is wrong with the value of a parameter of an estimator, "" if it is valid."""
    try:
        validate_parameter_constraints({name: constraints}, {name: value}, caller_name=kind.__name__)
    except InvalidParameterError as error:
        names = constraints if isinstance(constraints, list) else ()
        hint = next((hint for one in names if isinstance(one, OneOf) and (hint := one.hint(value))), "")
        return f"{str(error).removesuffix('.')}{hint}" if hint else str(error)
    return ""


def problems_of(estimator: Any, constraints: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the parameters of an estimator."""
    found = (problem_of(type(estimator), name, kinds, getattr(estimator, name)) for name, kinds in constraints.items())
    return [problem for problem in found if problem]


class ClearKeywords:
    """A base class of estimators that names all keywords which their constructor does not have, and what to write.

    Examples
    --------
    >>> from gpubp import TabularRegressor
    >>> TabularRegressor(max_iter=5)
    Traceback (most recent call last):
    ...
    TypeError: TabularRegressor has no parameter 'max_iter' (did you mean 'epochs'?)
    """

    def __new__(cls, *_: Any, **parameters: Any) -> Self:
        """Make the estimator, or raise a TypeError."""
        known = _parameters(cls)  # type: ignore[arg-type]
        if known is not None and (others := [name for name in parameters if name not in known]):
            raise TypeError("; ".join(f"{cls.__name__} has no parameter {cls._advice(name, known)}" for name in others))
        return super().__new__(cls)

    @classmethod
    def _advice(cls, name: str, known: Iterable[str]) -> str:
        """Return the name of a parameter that does not exist, and what may be meant."""
        other = synonym(name, known)
        return f"{name!r} (did you mean {other!r}?)" if other else f"{name!r}{near_miss(name, known)}"


@cache
def _parameters(kind: type) -> tuple[str, ...] | None:
    """Return the parameters of a constructor, None if it takes any."""
    parameters = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    return None if any(one.kind is one.VAR_KEYWORD for one in parameters.values()) else tuple(parameters)
