"""Which array library computes, on which device, and what it can do there."""
