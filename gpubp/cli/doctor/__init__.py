"""``gpubp doctor``."""
