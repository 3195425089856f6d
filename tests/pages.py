"""What pages take for granted, and what makes their steps short, for `tests/test_docs_run.py`."""

from importlib.util import find_spec
from typing import NamedTuple


class Page(NamedTuple):
    """How a page runs."""

    before: str = ""  # code that runs first, and may write files
    shorter: tuple[tuple[str, str], ...] = ()  # texts of the page, and what runs instead
    left_out: tuple[str, ...] = ()  # parts of steps that do not run
    needs: tuple[str, ...] = ()  # packages, without which the page is skipped


SAMPLES = """
import numpy as np

generator = np.random.default_rng(0)
X = generator.normal(size=(40, 5)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)
"""

TABLES = """
import numpy as np
import pandas

generator = np.random.default_rng(0)
houses = pandas.DataFrame({"area": generator.integers(30, 200, 60), "town": generator.choice(["Ulm", "Bonn"], 60)})
houses["price"] = houses["area"] * 3.0 + (houses["town"] == "Ulm") * 50
houses.to_csv("houses.csv", index=False)
houses.to_csv("new.csv", index=False)
shop = houses.rename(columns={"area": "age", "price": "buys"})
shop["buys"] = np.where(shop["buys"] > 350, "yes", "no")
shop.to_csv("shop.csv", index=False)
"""
FEW_EPOCHS = "--epochs 3 --no-picture"

PAGES = {
    "README": Page(
        TABLES
        + """
from pathlib import Path

Path("run.toml").write_text('data = "houses.csv"')
""",
        (
            ("epochs=60", "epochs=6"),
            ("gpubp train houses.csv", f"gpubp train houses.csv {FEW_EPOCHS}"),
            ("--epochs 50 ", FEW_EPOCHS),
        ),
        (
            "reproduce",
            "agree --device cuda",
            "doctor",
            "folder-of-parquet",
            "export",
            "report",
            "explain",
            "inspect houses.safetensors",
        ),
    ),
    "docs/index": Page(),
    "docs/start": Page(
        TABLES,
        (
            ("train digits --preset fast", f"train digits {FEW_EPOCHS}"),
            ("train houses.csv", f"train houses.csv {FEW_EPOCHS}"),
        ),
        ("doctor",),
    ),
    "docs/search": Page(
        SAMPLES,
        (
            ("MLPClassifier(random_state=0)", "MLPClassifier(max_iter=10, random_state=0)"),
            ("n_trials=256, batch_size=64", "n_trials=4, batch_size=2"),
            ("from dask.distributed import Client", "from concurrent.futures import ThreadPoolExecutor as Client"),
            ('"tcp://scheduler:8786"', "2"),
            ('MLPClassifier(device="cuda")', "MLPClassifier(max_iter=5)"),
            ("range(100_000)", "range(10)"),
        ),
        needs=("optuna",),
    ),
    "docs/deployment": Page(
        SAMPLES
        + TABLES
        + """
import gpubp
from gpubp import MLPClassifier, MLPRegressor

network = gpubp.Network((5, 3, 1))
fit = gpubp.train(network, X, y[:, None].astype(X.dtype), epochs=1)
model = MLPClassifier(max_iter=2).fit(X, y)
frame = pandas.DataFrame({"sold": ["24.12.2025", None]})
""",
        (
            ("MLPClassifier()", "MLPClassifier(max_iter=2)"),
            ("MLPRegressor()", "MLPRegressor(max_iter=2)"),
            ("train houses.csv --target price && ", f"train houses.csv --target price {FEW_EPOCHS}\n    "),
        ),
        left_out=() if find_spec("skl2onnx") else ("skl2onnx",),
        needs=("onnx", "onnxruntime", "skops"),
    ),
    "docs/scaling": Page(
        SAMPLES
        + TABLES
        + """
from pathlib import Path

rows = generator.normal(size=(600, 257)).astype(np.float32)
rows[:, -1] = np.arange(600) % 10
np.save("rows.npy", rows)
Path("folder").mkdir()
for part in range(2):
    houses.rename(columns={"price": "y"}).to_csv(f"folder/part-{part}.csv", index=False)
digits = np.ones((20, 784), np.float32), np.eye(10, dtype=np.float32)[np.arange(20) % 10]
""",
        (
            (
                "model = MLPC",
                "from gpubp import MLPClassifier\nstream = open_stream('rows.npy', target_columns=1)\nmodel = MLPC",
            ),
            ("from gpubp import Checkpoints", "X, targets = digits\nfrom gpubp import Checkpoints"),
            ("epochs=500", "epochs=2"),
            ("train shop.csv", f"train shop.csv {FEW_EPOCHS}"),
        ),
        ('parallel="mpi"',),
    ),
    "docs/tables": Page(
        TABLES
        + """
import sqlite3
from contextlib import closing
from pathlib import Path

shop.to_csv("new.csv", index=False)
shop.to_excel("shop.xlsx", sheet_name="Sheet2", index=False)
with closing(sqlite3.connect("shop.db")) as connection:
    shop.to_sql("sales", connection, index=False)
Path("sales").mkdir()
shop.to_csv("sales/1.csv.gz", index=False)
""",
        (("    gpubp train ", f"    gpubp train {FEW_EPOCHS} "),),
        ("--time-budget",),
        ("openpyxl", "python_calamine"),
    ),
}
