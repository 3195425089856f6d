"""Validate the arguments of an estimator: X and y of any array library, checked as in scikit-learn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Number
from typing import Any

import array_api_compat
import numpy as np
import scipy
import scipy.sparse
from sklearn.base import ClassifierMixin
from sklearn.utils import check_array, check_X_y, column_or_1d
from sklearn.utils.validation import _check_sample_weight, validate_data

from gpubp._core.text import excerpt, shortened
from gpubp._typing import Array
from gpubp.backends.backend import choose_backend
from gpubp.backends.inputs import InputTypeError, accept_array, accept_on_host, as_labels, as_numbers
from gpubp.errors import DataError
from gpubp.estimators._arrays import HOST_LIBRARY, is_on_host, library_name, on_host


class NamespaceError(DataError, TypeError):
    """A model fitted on arrays of one library received arrays of another."""


def accept_arguments(X: Any, y: Any, sample_weight: Any, validation_data: Any) -> tuple[Any, Any, Any, Any]:
    """Bring in the arguments of ``fit``, so that several fits to them compute lazy arrays once."""
    y = None if y is None else accept_array("y", y)
    sample_weight = None if sample_weight is None else accept_array("sample_weight", sample_weight)
    if isinstance(validation_data, tuple | list):
        parts = (None if part is None else accept_array("validation_data", part) for part in validation_data)
        validation_data = tuple(parts)
    return accept_array("X", X), y, sample_weight, validation_data


def validate_samples(model: Any, X: Any, y: Any, *, reset: bool) -> tuple[Any, np.ndarray]:
    """Check X and y for fitting; X stays in its library, sparse X becomes CSR, y is returned on the host."""
    X, y = _accept_samples(X), accept_targets(model, y)
    library, y_numeric = library_name(X), not isinstance(model, ClassifierMixin)
    if reset:
        model._fitted_with = library
    else:
        _check_library(model, library, "fit")
    if is_on_host(X):
        sparse = ["csr", "csc"]
        dtypes = (np.float64, np.float32)
        with _naming("X", scikit_learn_checks=X):
            x, y = validate_data(
                model, X, y, accept_sparse=sparse, multi_output=True, y_numeric=y_numeric, dtype=dtypes, reset=reset
            )
        x = as_csr(x)
    else:
        x = _validate_array(model, X, reset=reset)
        if y is None:
            raise ValueError(
                f"This {type(model).__name__} estimator requires y to be passed, but the target y is None."
            )
        _, y = check_X_y(np.zeros((x.shape[0], 1)), y, multi_output=True, y_numeric=y_numeric)
    if not scipy.sparse.issparse(y) and y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    return x, y


def check_sparse_targets(model: Any, y: Any) -> Any:
    """Return a sparse y that marks labels as a CSR matrix without duplicates; anything else unchanged.

    Raises
    ------
    TypeError
        If y is sparse and the model is a regressor, or y has fewer than two columns: scikit-learn's error.
    DataError
        If the values of y are not 0 or 1.
    """
    if not scipy.sparse.issparse(y):
        return y
    if not isinstance(model, ClassifierMixin) or y.ndim != 2 or y.shape[1] == 1:
        raise TypeError(
            f"Sparse data was passed for y, of shape {y.shape}, but dense data is required: only the targets of a "
            "classifier that mark several labels, a column for each, may be sparse. Use y.toarray()"
        )
    y = y.tocsr(copy=True)
    y.sum_duplicates()
    if len(others := np.setdiff1d(y.data, [0, 1])):
        raise DataError(
            f"a sparse y marks the labels of each sample with ones, but it has the value {others[0]:g}; make all its "
            "values 0 or 1, or pass columns of classes as y.toarray()"
        )
    return y


def validate_weights(sample_weight: Any, y: np.ndarray) -> np.ndarray | None:
    """Check the sample weights, and return them on the host; None if there are none."""
    if sample_weight is None:
        return None
    if not isinstance(sample_weight, Number):
        sample_weight = _accept_numbers("sample_weight", sample_weight)
    weights: np.ndarray = _check_sample_weight(sample_weight, np.empty((y.shape[0], 1)))
    return weights


def accept_targets(model: Any, y: Any) -> Any:
    """Bring targets to the host, numbers for a regressor; None stays None."""
    if y is None:
        return None
    if isinstance(model, ClassifierMixin):
        return check_sparse_targets(model, as_labels("y", accept_on_host("y", y)))
    return check_sparse_targets(model, _accept_numbers("y", y))


def validate_validation_data(
    model: Any, encode: Callable[[np.ndarray], np.ndarray], validation_data: Any
) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """Check the parameter ``validation_data``; return x, the encoded targets, and the weights."""
    if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
        raise DataError(
            f"validation_data must be (X, y) or (X, y, sample_weight), got {type(validation_data).__name__}"
            + (f" of {len(validation_data)}" if hasattr(validation_data, "__len__") else "")
        )
    X, y, sample_weight = (*validation_data, None)[:3]
    try:
        x, y = validate_samples(model, X, y, reset=False)
        return x, encode(y), validate_weights(sample_weight, y)
    except (TypeError, ValueError) as error:
        raise DataError(f"validation_data: {error}") from error


def validate_new_samples(model: Any, X: Any, method: str) -> Any:
    """Check X for predicting; it stays in its library, and sparse X becomes CSR."""
    X = _accept_samples(X)
    library = library_name(X)
    _check_library(model, library, method)
    if not is_on_host(X):
        return _validate_array(model, X, reset=False)
    with _naming("X", scikit_learn_checks=X):
        X = as_numbers("X", X) if isinstance(X, np.ndarray) else X
        x = validate_data(model, X, accept_sparse=["csr", "csc"], reset=False)
        x = x.astype(np.float64) if x.dtype.kind == "O" else x  # scikit-learn leaves categories of pandas
    return as_csr(x)


def as_csr(x: Any) -> Any:
    """Return sparse samples as CSR, numbers of columns and rows in one of SciPy's types; other samples unchanged."""
    if not scipy.sparse.issparse(x):
        return x
    x = x.tocsr()
    if x.indices.dtype == x.indptr.dtype and x.indices.dtype in ("int32", "int64"):
        return x
    return type(x)((x.data, x.indices, x.indptr), shape=x.shape)


