"""A table in, a scored model out."""
