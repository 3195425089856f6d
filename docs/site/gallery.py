"""The gallery: each script under examples/ with what it prints and draws, run by the build."""

import ast
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from links import toctree

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
RUNNER = Path(__file__).with_name("run_example.py")
SPELLED = {"scikit learn": "scikit-learn", "onnx": "ONNX", "xor": "XOR", "cpu": "CPU", "gpu": "GPU", "paper": "paper"}
TITLE = "# Gallery\n\nWhat the scripts under `examples/` print and draw; each runs as it is."
ONE_THREAD = {"GPUBP_DEVICE": "cpu", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}


def pages(folder):
    """Run all examples; return the pages that show them, and write their pictures to ``folder``."""
    found, cards = {}, []
    (folder / "gallery").mkdir()
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        results = list(executor.map(run, SCRIPTS))
    for script, (printed, pictures) in zip(SCRIPTS, results, strict=True):
        images = []
        for k, (alt, content) in enumerate(pictures, 1):
            file = folder / "gallery" / f"{script.stem}-{k}.png"
            file.write_bytes(content)
            images.append(f"![{alt or title_of(script)}]({file.name})")
        found[f"gallery/{script.stem}.md"] = page_of(script, printed, images)
        cards.append(card_of(script, images))
    names = [script.stem for script in SCRIPTS]
    found["gallery/index.md"] = "\n\n".join([TITLE, "::::{grid} 1 2 2 3\n:gutter: 3", *cards, "::::", toctree(names)])
    return found


def card_of(script, images):
    head = [f":::{{grid-item-card}} {title_of(script)}", f":link: {script.stem}", ":link-type: doc"]
    return "\n".join([*head, "", *images[:1], "", " ".join(about(script).partition("\n\n")[0].split()), ":::"])


def run(script):
    """Return what a script prints, and the pictures that it saves, with the text for those who cannot see them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "error", str(RUNNER), str(script), folder]
        done = subprocess.run(command, env=os.environ | ONE_THREAD, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{script.name} failed:\n{done.stderr}")
        paths = sorted(Path(folder).glob("???.png"))
        return done.stdout, [(path.with_suffix(".txt").read_text(), path.read_bytes()) for path in paths]


def page_of(script, printed, images):
    code = script.read_text(encoding="utf-8")
    body = code.split('"""', 2)[2].strip()  # without the docstring, which is the text
    parts = [f"# {title_of(script)}", about(script), *images, f"```python\n{body}\n```"]
    if printed.strip():
        parts += ["It prints:", f"```text\n{printed.strip()}\n```"]
    return "\n\n".join([*parts, f"The script is `examples/{script.name}`."])


def title_of(script):
    title = script.stem.replace("_", " ")
    for word, spelled in SPELLED.items():
        title = re.sub(rf"\b{word}\b", spelled, title)
    return title[:1].upper() + title[1:]


def about(script):
    """Return a script's docstring."""
    return ast.get_docstring(ast.parse(script.read_text(encoding="utf-8")))
