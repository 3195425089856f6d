"""The CUDA C sources: templates, and the equations written into them."""
