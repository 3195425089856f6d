"""A table with gaps, categories and dates in scikit-learn's tools: folds, weights, quantiles, a file without pickle."""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.model_selection import cross_val_score

from gpubp import TabularRegressor, partial_dependence
from gpubp.plotting import partial_dependence_curve

generator = np.random.default_rng(0)
n = 600
area, town = generator.uniform(30.0, 200.0, n), generator.choice(["Bonn", "Rome", "Oslo"], n)
day = np.datetime64("2024-01-01") + generator.integers(0, 365, n)
rent = 300.0 + 9.0 * area + 400.0 * (town == "Oslo") + generator.normal(0.0, 80.0, n)
area[::20] = np.nan

try:
    import pandas
except ImportError:
    print("cross-validation of a table needs pandas or polars")
else:
    frame = pandas.DataFrame({"area": area, "town": town, "day": day})
    print("R² in three folds:", cross_val_score(TabularRegressor(), frame, rent, cv=3).round(3))

flats = {"area": area, "town": town, "day": day, "rent": rent}
recent = np.where(day >= np.datetime64("2024-07-01"), 2.0, 1.0)
model = TabularRegressor().fit(flats, "rent", sample_weight=recent)
for column in model.columns_:
    print(f"{column.name}: {column.type}, {column.reason}")
print(
    "nine of ten rents lie between:",
    model.predict_quantiles({"area": [80.0], "town": ["Oslo"], "day": [day[0]]}, (0.05, 0.95)),
)

dependence = partial_dependence(model, flats, "area", individual=True)["area"]
partial_dependence_curve(dependence).figure.savefig("rent-by-area.png")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "rent.safetensors")  # gpubp predict reads it too
    model.save(path)
    print("same after loading:", np.array_equal(TabularRegressor.load(path).predict(flats), model.predict(flats)))
