"""Optimizers, first and second order, and schedules of their settings."""
