"""The training loop: one network or a stack, its state, checkpoints and callbacks."""
