"""Helpers for all other packages: names, text, files, masked arrays."""
