"""Array libraries and devices: their choice, memory, precision and errors."""
