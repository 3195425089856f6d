"""Networks and their equations: activations, losses, encodings, initialization."""
