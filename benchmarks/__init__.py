"""gpubp beside its peers, on the same work, threads, batches and first weights: ``python -m benchmarks``."""
