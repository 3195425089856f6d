"""``gpubp explain``."""
