"""What the estimators for tables share: fitting, prediction, files."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import check_is_fitted

from gpubp._core.documentation import DocumentationLink
from gpubp._core.user_warnings import warn
from gpubp.backends.inputs import accept_on_host, as_numbers
from gpubp.data.preprocessing import (
    ColumnOptions,
    preprocessing_of,
    require_column,
)
from gpubp.data.table import Column, Table
from gpubp.engine.argument_checks import check_is_called
from gpubp.errors import DataError, DivergenceWarning, ModelFileError, TableWarning
from gpubp.estimators.parameter_checks import ClearKeywords
from gpubp.io.model_file import Model, load_model, save_model
from gpubp.io.onnx import to_onnx
from gpubp.optim.first_order import Optimizer
from gpubp.optim.second_order import SecondOrder
from gpubp.tabular.checks import encoding_without_effect, few_rows
from gpubp.tabular.estimator_parameters import CONSTRAINTS, parameter_problems, parameters_in, plain_parameters
from gpubp.tabular.estimator_tables import (
    Features,
    LabelledTable,
    ValidationRows,
    add_target,
    known_rows,
    read_features,
    read_new_features,
    refuse_missing_targets,
    target_columns,
)
from gpubp.tabular.fit import fit_table, make_optimizer
from gpubp.tabular.held_out import check_columns
from gpubp.tabular.made_again import fit_call
from gpubp.tabular.predict import predict_table
from gpubp.tabular.prepare import checked_weights, prepare_table
from gpubp.tabular.prepared_table import PreparedTable
from gpubp.tabular.recipes import RECIPES, categories_of, validation_fraction_of
from gpubp.tabular.search import search_table
from gpubp.tabular.verdict import divergence_in_effect

if TYPE_CHECKING:
    from onnx import ModelProto


class TabularEstimator(ClearKeywords, DocumentationLink, BaseEstimator):  # type: ignore[misc]
    """What the classifier and the regressor share."""

    _task: ClassVar[Literal["classification", "regression"]]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    # --- fitting ---

    def _validate_params(self) -> None:
        """Check the parameters, and name all that are not valid in one error."""
        if problems := parameter_problems(self):
            raise InvalidParameterError("\n".join(problems))

    def _types(self, features: Features) -> dict[str, Any]:
        """Return the types of columns that are requested, and otherwise those of an array's."""
        requested = ColumnOptions(types=self.types, categorical=self.categorical, drop=self.drop)
        others = {*requested.categorical, *requested.drop}
        return {name: kind for name, kind in features.types.items() if name not in others} | dict(self.types or {})

    @np.errstate(all="ignore")
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, validation_data: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : data frame, dict of columns, array, path, or name of a data set
            Frames of pandas, polars and others, and tables of pyarrow, with columns of any type; missing values are
            allowed. The columns of an array ``(n_samples, n_features)`` are named ``x0``, ``x1``, ...; those of
            numbers are taken as numbers.
        y : array of shape (n_samples,) or (n_samples, n_outputs), or the name of a column of X
            The targets, several only for regression. Each text of an array is a class, and for regression a number such
            as ``"$1,600"``. If y is the name of a column of X, or a list of names, rows without a target are left out.
        sample_weight : array of shape (n_samples,), optional
            The weight of each row in the loss. Only ratios matter, and rows of weight 0 are left out.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Rows for early stopping, instead of a part of X; the network is not trained on them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If parameters or data are not valid, or the weights of the network become infinite or NaN. A
            :class:`gpubp.DataError` is one.
        DeviceError
            If the device cannot be used.
        """
        features = read_features(X, self, least_rows=2)
        labelled, validation = self._checked(features, y, sample_weight, validation_data)
        seed, recipe = self._seed(), RECIPES[self.preset][self._task] if self.preset in RECIPES else None
        prepared = prepare_table(
            labelled.table,
            target=labelled.target,
            task=self._task,
            types=self._types(features),
            categorical=self.categorical,
            drop=self.drop,
            missing=self.missing,
            max_categories=self.max_categories,
            strict=self.strict,
            numbers=self.numbers if recipe is None else recipe.numbers,
            categories=categories_of(recipe, self.categories),
            test_fraction=0.0,
            validation_fraction=validation_fraction_of(recipe, self.validation_fraction),
            group=self.group,
            time=self.time,
            seed=seed,
            dtype=self.dtype,
            sample_weight=sample_weight,
            exact_labels=labelled.is_apart,
            validation_table=None if validation is None else validation.labelled.table,
            validation_weight=None if validation is None else validation.weight,
        )
        for given in [labelled] if validation is None else [labelled, validation.labelled]:
            refuse_missing_targets(given, prepared.decisions.target)
        without_effect = encoding_without_effect(self.categories, prepared.preprocessing, self._sizes())
        for doubt in filter(None, (few_rows(prepared), without_effect)):
            warn(doubt, TableWarning)
        options: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("activation", "loss", "epochs", "patience", "tolerance", "device", "dtype", "refit")
        }
        options |= {"seed": seed, "matmul_precision": self.matmul_precision}
        if self.preset == "best":
            result = search_table(self._weighted(prepared), time_budget=self.time_budget, **options)
        else:
            result = fit_table(
                self._weighted(prepared),
                hidden_layer_sizes=self._sizes(),
                optimizer=self._optimizer(),
                batch_size=self.batch_size,
                l2=self.l2,
                dropout=self.dropout,
                callbacks=() if self.callbacks is None else self.callbacks,
                n_networks=self.n_networks,
                n_restarts=self.n_restarts,
                recipe=recipe,
                **options,
            )
        if result.fit.best_epoch == 0 and result.fit.stop_reason == "diverged":
            raise DataError(f"the weights became infinite or NaN in the first epoch; {self._against_divergence()}")
        if prepared.encoded.sample_weight is None and (divergence := divergence_in_effect(result)):
            warn(
                f"training diverged: {divergence}; {self._against_divergence()}, or look for extreme numbers in the "
                "table",
                DivergenceWarning,
            )
        facts = {"parameters": plain_parameters(self), "has_feature_names": features.has_names}
        facts["fit"] = fit_call(X, None if labelled.is_apart else y, sample_weight, validation_data)
        model = result.model
        self._keep(Model(model.network, model.theta, model.preprocessing, {**model.about, "estimator": facts}))
        self.history_, self.stop_reason_ = result.fit.history, result.fit.stop_reason
        self.best_epoch_, self.trials_, self.n_untried_ = result.fit.best_epoch, result.trials, result.n_untried
        return self

    def _against_divergence(self) -> str:
        preset = "" if self.preset == "fast" else 'preset="fast" with '
        return f"choose {preset}a smaller learning_rate"

    def _checked(
        self, features: Features, y: Any, sample_weight: Any, validation_data: Any
    ) -> tuple[LabelledTable, ValidationRows | None]:
        """Return the table with its targets and the validation rows; one error says all that is wrong."""
        table, problems = features.table, list[Exception]()
        labelled, validation = LabelledTable(table, (), is_apart=False), None
        with _noted(problems):
            labelled = self._labelled(table, y)
        with _noted(problems):
            options = ColumnOptions(
                types=self.types, categorical=self.categorical, drop=self.drop, missing=self.missing
            )
            targets = () if labelled.is_apart else labelled.target  # whose names are not the user's
            check_columns(table if labelled.is_apart else labelled.table, targets, options, self.group, self.time)
        with _noted(problems):
            checked_weights("sample_weight", sample_weight, table.n_rows)
        with _noted(problems):
            validation = self._validation_rows(validation_data, features, labelled)
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise DataError("\n".join(map(str, problems)))
        return labelled, validation

    def _labelled(self, table: Table, y: Any, names: Any = None) -> LabelledTable:
        return add_target(table, y, self, is_classifier=self._task == "classification", names=names)

    def _sizes(self) -> list[Any]:
        sizes: list[Any] = np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=object)).tolist()
        return sizes

    def _optimizer(self) -> Optimizer | SecondOrder:
        if isinstance(self.optimizer, str):
            return make_optimizer(self.optimizer, self.learning_rate)
        check_is_called(self.optimizer)
        if self.learning_rate is not None:
            raise DataError("learning_rate is for an optimizer that is given by name; set that of the optimizer")
        optimizer: Optimizer | SecondOrder = self.optimizer
        return optimizer

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _validation_rows(
        self, validation_data: Any, features: Features, training: LabelledTable
    ) -> ValidationRows | None:
        """Return the given validation rows, if there are any."""
        if validation_data is None:
            return None
        if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
            length = f" of {len(validation_data)}" if hasattr(validation_data, "__len__") else ""
            raise DataError(
                f"validation_data must be (X, y) or (X, y, sample_weight), got {type(validation_data).__name__}{length}"
            )
        X, y, weight = (*validation_data, None)[:3]
        names = [name for name in features.table.columns if name not in training.target]
        table = read_new_features(X, self, names, has_names=features.has_names)
        checked_weights("the weights of validation_data", weight, table.n_rows)
        labelled = self._labelled(table, y, training.target or None)
        if training.target and set(labelled.target) != set(training.target):
            raise DataError(
                f"validation_data has the target {', '.join(map(repr, labelled.target))}, and the training rows have "
                f"{', '.join(map(repr, training.target))}; pass the name of the same column, or an array"
            )
        for name in labelled.target:
            require_column(labelled.table, name)
        return ValidationRows(labelled, weight)

    def _weighted(self, prepared: PreparedTable) -> PreparedTable:
        """Return the table that is trained on, with weights by class and smoothed labels if they are requested."""
        return prepared

    def _keep(self, model: Model) -> None:
        """Set the attributes that follow from a model."""
        preprocessing = preprocessing_of(model)
        columns = [one.name for one in preprocessing.summaries if one.type != "target"]
        self.model_, self.columns_ = model, preprocessing.summaries
        self.scores_ = model.about.get("scores", {})
        self._names = columns or [column.name for column in preprocessing.columns]
        self.n_features_in_ = len(self._names)
        self.__dict__.pop("feature_names_in_", None)
        facts = model.about.get("estimator")
        if not isinstance(facts, dict) or facts.get("has_feature_names") is not False:
            self.feature_names_in_ = np.array(self._names, dtype=object)

    # --- predicting ---

    def _new_table(self, X: Any) -> Table:
        check_is_fitted(self)
        return read_new_features(X, self, self._names, has_names=hasattr(self, "feature_names_in_"))

    def _predictions(self, X: Any) -> dict[str, Column]:
        """Return the columns of :func:`gpubp.predict_table`, those of the predicted targets first."""
        table = self._new_table(X)
        return predict_table(
            self.model_, table, device=self.device, matmul_precision=self.matmul_precision, strict=self.strict
        )

    def _known(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """Return the arguments of ``score``; where y names columns of X, rows that have a target, and the targets.

        A class that training did not see is None.
        """
        if sample_weight is not None:
            sample_weight = as_numbers("sample_weight", np.asarray(accept_on_host("sample_weight", sample_weight)))
        if not isinstance(y, str | list | tuple):
            return X, y, sample_weight
        table, preprocessing = self._new_table(X), preprocessing_of(self.model_)
        names = target_columns(y, table, is_classifier=self._task == "classification")
        is_text = not isinstance(y, str) and all(isinstance(name, str) for name in y)
        if is_text and tuple(y) == preprocessing.target_names and set(y) <= set(table.columns):
            names = preprocessing.target_names  # also in a table of one row
        if names is None:
            return X, y, sample_weight
        if names != preprocessing.target_names:
            raise DataError(f"the model predicts {', '.join(map(repr, preprocessing.target_names))}, got y={y!r}")
        return known_rows(table, preprocessing, names, sample_weight)

    # --- files ---

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model file that :meth:`load`, :func:`gpubp.load_model` and ``gpubp predict`` read.

        Parameters
        ----------
        path : str or path
            Its usual suffix is ``.safetensors``. It holds no code, and no pickle.
        """
        check_is_fitted(self)
        save_model(path, self.model_)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a model file, of :meth:`save` or of ``gpubp train``.

        Parameters
        ----------
        path : str or path

        Returns
        -------
        TabularClassifier or TabularRegressor
            With the parameters that the file has: all but `device` and `callbacks` in one of :meth:`save`. Others have
            their default. A warning describes an optimizer that a file cannot hold, such as one with a schedule of your
            own.

        Raises
        ------
        ModelFileError
            If the file is not a model of a table, or predicts the other kind of target.
        """
        model = load_model(path)
        task = preprocessing_of(model).task
        if task != cls._task:
            other = "TabularClassifier" if task == "classification" else "TabularRegressor"
            raise ModelFileError(f"{path} is a model for {task}; load it with {other}.load")
        parameters, lost = parameters_in(cls, model)
        estimator = cls(**parameters)
        if lost:
            warn(
                f"{path} was trained with an optimizer that a model file cannot hold ({lost}); predictions are the "
                f"same, but fit would use {estimator.optimizer!r}: pass the other one with set_params(optimizer=...)"
            )
        estimator._keep(model)
        return estimator

    def to_onnx(self, path: str | PathLike[str] | None = None, *, dtype: str | None = None) -> "ModelProto":
        """Export the model for onnxruntime: from the columns of a table to predictions.

        Parameters
        ----------
        path : str or path, optional
            Path to write the model to.
        dtype : {"float32", "float64"}, optional
            The precision of the network; by default, that of this model.

        Returns
        -------
        onnx.ModelProto
            See :func:`gpubp.to_onnx`.
        """
        check_is_fitted(self)
        return to_onnx(self.model_, path=path, dtype=dtype)

    def report(
        self,
        path: str | PathLike[str],
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        title: str = "",
    ) -> None:
        """Write a report as one HTML page: scores, learning curves, columns, the network, and how to fit it again.

        With rows there are also a confusion matrix or errors, calibration, and permutation importance.

        Parameters
        ----------
        path : str or path
            The page holds all it needs, and no scripts.
        X : data frame, dict of columns, array, path, or name of a data set, optional
            Rows that :meth:`fit` did not get.
        y : array of shape (n_samples,) or (n_samples, n_outputs), optional
            Their targets, if X has no columns of them.
        sample_weight : array of shape (n_samples,), optional
            Their weights.
        title : str, optional
            By default the name of the class.
        """
        from gpubp.tabular.report import write_report  # which is for reports alone

        check_is_fitted(self)
        write_report(path, self, X, y, sample_weight, title)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags


@contextmanager
def _noted(problems: list[Exception]) -> Iterator[None]:
    """Append an error to a list instead of raising it."""
    try:
        yield
    except (ValueError, TypeError) as error:
        problems.append(error)