def _accept_samples(X: Any) -> Any:
    """Bring in X; sequences become arrays, frames and sparse matrices are left to scikit-learn."""
    X = accept_array("X", X)
    with _naming("X"):
        X = np.asarray(X) if isinstance(X, list | tuple) else X
        # to texts of numbers scikit-learn fits
        return as_numbers("X", X) if isinstance(X, np.ndarray) and X.dtype.kind not in "US" else X


def _accept_numbers(name: str, array: Any) -> Any:
    """Bring numbers to the host; sparse matrices are left to scikit-learn."""
    array = on_host(accept_array(name, array))
    if scipy.sparse.issparse(array):
        return array
    with _naming(name):
        return as_numbers(name, np.asarray(array))


@contextmanager
def _naming(name: str, scikit_learn_checks: Any = None) -> Iterator[None]:
    """Name the argument in an error of NumPy or pandas about values that are not numbers.

    An error of scikit-learn's checks may be about something else: it is such an error if the values that are checked
    cannot be converted without the other checks either.
    """
    try:
        yield
    except DataError:
        raise
    except (TypeError, ValueError) as error:
        reason = error if scikit_learn_checks is None else _why_no_numbers(scikit_learn_checks)
        if reason is None:
            if "NaN" in str(error):
                error.add_note("gpubp.TabularClassifier and TabularRegressor take tables with missing values.")
            raise
        raise InputTypeError(
            f"{name} must hold numbers, its rows of one length: {excerpt(str(reason))}"
            f"{_columns_of_text(scikit_learn_checks)}; encode text, as by sklearn.preprocessing.OneHotEncoder, "
            "or use gpubp.TabularClassifier or TabularRegressor, which take tables as they are"
        ) from error


def _columns_of_text(values: Any) -> str:
    """Say which columns of a data frame of pandas are of text or categories."""
    dtypes: Any = getattr(values, "dtypes", None)
    of_each = dtypes.items() if hasattr(dtypes, "items") else ()
    names = [repr(name) for name, dtype in of_each if dtype.kind == "O"]
    return f" (columns of text or categories: {shortened(names, 6)})" if names else ""


def _why_no_numbers(values: Any) -> Exception | None:
    """Return the error with which an array or a data frame is not converted to numbers, if it is not."""
    if np.iscomplexobj(values):  # scikit-learn's message is about that
        return None
    anything = {"accept_sparse": True, "ensure_all_finite": False, "ensure_2d": False, "allow_nd": True}
    try:
        check_array(values, dtype=np.float64, ensure_min_samples=0, ensure_min_features=0, **anything)
    except (TypeError, ValueError) as error:
        return error
    return None


def _validate_array(model: Any, X: Array, *, reset: bool) -> Array:
    """Check an array of a library other than NumPy; integers become floats."""
    xp = array_api_compat.array_namespace(X)
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead. Reshape your data either using X.reshape(-1, 1) if "
            "your data has a single feature or X.reshape(1, -1) if it contains a single sample."
        )
    if xp.isdtype(X.dtype, "complex floating"):
        raise InputTypeError(f"Complex data not supported: X must hold real numbers, got {X.dtype}")
    for axis, what in enumerate(("sample", "feature")):
        if X.shape[axis] == 0:
            raise ValueError(f"Found array with 0 {what}(s) (shape={tuple(X.shape)}); at least 1 is required.")
    validate_data(model, X, reset=reset, skip_check_array=True)
    if not xp.isdtype(X.dtype, "real floating"):
        backend = choose_backend("auto", X)
        available = backend.xp.__array_namespace_info__().dtypes(device=backend.device, kind="real floating")
        X = xp.astype(X, xp.float64 if "float64" in available else xp.float32)
    if not bool(xp.all(xp.isfinite(X))):
        what = "NaN" if bool(xp.any(xp.isnan(X))) else f"infinity or a value too large for {X.dtype}"
        raise ValueError(f"Input X contains {what}.")
    return X


def _check_library(model: Any, library: str, method: str) -> None:
    fitted_with = getattr(model, "_fitted_with", None)
    if fitted_with in (None, library):
        return
    to_host = {"cupy": "cupy.asnumpy(X)", "torch": "X.numpy(force=True)"}
    recipe = to_host.get(library, "numpy.asarray(X)") if fitted_with == HOST_LIBRARY else f"{fitted_with}.asarray(X)"
    raise NamespaceError(
        f"Inputs passed to {type(model).__name__}.{method}() must use the same namespace as those passed to fit(): "
        f"it was fitted on arrays of {fitted_with} and got arrays of {library}. Convert them with {recipe}, or "
        "use copy.deepcopy(model): a copied or pickled model accepts arrays of any library"
    )
