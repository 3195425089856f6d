"""Libraries that prepare tables for models, store models, or run them elsewhere."""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.clients.comparison import (
    FRAME,
    NUMBERS,
    TEST,
    THREE_CLASSES,
    TRAIN,
    TWO_NUMBERS,
    Estimators,
    X,
    Y,
    client,
)

TABLE = FRAME.assign(
    city=np.array(["Oslo", "Rome", "Lima"])[THREE_CLASSES],
    visits=FRAME["visits"].mask(FRAME["visits"] > 1.5),
    note=[f"{'good' if y else 'bad'} {k % 7}" for k, y in enumerate(Y)],
)


@client("skrub")
def tables_of_skrub(make: Estimators):
    from skrub import StringEncoder, TableVectorizer, tabular_pipeline

    vectorizer = TableVectorizer(high_cardinality=StringEncoder(3, random_state=0), cardinality_threshold=5)
    pipeline = tabular_pipeline(make.classifier()).set_params(tablevectorizer=vectorizer)
    return pipeline.fit(TABLE[TRAIN], Y[TRAIN]).predict_proba(TABLE[TEST])


@client("category-encoders")
def encoded_categories(make: Estimators):
    from category_encoders import CatBoostEncoder, OneHotEncoder, TargetEncoder

    table = TABLE.fillna(0.0).drop(columns="note")
    numbers = []
    for encoder in (CatBoostEncoder(random_state=0), OneHotEncoder(use_cat_names=True), TargetEncoder(cols=["city"])):
        pipeline = make_pipeline(encoder, make.regressor()).fit(table[TRAIN], NUMBERS[TRAIN])
        numbers.append(pipeline.predict(table[TEST]))
    return numbers


@client("feature-engine")
def columns_of_feature_engine(make: Estimators):
    from feature_engine.encoding import OrdinalEncoder
    from feature_engine.imputation import MeanMedianImputer
    from feature_engine.pipeline import make_pipeline as make_engine_pipeline

    pipeline = make_engine_pipeline(
        MeanMedianImputer(variables=["visits"]), OrdinalEncoder(variables=["city", "note"]), make.classifier()
    )
    return pipeline.fit(TABLE[TRAIN], Y[TRAIN]).predict_proba(TABLE[TEST])


@client("skops")
def files_of_skops(make: Estimators):
    import skops.io

    model = make_pipeline(StandardScaler(), make.classifier()).fit(FRAME, THREE_CLASSES)
    stored = skops.io.dumps(model)
    loaded = skops.io.loads(stored, trusted=skops.io.get_untrusted_types(data=stored))
    predicted = loaded.predict_proba(FRAME)
    continued = loaded[-1].partial_fit(X, THREE_CLASSES)
    return [predicted, continued.coefs_, continued.loss_curve_]


@client("skl2onnx", tolerance=1e-5)  # it computes in float32
def models_of_skl2onnx(make: Estimators):
    import onnxruntime
    import skl2onnx
    from skl2onnx._parse import sklearn_operator_name_map
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )
    from skl2onnx.operator_converters.multilayer_perceptron import (
        convert_sklearn_mlp_classifier,
        convert_sklearn_mlp_regressor,
    )

    classifier, regressor = make.classifier().fit(X, THREE_CLASSES), make.regressor().fit(X, TWO_NUMBERS)
    if type(classifier) not in sklearn_operator_name_map:  # gpubp's classes are registered once
        options = {"zipmap": [False, True], "nocl": [False, True], "output_class_labels": [False, True]}
        for model, name, shapes, convert, options_of_it in (
            (classifier, "C", calculate_linear_classifier_output_shapes, convert_sklearn_mlp_classifier, options),
            (regressor, "R", calculate_linear_regressor_output_shapes, convert_sklearn_mlp_regressor, None),
        ):
            skl2onnx.update_registered_converter(type(model), f"Gpubp{name}", shapes, convert, options=options_of_it)
    numbers, rows = [], X.astype(np.float32)
    for model, options in ((classifier, {"zipmap": False}), (regressor, {})):
        exported = skl2onnx.to_onnx(model, rows[:1], options={id(model): options})
        session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
        numbers.append(session.run(None, {"X": rows}))
    return numbers


@client("mlflow")
def logged_models(make: Estimators):
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        mlflow.set_tracking_uri(f"sqlite:///{Path(folder) / 'runs.db'}")
        path = str(Path(folder) / "model")
        model = make_pipeline(StandardScaler(), make.classifier()).fit(FRAME, THREE_CLASSES)
        mlflow.sklearn.save_model(
            model, path, input_example=FRAME[:2], serialization_format="cloudpickle", pip_requirements=[]
        )
        return [
            mlflow.pyfunc.load_model(path).predict(FRAME),
            mlflow.sklearn.load_model(path).predict_proba(FRAME),
        ]


@client("dask-ml")
def models_on_dask_arrays(make: Estimators):
    import dask
    import dask.array
    from dask_ml.wrappers import Incremental, ParallelPostFit

    chunked, targets = dask.array.from_array(X, chunks=(50, -1)), dask.array.from_array(Y, chunks=50)
    with dask.config.set(scheduler="synchronous"):
        incremental = Incremental(make.classifier(), shuffle_blocks=False).fit(chunked, targets, classes=[0, 1])
        parallel = ParallelPostFit(make.classifier().fit(X, THREE_CLASSES))
        return [
            incremental.predict_proba(X),
            incremental.estimator_.loss_curve_,
            parallel.predict_proba(chunked).compute(),
            parallel.predict(chunked).compute(),
        ]


@client("distributed")
def fits_on_a_cluster(make: Estimators):
    import joblib
    from distributed import Client, LocalCluster
    from sklearn.model_selection import cross_val_predict

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config("dask"),
    ):
        return cross_val_predict(make.classifier(), X, Y, cv=3, method="predict_proba")
