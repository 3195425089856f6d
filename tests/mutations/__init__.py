"""Mutations: small faults planted in the library, one at a time, to see whether a test fails.

``sites.py`` finds every place where a fault can be planted, ``__main__.py`` plants a fixed random choice of them and
runs the tests of each file. ``results.json`` is what it found last; a mutation that no test notices has an explanation
there why it changes no result.

Each runs the tests that execute its lines (``runner.py``), and the others of its files if none of them fails. Neither
their order nor their limits depend on how busy the machine is: they are counted in CPU time.

    python -m tests.mutations           # all that have no result yet
    python -m tests.mutations --again   # and those that no test noticed
    python -m tests.mutations --again --cuda   # by the tests for GPUs, where tests.cuda_on_cpu can run them
"""
