"""``gpubp predict``."""
