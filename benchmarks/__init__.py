"""Compare gpubp with other libraries on the same work, threads, batches and first weights: ``python -m benchmarks``."""
