"""Hostile files from a seed: valid ones truncated, bit-flipped and spliced, and forged ones with correct checksums."""

import gzip
import hashlib
import io
import json
import pickle
import tempfile
import zipfile
from pathlib import Path
from random import Random

import numpy as np

from benchmarks.forged_json import Raw, count, number, spoiled, text, value, written

NAMES = {"float64": "F64", "float32": "F32", "float16": "F16", "int32": "I32", "int64": "I64", "bool": "BOOL"}

# --- any file: its bytes ---


def cut_off(random, files):
    content = random.choice(files)
    return content[: random.randrange(len(content))]


def flipped(random, files):
    content = bytearray(random.choice(files))
    for _ in range(count(random, 8)):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return bytes(content)


def overwritten(random, files):
    content = bytearray(random.choice(files))
    start = random.randrange(len(content))
    content[start : start + count(random, 200)] = random.randbytes(count(random, 200))
    return bytes(content)


def spliced(random, files):
    first, second = random.choice(files), random.choice(files)
    return first[: random.randrange(len(first))] + second[random.randrange(len(second)) :]


def repeated(random, files):
    content = random.choice(files)
    start = random.randrange(len(content))
    stop = min(start + count(random, 500), len(content))
    return content[:stop] + content[start:stop] * count(random, 100) + content[stop:]


def foreign(random, files):
    """Return a file in the format of another program."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(print))
        archive.writestr("x.npy", random.choice(files))
    array = io.BytesIO()
    np.save(array, np.zeros(5))
    return random.choice(
        (
            *(b"", b"\0", b"\0" * 8, b"\xff" * 8, b"{}", random.randbytes(count(random, 5000)), packed.getvalue()),
            *(pickle.dumps(print, protocol=protocol) for protocol in (0, 2, 5)),
            *(
                b"\x89HDF\r\n\x1a\n" + bytes(100),
                b"\x89PNG\r\n\x1a\n" + bytes(50),
                b"GGUF\3\0\0\0" + bytes(60),
                b"%PDF-1.7\n",
            ),
            *(
                gzip.compress(random.choice(files)),
                array.getvalue(),
                b"a,b\n1,2\n",
                b"#!/bin/sh\nexit 1\n",
                b"PAR1" + bytes(40),
            ),
        )
    )


# --- safetensors: a header in JSON, then numbers ---


def parts_of(content):
    """Split a valid file into the metadata, the tensors' entries, and the numbers."""
    stop = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:stop])
    return header.pop("__metadata__"), header, content[stop:]


def joined(header, numbers):
    """Join a header, as JSON or as text, and numbers to a file."""
    raw = (header if isinstance(header, str) else written(header)).encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(8, "little") + raw + numbers


def other_length(random, files):
    """Write a wrong length of the header."""
    content = random.choice(files)
    near = int.from_bytes(content[:8], "little") + random.choice((-8, -1, 1, 8, 1000))
    announced = random.choice((near, 0, 1, len(content), len(content) - 8, 2**20, 10**8, 2**31, 2**63, 2**64 - 1))
    return announced.to_bytes(8, "little") + content[8:]


