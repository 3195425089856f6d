"""The weights of classes in the loss of a table."""

from dataclasses import replace
from typing import Any

import numpy as np

from gpubp._core.text import excerpt, shortened
from gpubp.data.preprocessing import ClassTarget, class_values
from gpubp.errors import DataError
from gpubp.tabular.prepared_table import PreparedTable


def with_class_weight(prepared: PreparedTable, class_weight: Any) -> PreparedTable:
    """Return a prepared table whose rows have the weight of their class; None changes nothing.

    Parameters
    ----------
    prepared : PreparedTable
    class_weight : dict, "balanced" or None
        The weight of each class, 1 for those that are not named; "balanced" gives all classes the same total weight.

    Raises
    ------
    DataError
        If a weight is not valid, or the names do not fit the classes.

    Examples
    --------
    >>> from gpubp import prepare_table
    >>> prepared = prepare_table({"x": [1, 2, 3, 4], "y": ["a", "a", "a", "b"]}, test_fraction=0, validation_fraction=0)
    >>> with_class_weight(prepared, "balanced").encoded.sample_weight.round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    if class_weight is None:
        return prepared
    target = prepared.preprocessing.target
    assert isinstance(target, ClassTarget)
    classes, labels = class_values(target), prepared.targets.argmax(axis=1)
    if class_weight == "balanced":
        totals = np.bincount(labels, prepared.encoded.sample_weight, len(classes))
        by_class = np.divide(totals.sum(), totals, out=np.ones(len(classes)), where=totals > 0)
    else:
        from sklearn.utils import compute_class_weight  # which loads slowly, and is seldom needed

        present = np.unique(labels)
        by_class = np.ones(len(classes))
        try:
            weights = compute_class_weight(class_weight, classes=classes[present], y=classes[labels])
            by_class[present] = weights
        except (TypeError, ValueError) as error:
            shown = shortened([*map(repr, classes[present].tolist())])
            raise DataError(
                f"class_weight must have a number for each class of the training rows ({shown}), got "
                f"{excerpt(repr(class_weight), 200)}"
            ) from error
    of_training = by_class[labels[prepared.parts["train"]]]
    if not (np.isfinite(by_class).all() and (by_class >= 0.0).all() and of_training.any()):
        raise DataError(
            "class_weight must be finite, not negative, and above 0 for a class of the training rows, got "
            f"{class_weight!r}"
        )
    weighted = prepared.reweighted(lambda targets: by_class[targets.argmax(axis=1)])
    return replace(weighted, class_weight=dict(zip(map(str, target.classes), by_class.tolist(), strict=True)))
