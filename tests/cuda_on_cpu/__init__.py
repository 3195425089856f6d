"""CUDA on the CPU: real CuPy and real nvmath-python run without a GPU, so that CI runs the tests for GPUs.

``build.py`` makes the libraries of CUDA that CuPy calls, from ``src/``, and builds CuPy's module of the CUDA runtime
again, since CuPy's wheel has NVIDIA's runtime inside it. ``compiler.py`` compiles kernels by g++ in place of NVRTC.
``activation.py`` makes CuPy use all this in the present process, ``plugin.py`` does it for pytest, ``__main__.py`` for
a program:

    python -m tests.cuda_on_cpu.build
    python -m pytest -p tests.cuda_on_cpu.plugin tests
    python -m tests.cuda_on_cpu SCRIPT

It is stricter than a GPU, so that faults show on every run:

- work waits in its stream until something has to wait for it; a missing wait shows as wrong numbers;
- new and freed memory, and shared memory before each block, holds NaN (bytes of ones);
- kernels and products get only addresses of memory that their device has now, and products stay within it;
- a capture refuses what CUDA refuses, and graphs run branches in an order unlike that of the capture;
- threads of a block that wait at different barriers are an error, and so are lanes of a warp that should take part in
  a shuffle and do not; what a shuffle reads from others is NaN;
- processes that take part in different collectives of NCCL are an error.

float32 is computed as by CuPy's options: multiplications and additions fused, small numbers flushed to zero. Products
round their operands as their compute type says.

Variables of the environment: ``CUDA_ON_CPU_MEMORY`` (bytes of each device), ``CUDA_ON_CPU_DEVICES`` (how many),
``CUDA_ON_CPU_BACKWARDS=1`` (blocks and threads in reverse order), ``CUDA_ON_CPU_EAGER=1`` (nothing waits in streams),
``CUDA_ON_CPU_NCCL=0`` (there is no NCCL), ``CUDA_ON_CPU_FOLDER`` (where libraries and kernels are kept).

What it lacks: cuRAND, CUB, Thrust, cuBLASLt, and true concurrency. NCCL has sums and broadcasts on one
machine. It needs Linux on x86-64, g++, and the dependency group ``cuda-on-cpu`` of pyproject.toml.
"""
