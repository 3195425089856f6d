"""A lower bound for a large step: each of its matrix products by cuBLASLt's fastest algorithm."""

from functools import partial

import torch
from nvmath.bindings.cublas import ComputeType
from nvmath.linalg.advanced import Matmul

from benchmarks.with_products import products

COMPUTED = {"float32": "COMPUTE_32F", "tf32": "COMPUTE_32F_FAST_TF32", "bfloat16": "COMPUTE_32F"}
TRIED = 16  # algorithms for a product


def step(problem, device="cuda"):
    """Compute only the products of a step; operands are bfloat16 if the products are to be."""
    matmul = problem.spec.get("matmul", "float32")
    kind = {"dtype": torch.bfloat16 if matmul == "bfloat16" else torch.float32, "device": device}
    x, *weights = (torch.from_numpy(a).to(**kind) for a in (problem.batches[0][0], *(w for w, _ in problem.weights)))
    planned = []
    for a, b, _ in [pair for way in products(x, weights, partial(torch.randn, **kind)) for pair in way]:
        product = Matmul(a, b, options={"compute_type": int(getattr(ComputeType, COMPUTED[matmul]))})
        product.plan(preferences={"limit": TRIED})
        product.autotune(iterations=5)
        planned.append(product)

    def run(epochs):
        for _ in range(epochs * problem.spec["batches"]):
            for product in planned:
                product.execute()
        torch.cuda.synchronize()

    return run
