"""``gpubp train``."""
