"""A fitted preprocessing as plain data: how columns become inputs, and targets become outputs and back."""

from dataclasses import dataclass
from typing import Literal

from gpubp.data._text_values import Kind

LabelType = Literal["int", "float", "bool", "str"]
"""The type of a class label in the user's table."""


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, scaled to ``(value - mean) / scale``; `fill` replaces a missing value."""

    name: str
    mean: float
    scale: float
    fill: float | None = None


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories, one-hot in the order of `categories`; `fill` replaces a missing value.

    `kind` is what the column holds in the user's table; each category is written in the form of this kind.
    """

    name: str
    categories: tuple[str, ...]
    fill: str | None = None
    kind: Kind = "text"


@dataclass(frozen=True)
class ClassTarget:
    """A target of classes, one-hot in the order of `classes`; `label_type` is the type of the decoded labels."""

    name: str
    classes: tuple[str, ...]
    label_type: LabelType = "str"

    @property
    def kind(self) -> Kind:
        """What the column holds."""
        return "text" if self.label_type == "str" else "bool" if self.label_type == "bool" else "number"


@dataclass(frozen=True)
class NumberTarget:
    """One or several numeric targets, scaled to ``(value - mean) / scale``."""

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]


@dataclass(frozen=True)
class Preprocessing:
    """How a table becomes matrices; `dropped` columns may be present and are ignored.

    Examples
    --------
    >>> columns = (NumberColumn("size", 0.0, 1.0), CategoryColumn("colour", ("blue", "red")))
    >>> preprocessing = Preprocessing(columns, NumberTarget(("y",), (0.0,), (1.0,)))
    >>> preprocessing.feature_names, preprocessing.n_outputs, preprocessing.task
    (('size', 'colour=blue', 'colour=red'), 1, 'regression')
    """

    columns: tuple[NumberColumn | CategoryColumn, ...]
    target: ClassTarget | NumberTarget
    dropped: tuple[str, ...] = ()

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the target columns."""
        return self.target.names if isinstance(self.target, NumberTarget) else (self.target.name,)

    @property
    def schema(self) -> dict[str, Kind]:
        """What each column of a table holds, the targets last; a new table is read by this alone."""
        kinds: dict[str, Kind] = {
            column.name: column.kind if isinstance(column, CategoryColumn) else "number" for column in self.columns
        }
        target_kind: Kind = self.target.kind if isinstance(self.target, ClassTarget) else "number"
        return kinds | dict.fromkeys(self.target_names, target_kind)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the network's inputs; a category is ``"column=category"``."""
        names: list[str] = []
        for column in self.columns:
            if isinstance(column, CategoryColumn):
                names += [f"{column.name}={category}" for category in column.categories]
            else:
                names.append(column.name)
        return tuple(names)

    @property
    def n_outputs(self) -> int:
        """Number of the network's outputs."""
        return len(self.target.names) if isinstance(self.target, NumberTarget) else len(self.target.classes)

    @property
    def task(self) -> str:
        """The kind of problem: "classification" or "regression"."""
        return "classification" if isinstance(self.target, ClassTarget) else "regression"
