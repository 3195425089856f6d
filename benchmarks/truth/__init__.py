"""``python -m benchmarks.truth``: errors of gpubp's functions against the same formulas in mpmath."""
