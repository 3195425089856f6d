"""``gpubp warmup``."""
