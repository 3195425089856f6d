"""PyTorch: eager with its fused optimizer, compiled, or on a GPU a full batch captured as one CUDA graph."""

import os

import torch
from torch import nn
from torch.nn import functional

from benchmarks.problem import MOMENTUM

ACTIVATIONS = {"relu": nn.ReLU, "logistic": nn.Sigmoid}
ONE_BY_ONE = True  # one network of a stack is trained, and its time multiplied by their number
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))


def step(problem, device="cpu", compiled=False, graph=False):
    """Train with the usual loop; the data are tensors on the device, already divided into batches."""
    softmax, matmul = problem.spec["output"] == "softmax", problem.spec.get("matmul", "float32")
    torch.backends.cuda.matmul.allow_tf32 = matmul == "tf32"
    batches = [
        (torch.from_numpy(x).to(device), torch.from_numpy(targets.argmax(axis=1) if softmax else targets).to(device))
        for x, targets in problem.batches
    ]
    model = _model(problem).to(device)
    first_weights = [parameter.detach().clone() for parameter in model.parameters()]

    def error(x, targets):
        with torch.autocast(device, torch.bfloat16, enabled=matmul == "bfloat16"):
            total = model(x)
        if matmul == "bfloat16":
            total = total.float()
        if softmax:
            return functional.cross_entropy(total, targets)
        return functional.binary_cross_entropy_with_logits(total, targets, reduction="sum") / len(x)

    if compiled:
        error = torch.compile(error, mode="reduce-overhead" if device == "cuda" else None)

    def run_epoch(optimizer):
        total = torch.zeros((), device=device)
        for x, targets in batches:
            optimizer.zero_grad(set_to_none=True)
            value = error(x, targets)
            value.backward()
            optimizer.step()
            total += value.detach()
        return total / len(batches)

    def restart():
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), first_weights, strict=True):
                parameter.copy_(value)

    def run(epochs):
        restart()
        optimizer = _optimizer(problem.spec, model.parameters())
        return [float(run_epoch(optimizer)) for _ in range(epochs)]

    return _captured(problem, model, run_epoch, restart) if graph else run


def predict(problem, device="cpu", compiled=False):
    """Compute outputs, NumPy in and NumPy out."""
    output = nn.Softmax(dim=1) if problem.spec["output"] == "softmax" else nn.Sigmoid()
    model = nn.Sequential(*_model(problem), output).to(device)
    forward = torch.compile(model) if compiled else model

    def outputs(x):
        with torch.inference_mode():
            return forward(torch.from_numpy(x).to(device)).cpu().numpy()

    return outputs


def gpu_bytes():
    """Return the peak of the GPU memory in use."""
    return torch.cuda.max_memory_allocated()


def _captured(problem, model, run_epoch, restart):
    """Capture an epoch, and replay it from the first weights and a fresh optimizer state."""
    optimizer = _optimizer(problem.spec, model.parameters(), capturable=True)
    warm_up = torch.cuda.Stream()
    warm_up.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm_up):
        run_epoch(optimizer)  # makes the optimizer's state and the libraries' workspaces
    torch.cuda.current_stream().wait_stream(warm_up)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = run_epoch(optimizer)

    def run(epochs):
        restart()
        for state in optimizer.state.values():
            for tensor in state.values():
                tensor.zero_()
        curve = []
        for _ in range(epochs):
            graph.replay()
            curve.append(float(value))
        return curve

    return run


def _model(problem):
    layers = []
    for w, b in problem.weights:
        linear = nn.Linear(*w.shape, dtype=torch.from_numpy(w).dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, ACTIVATIONS[problem.spec["activation"]]()]
    return nn.Sequential(*layers[:-1])


def _optimizer(spec, parameters, capturable=False):
    if spec["optimizer"] == "adam":
        return torch.optim.Adam(parameters, lr=spec["rate"], fused=True, capturable=capturable)
    return torch.optim.SGD(parameters, lr=spec["rate"], momentum=MOMENTUM, fused=True)
