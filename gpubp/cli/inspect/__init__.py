"""``gpubp inspect``."""
