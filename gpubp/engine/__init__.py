"""How an epoch is run: plainly, or compiled for the CPU or for CUDA."""