def other_container(random, files):
    """Put false tensors and false offsets into the outer header."""
    metadata, tensors, numbers = parts_of(random.choice(files))
    header = {"__metadata__": metadata, **tensors}
    kind = random.randrange(6)
    if kind < 3:
        header = spoiled(random, {key: header[key] for key in header}, count(random, 4))
    elif kind == 3:
        name = random.choice(list(tensors))
        n = len(numbers)
        start, stop = random.choice(((0, n + 1), (n, 0), (-1, n), (0, 2**63), (1, n), (0, n - 1), (0, 0), (n, n)))
        shape = random.choice(
            ([2**62, 4], [2**63, 2**63], [], [0], [0, 2**62], [-1], [n // 4, 1], [1] * 40, [2] * 2000)
        )
        entry = {"dtype": random.choice(("F32", "F64", "F16", "I64", "BF16", "Q4", 3)), "shape": shape}
        header[name] = entry | {"data_offsets": [start, stop]}
    elif kind == 4:
        n = count(random, 2000)
        header |= {f"{text(random)[:20]}{k}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for k in range(n)}
    else:
        whole = written(header)
        key = random.choice(('"__metadata__":', *(f'"{name}":' for name in tensors)))
        return joined(whole[:-1] + f",{key}{written(value(random))}}}", numbers)
    return joined(header, numbers)


# --- model files: a safetensors file with one tensor and one text of metadata ---


def sealed(header, numbers, shape=None, dtype="F32"):
    """Make a model file of a header and numbers, with the checksum that the format requires."""
    header = {key: part for key, part in header.items() if key != "sha256"}
    digest = hashlib.sha256(written(header).encode() + numbers).hexdigest()
    inner = written({**header, "sha256": digest})
    shape = [len(numbers) // (8 if dtype == "F64" else 4)] if shape is None else shape
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, len(numbers)]}
    return joined({"__metadata__": {"gpubp": inner}, "theta": entry}, numbers)


def header_of(content):
    metadata, tensors, numbers = parts_of(content)
    return json.loads(metadata["gpubp"]), tensors["theta"], numbers


def other_header(random, files, part=None):
    """Change a model file's header, or one part of it, and correct the checksum."""
    header, entry, numbers = header_of(random.choice(files))
    if part is None:
        header = spoiled(random, header, count(random, 4))
    else:
        tree = spoiled(random, {part: header[part]}, count(random, 4))
        header = {**header, **tree}
    return sealed(header, numbers, entry["shape"], entry["dtype"])


def other_network(random, files):
    """Describe networks that are gigantic, contradictory or full of connections, with numbers that may fit."""
    header, entry, numbers = header_of(random.choice(files))
    n, kind = len(numbers) // 4, random.randrange(8)
    network = dict(header["network"])
    if kind == 0:
        network["sizes"] = [10 ** count(random, 4000) for _ in range(count(random, 50))]
    elif kind == 1:
        network["sizes"] = [number(random) for _ in range(count(random, 5))]
    elif kind == 2:
        network["activation"] = [text(random) for _ in network["activation"]] or text(random)
        network[random.choice(("output_activation", "loss"))] = text(random)
    else:
        n_layers = count(random, 800)
        n = 2 * n_layers
        network = {
            "sizes": [1] * (n_layers + 1),
            "activation": ["relu"] * (n_layers - 1),
            "output_activation": "identity",
            "loss": "squared",
        }
        network |= {"bias": True, "skips": [], "ties": None}
        ends = [number, lambda random: random.randrange(n_layers + 1)]
        if kind == 3:
            drawn = (sorted(random.choices(range(n_layers + 1), k=2)) for _ in range(count(random, 3000)))
            pairs = {(below, above) for below, above in drawn if above > below + 1}
            n += len(pairs)
            network["skips"] = [list(pair) for pair in sorted(pairs)]
        elif kind == 4:
            draw = random.choice(ends)
            network["skips"] = [[draw(random), draw(random)] for _ in range(count(random, 3000))]
        elif kind == 5:
            network["ties"] = [random.randrange(-1, count(random, 2 * n)) for _ in range(n)]
        elif kind == 6:
            network["ties"] = [number(random) for _ in range(n)]
        else:
            network["ties"] = [text(random), *["b"] * (n - 1)]
        numbers = bytes(4 * n)
        header["theta"], entry = {"dtype": "float32", "shape": [n]}, {"dtype": "F32", "shape": [n]}
    format = 2 if "skips" in network else header["format"]
    return sealed({**header, "network": network, "format": format}, numbers, entry["shape"], entry["dtype"])


def other_numbers(random, files):
    """Put other numbers, or other shapes and types, under a header that describes them."""
    header, entry, numbers = header_of(random.choice(files))
    theta = np.frombuffer(numbers, "<f8" if entry["dtype"] == "F64" else "<f4").reshape(entry["shape"]).copy()
    kind = random.randrange(4)
    if kind == 0:
        theta.reshape(-1)[random.randrange(theta.size)] = random.choice((np.nan, np.inf, -np.inf, 3e38, 1e-45, -0.0))
    elif kind == 1:
        with np.errstate(all="ignore"):
            theta = theta.astype(random.choice(("<f8", "<f4", "<f2", "<i4", "<i8", "?")))
    elif kind == 2:
        theta = theta.reshape(random.choice(((1, -1), (-1, 1), (1, 1, -1), (theta.size,))))
    else:
        theta = random.choice((theta.reshape(-1)[:-1], theta[:0], np.zeros((0, theta.size), "<f4"), np.float32(1.0)))
    header["theta"] = {"dtype": theta.dtype.name, "shape": list(theta.shape)}
    return sealed(header, theta.tobytes(), list(theta.shape), NAMES[theta.dtype.name])


def other_text(random, files):
    """Change single characters of a model file's JSON to other characters of JSON."""
    metadata, tensors, numbers = parts_of(random.choice(files))
    inner = list(metadata["gpubp"])
    for _ in range(count(random, 5)):
        place = random.randrange(len(inner))
        inner[place] = random.choice(("", inner[place] * 2, *'[]{},:"0123456789.eE+- \\ut'))
    return joined({"__metadata__": {"gpubp": "".join(inner)}, **tensors}, numbers)


def changed(part):
    def of_part(random, files):
        return other_header(random, files, part)

    return of_part


def valid_models():
    """Make valid model files of several kinds, small enough that a random change hits something."""
    from gpubp import Network, initial_weights, save_model
    from gpubp.data.preprocessing import CategoryColumn, ClassTarget, NumberColumn, NumberTarget, Preprocessing, to_json
    from gpubp.nn.architectures import with_blocks

    numbers = (NumberColumn("age", 40.0, 10.0, 0.0), NumberColumn("pay", 3.0, 0.5, 2.5))
    town = CategoryColumn("town", ("Bonn", "Köln"))
    classes = Preprocessing((numbers[0], town), ClassTarget("buys", ("no", "yes")), ("-999",))
    whole = Preprocessing(numbers, ClassTarget("k", ("-1", "2", "30"), "int"))
    several = Preprocessing(numbers, NumberTarget(("a", "b"), (0.0, 1.0), (1.0, 2.0), (-9.0, -9.0), (9.0, 9.0)))
    about = {"task": "classification", "source": "shop.csv", "rows": {"train": 10, "test": 2}}
    about |= {
        "scores": {"test": {"accuracy": 0.5}},
        "optimizer": {"name": "adam", "beta_1": 0.9},
        "training": {"epochs": 3},
    }
    softmax = {"output_activation": "softmax", "loss": "cross_entropy"}
    wired = Network((2, 2, 2), skips=((0, 2),))
    made = [
        (Network((3, 4, 2), activation="tanh", **softmax), {"preprocessing": to_json(classes), "about": about}, 0),
        (Network((2, 3, 3, 3), **softmax), {"preprocessing": to_json(whole), "about": about}, 0),
        (Network((2, 2), bias=False), {"preprocessing": to_json(several)}, 0),
        (
            Network((2, 3, 1), activation="leaky_relu(0.1)", loss="huber(0.5)"),
            {"about": {"source": "the set xor"}},
            [0, 1],
        ),
        (with_blocks(wired, 1, [(1, 1), (1, 1)]), {"preprocessing": to_json(several), "about": about}, 0),
    ]
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for network, given, seed in made:
            path = Path(folder, "model")
            save_model(path, network, initial_weights(network, seed), **given)
            files.append(path.read_bytes())
    return files


def saying(inner):
    """Make a model file with these facts about its model."""
    header, entry, numbers = header_of(valid_models()[0])
    return sealed({**header, "about": inner}, numbers, entry["shape"])


def with_network(n_parameters, **parts):
    """Make a model file of a network whose parameters are zeros."""
    network = {
        "activation": [],
        "output_activation": "identity",
        "loss": "squared",
        "bias": True,
        "skips": [],
        "ties": None,
    } | parts
    header = {"format": 2, "version": "1", "preprocessing": None, "about": {}, "network": network}
    header["theta"] = {"dtype": "float32", "shape": [n_parameters]}
    return sealed(header, bytes(4 * n_parameters))


def many(part, size):
    """Make a model file with a list of about `size` bytes that repeats one part."""
    return saying({"a": Raw(f"[{','.join([part] * (size // (len(part) + 1)))}]")})


def in_layers(n_layers, **parts):
    skips = parts.get("skips", [])
    sizes, activation = [1] * (n_layers + 1), ["relu"] * (n_layers - 1)
    return with_network(2 * n_layers + len(skips), sizes=sizes, activation=activation, **parts)


def tied(n, ties):
    return with_network(n, sizes=[n - 1, 1], ties=ties)


# --- checkpoints: a safetensors file with several tensors and one text of metadata ---


def sealed_checkpoint(header, tensors):
    """Make a checkpoint of a header and arrays, with the checksum that the format requires."""
    header = {key: part for key, part in header.items() if key not in ("sha256", "arrays")}
    header["arrays"] = {name: {"shape": list(part.shape), "dtype": part.dtype.name} for name, part in tensors.items()}
    digest = hashlib.sha256(written(header).encode())
    entries, numbers = {}, b""
    for name in sorted(tensors):
        content, array = tensors[name].tobytes(), tensors[name]
        digest.update(content)
        entry = {"dtype": NAMES[array.dtype.name], "shape": list(array.shape)}
        entries[name] = entry | {"data_offsets": [len(numbers), len(numbers) + len(content)]}
        numbers += content
    inner = written({**header, "sha256": digest.hexdigest()})
    return joined({"__metadata__": {"gpubp_checkpoint": inner}, **entries}, numbers)


def checkpoint_of(content):
    metadata, tensors, numbers = parts_of(content)
    types = {name: dtype for dtype, name in NAMES.items()}
    arrays = {}
    for name, entry in tensors.items():
        start, stop = entry["data_offsets"]
        arrays[name] = np.frombuffer(numbers[start:stop], types[entry["dtype"]]).reshape(entry["shape"])
    return json.loads(metadata["gpubp_checkpoint"]), arrays


def other_state(random, files):
    """Change a checkpoint's header, and correct the checksum."""
    header, arrays = checkpoint_of(random.choice(files))
    part = random.choice(("training_state", "training_state", "order", "settings", "version", "format"))
    tree = spoiled(random, {part: header[part]}, count(random, 3))
    return sealed_checkpoint({**header, **tree}, arrays)


def other_arrays(random, files):
    """Put other numbers, shapes and types into a checkpoint, and correct the checksum."""
    header, arrays = checkpoint_of(random.choice(files))
    for _ in range(count(random, 4)):
        name = random.choice(list(arrays))
        array, kind = arrays[name].copy(), random.randrange(6)
        if kind == 0 and array.size:
            array = array.reshape(-1)
            wild = (0, 1, -1, 2**62) if array.dtype.kind in "iub" else (np.nan, np.inf, -np.inf, 3e38, -1.0, 1e-45)
            array[random.randrange(array.size)] = random.choice(wild)
            arrays[name] = array.reshape(arrays[name].shape)
        elif kind == 1:
            with np.errstate(all="ignore"):
                arrays[name] = array.astype(random.choice(("<f8", "<f4", "<i8", "?", "<f2")))
        elif kind == 2:
            shapes = ((0,), (array.size,), (1, *array.shape), (*array.shape, 1), (2, *array.shape))
            arrays[name] = np.resize(array, random.choice(shapes))
        elif kind == 3:
            arrays[random.choice((text(random)[:50] or "x", *arrays))] = array
        elif kind == 4 and len(arrays) > 1:
            del arrays[name]
        else:
            arrays[name] = np.resize(array, (count(random, 5000), *array.shape[1:]))
    arrays.pop("__metadata__", None)
    return sealed_checkpoint(header, arrays)


def checkpointed_runs():
    """Yield the arguments of gpubp.train for each run whose checkpoints are valid here."""
    import gpubp

    x, targets = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.asarray([[0.0], [1.0], [1.0], [0.0]])
    network = gpubp.Network((2, 3, 1), activation="tanh")
    options = {"device": "cpu", "batch_size": 2, "epochs": 4}
    yield (network, x, targets), options | {"validation_data": (x, targets), "patience": 50}
    yield (
        (network, x, targets),
        options | {"seed": [0, 1, 2], "stop_when": gpubp.all_correct, "optimizer": gpubp.momentum(0.1, 0.9)},
    )
    yield (network, x, targets), options | {"optimizer": gpubp.lbfgs(), "batch_size": "full"}


def valid_checkpoints():
    """Make valid checkpoints, one of each run."""
    import gpubp
    from gpubp.training.checkpoints import checkpoints_in

    files = []
    for given, options in checkpointed_runs():
        with tempfile.TemporaryDirectory() as folder:
            gpubp.train(*given, checkpoint=folder, **{**options, "epochs": 2})
            files.append(checkpoints_in(folder)[-1].read_bytes())
    return files


LARGE = {
    "many lists": lambda size: many("[]", size),
    "many objects": lambda size: many("{}", size),
    "deep objects": lambda size: many('{"":' * 50 + "0" + "}" * 50, size),
    "many numbers": lambda size: many("300", size),
    "long texts": lambda size: saying({"a": "\x1b" * (size // 14), "source": "x" * (size // 2)}),
    "many names": lambda size: saying({f"\x1b{k}": 1 for k in range(size // 20)}),
    "ties": lambda size: tied(size // 12, [k // 2 for k in range(size // 12)]),
    "ties of one number": lambda size: tied(size // 6, [0] * (size // 6)),
    "ties of texts": lambda size: tied(size // 12, ["x" * (size // 12), *["y"] * (size // 12 - 1)]),
    "layers": lambda size: in_layers(size // 20),
    "skips": lambda size: in_layers(size // 40, skips=[[k, k + 2] for k in range(size // 40 - 1)]),
    "a slow name": lambda size: with_network(3, sizes=[2, 1], output_activation=f"relu{' ' * size}!"),
    "many tensors": lambda size: joined(
        {f"{k}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for k in range(size // 55)}, b""
    ),
    "a header alone": lambda size: joined(" " * size, b""),
}
"""Model files of about this many bytes, each the worst of its kind."""


def large(random, files):
    return random.choice(list(LARGE.values()))(max(count(random, 1_000_000), 200))


BYTES = {f.__name__: f for f in (cut_off, flipped, overwritten, spliced, repeated, foreign)}
CONTAINER = {f.__name__: f for f in (other_length, other_container)}
MODEL = {
    **BYTES,
    **CONTAINER,
    **{f.__name__: f for f in (other_header, other_network, other_numbers, other_text, large)},
    **{f"other_{part}": changed(part) for part in ("preprocessing", "about", "theta", "version")},
}
CHECKPOINT = {**BYTES, **CONTAINER, **{f.__name__: f for f in (other_state, other_arrays)}}
"""Mutations of valid files, by name: each takes a random generator and the files, and returns one file."""


def file_number(kind, mutations, files, seed, n):
    """Return the n-th file of a seed: the name of its mutation, and its bytes."""
    random = Random(f"{kind} {seed} {n}")
    name = random.choice(list(mutations))
    return name, mutations[name](random, files)
