"""Traces equations with symbols and writes them as statements of C."""
