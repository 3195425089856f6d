"""What every other package may use: names, text, files, masked arrays."""
