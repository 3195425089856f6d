"""A contender's process: does one workload, and times it again for each requested round.

The first line of standard input says what to do, each further line for how many seconds to do it; each is answered by
one line of JSON.
"""

import importlib
import json
import os
import signal
import sys
import time
import traceback


def main():
    """Answer line by line, until standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries is not an answer
    die_first()
    alarm, measure = getattr(signal, "alarm", lambda seconds: None), None  # ends a process that takes too long
    for line in sys.stdin:
        request = json.loads(line)
        alarm(request["limit"])
        try:
            if measure:
                answer = measure(request["seconds"])
            else:
                answer, measure = prepare(request)
        except Exception as error:
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {error}".split("\n")[0][:200]}
        alarm(0)
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


def prepare(request):
    """Do the work for the first time; return facts, and a function that times it again."""
    began = time.perf_counter()
    if request["kind"] == "import":
        exec(request["imports"], {})
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "first_call": seconds} | memory(0), None
    module = importlib.import_module(f"benchmarks.with_{request['module']}")
    spec, options = request["spec"], request["options"]
    if request["kind"] == "fit":
        facts, measure = _fit(module, spec, options)
    else:
        from benchmarks.problem import make_problem

        problem = make_problem(spec)
        facts, measure = (_predict if request["kind"] == "predict" else _step)(module, problem, options)
    if request["kind"] == "start":
        seconds = time.perf_counter() - began
        return facts | {"seconds": seconds, "first_call": seconds}, None
    if options.get("device") == "cuda" and hasattr(module, "gpu_bytes"):
        facts["gpu_bytes"] = module.gpu_bytes()
    return facts, measure


LONG = 5.0  # an estimate of the time is not repeated if it took longer, in seconds
FEWEST = 8  # minimum epochs of a timed run


def _step(module, problem, options):
    spec, before, began = problem.spec, resident(), time.perf_counter()
    run = module.step(problem, **options)
    curve = run(1)
    first = time.perf_counter() - began
    for _ in range(2):  # the first time may include compilation
        again = time.perf_counter()
        curve = run(spec["epochs"])
        once = time.perf_counter() - again
        if once > LONG:
            break

    n_networks = spec.get("stack", 1) if getattr(module, "ONE_BY_ONE", False) else 1

    def measure(seconds):
        # one long run, so that one-time work counts as little as it does for a user
        epochs = max(FEWEST, round(seconds * spec["epochs"] / once))
        while True:
            start = time.perf_counter()
            run(epochs)
            took = time.perf_counter() - start
            if took > seconds / 2:
                return {"seconds": took * n_networks / (epochs * spec["batches"])}
            epochs = round(epochs * min(10, seconds / took))  # one-time work dominated the short runs

    curve = curve and [float(error) for error in curve]
    return {"curve": curve, "first_call": first} | memory(before), measure


def _predict(module, problem, options):
    before, began = resident(), time.perf_counter()
    outputs = module.predict(problem, **options)
    y = outputs(problem.x)
    first, again = time.perf_counter() - began, time.perf_counter()
    outputs(problem.x)
    once = time.perf_counter() - again

    def measure(seconds):
        calls = max(1, round(seconds / once))
        start = time.perf_counter()
        for _ in range(calls):
            outputs(problem.x)
        return {"seconds": (time.perf_counter() - start) / calls}

    curve = y if y is None else y[:20].ravel().tolist()
    return {"curve": curve, "first_call": first} | memory(before), measure


def _fit(module, spec, options):
    from benchmarks.problem import make_table

    x, x_new, y, y_new = make_table(spec)
    estimator, before = module.estimator(spec["parameters"], **options), resident()

    def fit():
        for _ in range(spec.get("fits", 1)):
            estimator.fit(x, y)
        for _ in range(spec.get("partial", 0)):
            estimator.partial_fit(x, y)

    began = time.perf_counter()
    fit()
    first = time.perf_counter() - began
    curve = [estimator.loss_] if estimator.solver == "lbfgs" else estimator.loss_curve_[:10]  # scikit-learn's has none
    facts = {"curve": [float(error) for error in curve], "first_call": first} | memory(before)
    facts |= {"epochs": int(estimator.n_iter_), "accuracy": float(estimator.score(x_new, y_new)), "tested": len(y_new)}

    clock = getattr(time, spec.get("clock", "perf_counter"))

    def measure(seconds):
        fits, start = 0, clock()
        while not fits or clock() - start < seconds:
            fit()
            fits += 1
        return {"seconds": (clock() - start) / fits}

    return facts, measure


def memory(before):
    """Return the peak memory of this process, and its growth since before the work."""
    peak = _status("VmHWM")  # getrusage would include the parent's, from before exec
    return {"peak_bytes": peak, "grown_bytes": peak and peak - before}


def resident():
    """Return the resident memory; reset its peak if the system allows it."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass
    return _status("VmRSS") or 0


def _status(name):
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(f"{name}:"))
    except (OSError, StopIteration):
        return None


def die_first():
    """Make the system end this process first if memory runs out."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass


if __name__ == "__main__":
    main()
