"""Train on a table, export to ONNX, and predict with onnxruntime alone. Needs the extra `onnx`.

Scaling, missing values, categories and dates are in the file. Each column is a separate input, `(samples, 1)`.
"""

import importlib.util
import tempfile
import warnings
from pathlib import Path

import numpy as np

import gpubp

if importlib.util.find_spec("onnx") is None or importlib.util.find_spec("onnxruntime") is None:
    print('this example needs onnx and onnxruntime: in a clone of gpubp, pip install ".[onnx]"')
    raise SystemExit

generator = np.random.default_rng(0)
area, town = generator.uniform(30.0, 200.0, 400), generator.choice(["Bonn", "Rome", "Oslo"], 400)
built = np.datetime64("1990-01-01") + generator.integers(0, 12000, 400)
rent = np.where(3.0 * area + 100.0 * (town == "Oslo") > 380.0, "high", "low")
area[::40] = np.nan
result = gpubp.fit_table(gpubp.prepare_table({"area": area, "town": town, "built": built, "rent": rent}), epochs=60)
path = Path(tempfile.mkdtemp()) / "rent.onnx"
gpubp.to_onnx(result.model, path=path)
print(f"wrote {path.name}, {path.stat().st_size / 1024:.1f} kB")

# on the server, without gpubp
import onnxruntime  # noqa: E402

session = onnxruntime.InferenceSession(path)
new = {
    "area": np.array([90.0, 150.0, np.nan]),
    "town": np.array(["Oslo", "Rome", "Bern"], dtype=object),
    "built": np.array(["1995-05-31", "NaT", "2020-02-29"], dtype="datetime64[s]"),
}
columns = new | {"built": new["built"].astype(float)}  # seconds since 1970
inputs = {name: column[:, None] for name, column in columns.items()}
labels, probabilities = session.run(["label", "probabilities"], inputs)
for sample, (label, probability) in enumerate(zip(labels, probabilities, strict=True)):
    print(f"sample {sample}: {label}, {probability.max():.3f}")

with warnings.catch_warnings():
    warnings.simplefilter("ignore", gpubp.TableWarning)  # it counts the values that were not in training, as Bern
    expected = gpubp.predict_table(result.model, new)["rent"]
print(f"same as gpubp: {labels.tolist() == expected.tolist()}")
