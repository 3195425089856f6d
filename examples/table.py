"""From a table with numbers, categories and missing values to a scored model and predictions for new rows.

The tables here are dicts of columns. pandas and polars frames and paths of files work too.
"""

import numpy as np

import gpubp
from gpubp.plotting import importance_bars

generator = np.random.default_rng(0)
area, rooms = generator.uniform(30, 200, 500), generator.integers(1, 7, 500).astype(float)
town = generator.choice(["Bonn", "Rome", "Oslo"], 500)
price = 3.0 * area + 20.0 * rooms + np.where(town == "Oslo", 100.0, 0.0) + generator.normal(0.0, 10.0, 500)
rooms[::50] = np.nan
houses = {"area": area, "rooms": rooms, "town": town, "price": price}

result = gpubp.fit_table(gpubp.prepare_table(houses, target="price"))
for part, scores in result.scores.items():
    print(part, {name: round(score, 3) for name, score in scores.items()})

new = {"area": [80.0, 120.0], "rooms": [3.0, np.nan], "town": ["Oslo", "Rome"]}
print(gpubp.predict_table(result.model, new))

importance = gpubp.permutation_importance(result.model, houses)
importance_bars(importance).figure.savefig("houses.png")
