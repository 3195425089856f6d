"""A table with numbers, categories and gaps: from a data frame to a scored model, and predictions for new rows."""

import numpy as np
import pandas as pd

from gpubp.tabular import fit_table, predict_table, prepare_table

generator = np.random.default_rng(0)
area, rooms = generator.uniform(30, 200, 500), generator.integers(1, 7, 500).astype(float)
town = generator.choice(["Bonn", "Rome", "Oslo"], 500)
price = 3.0 * area + 20.0 * rooms + np.where(town == "Oslo", 100.0, 0.0) + generator.normal(0.0, 10.0, 500)
rooms[::50] = np.nan
houses = pd.DataFrame({"area": area, "rooms": rooms, "town": town, "price": price})

result = fit_table(prepare_table(houses, target="price", impute=True))
for part, scores in result.scores.items():
    print(part, {name: round(score, 3) for name, score in scores.items()})

new = pd.DataFrame({"area": [80.0, 120.0], "rooms": [3.0, np.nan], "town": ["Oslo", "Rome"]})
print(predict_table(result.model, new))
