"""A report to keep and send: one HTML page with a model's scores, curves, columns, errors and importance.

The page has no script and loads nothing. ``gpubp train --report`` and ``gpubp report`` write the same page.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from gpubp import TabularRegressor

generator = np.random.default_rng(0)
n = 600
area, rooms = generator.uniform(30.0, 200.0, n).round(), generator.integers(1, 7, n).astype(float)
town = generator.choice(["Bonn", "Oslo", "Rome"], n)
built = np.datetime64("1950-01-01") + generator.integers(0, 25_000, n)
per_metre = np.where(town == "Oslo", 14.0, 8.0) - area / 60.0  # large flats cost less per square metre
rent = 300.0 + area * per_metre + 30.0 * rooms + generator.normal(0.0, 60.0, n)
rooms[::20] = np.nan
flats = {"area": area, "rooms": rooms, "town": town, "built": built, "rent": rent.round()}
train, test = ({name: values[part] for name, values in flats.items()} for part in (slice(450), slice(450, None)))

model = TabularRegressor(random_state=0).fit(train, "rent")
path = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(), "report.html")
model.report(path, test, title="Rents of 600 flats")  # on rows that the model was not fitted to
print(f"R² {model.score(test, 'rent'):.3f}; {path.name} has {path.stat().st_size / 1024:.0f} kB")
