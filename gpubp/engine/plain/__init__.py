"""The training step as the equations say it, for any array library."""
