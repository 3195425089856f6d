"""Train on a table, export to ONNX, and predict with onnxruntime alone. Needs the extra `onnx`.

Scaling, missing values and categories are in the file. Each column is a separate input, `(samples, 1)`.
"""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np

import gpubp

if importlib.util.find_spec("onnx") is None or importlib.util.find_spec("onnxruntime") is None:
    print('this example needs onnx and onnxruntime: in a clone of gpubp, pip install ".[onnx]"')
    raise SystemExit

generator = np.random.default_rng(0)
area, town = generator.uniform(30.0, 200.0, 400), generator.choice(["Bonn", "Rome", "Oslo"], 400)
rent = np.where(3.0 * area + 100.0 * (town == "Oslo") > 380.0, "high", "low")
area[::40] = np.nan
result = gpubp.fit_table(gpubp.prepare_table({"area": area, "town": town, "rent": rent}), epochs=60)
path = Path(tempfile.mkdtemp()) / "rent.onnx"
gpubp.to_onnx(result.model, path=path)
print(f"wrote {path.name}, {path.stat().st_size / 1024:.1f} kB")

# on the server, without gpubp
import onnxruntime  # noqa: E402

session = onnxruntime.InferenceSession(path)
new = {"area": [90.0, 150.0, np.nan], "town": ["Oslo", "Rome", "Bonn"]}
area, town = np.asarray(new["area"]), np.asarray(new["town"], dtype=object)
labels, probabilities = session.run(["label", "probabilities"], {"area": area[:, None], "town": town[:, None]})
for sample, (label, probability) in enumerate(zip(labels, probabilities, strict=True)):
    print(f"sample {sample}: {label}, {probability.max():.3f}")

print(f"same as gpubp: {labels.tolist() == gpubp.predict_table(result.model, new)['rent'].tolist()}")
