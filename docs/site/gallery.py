"""The gallery: each script under examples/ with what it prints, draws and writes as HTML, run by the build."""

import ast
import base64
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from links import toctree
from tests import browser

EXAMPLES = Path(__file__).parents[2] / "examples"
RUNNER = Path(__file__).with_name("run_example.py")
SECTIONS = {
    "First models": {
        "digits": "Handwritten digits",
        "from_scikit_learn": "The same model as scikit-learn's",
        "table": "A table with gaps and categories",
        "report": "A report to keep and send",
    },
    "Training": {
        "early_stopping": "Early stopping on your own data",
        "schedules_and_callbacks": "Schedules and callbacks",
        "second_order": "First- and second-order optimizers",
        "check_gradient": "Gradients checked by differences",
    },
    "Tables and estimators": {
        "table_in_scikit_learn": "A table in scikit-learn's tools",
        "pipeline_with_a_frame": "A data frame in a pipeline",
        "calibration": "Calibrated probabilities",
        "deploy_with_onnx": "Predictions without gpubp, by ONNX",
    },
    "Many networks": {
        "search": "A search that trains all candidates at once",
        "stack_of_networks": "Sixteen learning rates in one call",
    },
    "Devices": {
        "same_on_every_device": "The same results on every device",
        "estimator_on_cpu_and_gpu": "An estimator on two devices",
    },
    "The paper of 1986": {
        "symmetry": "Mirror symmetry",
        "paper_xor": "Exclusive or",
        "encoder": "The 8-3-8 encoder",
        "reproduce_the_paper": "Its studies, run again",
        "family_search": "A recipe for the family trees",
    },
    "Pictures": {"pictures": "What gpubp.plotting draws"},
}
"""The headings of the gallery; below each, the scripts and their titles."""

TITLES = {name: title for section in SECTIONS.values() for name, title in section.items()}
WIDE = "---\nhtml_theme.sidebar_secondary.remove: true\n---"  # no list of headings beside the cards
TITLE = "# Gallery\n\nWhat the scripts under `examples/` print and draw; each runs as it is."
ONE_THREAD = {"GPUBP_DEVICE": "cpu", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}


class Result(NamedTuple):
    """What a script prints, its pictures with the text for those who cannot see them, and the HTML page it writes."""

    printed: str
    pictures: list[tuple[str, bytes]]
    html: bytes = b""


def pages(folder, extra):
    """Run all examples; return the pages that show them.

    Their pictures are written to ``folder``, and what the site has as it is, HTML pages, to ``extra``.
    """
    found, cards, scripts = {}, {}, [EXAMPLES / f"{name}.py" for name in TITLES]
    (folder / "gallery").mkdir()
    (extra / "gallery").mkdir(parents=True)
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        results = list(executor.map(run, scripts))
    for script, result in zip(scripts, results, strict=True):
        pictures, images, link = list(result.pictures), [], ""
        if result.html:
            written = extra / "gallery" / f"{script.stem}-page.html"
            written.write_bytes(result.html)
            link = f'<a href="{written.name}">The page that it writes</a>'
            pictures += pictures_of_page(written)
        for k, (alt, content) in enumerate(pictures, 1):
            file = folder / "gallery" / f"{script.stem}-{k}.png"
            file.write_bytes(content)
            images.append(f"![{alt or title_of(script)}]({file.name})")
        found[f"gallery/{script.stem}.md"] = page_of(script, result.printed, [link, *images] if link else images)
        cards[script.stem] = card_of(script, images)
    parts = [WIDE, TITLE]
    for heading, section in SECTIONS.items():
        shown = [cards[name] for name in section]
        parts += [f"## {heading}", "::::{grid} 1 2 3 4\n:gutter: 3", *shown, "::::", toctree(section)]
    return found | {"gallery/index.md": "\n\n".join(parts)}


def card_of(script, images):
    head = [f":::{{grid-item-card}} {title_of(script)}", f":link: {script.stem}", ":link-type: doc"]
    return "\n".join([*head, "", *images[:1], "", " ".join(about(script).partition("\n\n")[0].split()), ":::"])


def pictures_of_page(path):
    """Return the top of an HTML page as a picture with a text; nothing if there is no browser."""
    chromium = browser.find()
    if not chromium:
        return []
    with (
        tempfile.TemporaryDirectory() as folder,
        browser.opened(chromium, Path(folder)) as opened,
        opened.page() as page,
    ):
        page.screen(1000, 800, scale=2)
        page.open(path.as_uri())
        content = page.send("Page.captureScreenshot")["data"]
    return [("The top of the page that the script writes", base64.b64decode(content))]


def run(script):
    """Run a script in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "error", str(RUNNER), str(script), folder]
        environment = os.environ | ONE_THREAD | {"TMPDIR": folder}
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{script.name} failed:\n{done.stderr}")
        paths = sorted(Path(folder).glob("???.png"))
        pictures = [(path.with_suffix(".txt").read_text(), path.read_bytes()) for path in paths]
        return Result(done.stdout, pictures, *(path.read_bytes() for path in Path(folder).rglob("*.html")))


def page_of(script, printed, images):
    code = script.read_text(encoding="utf-8")
    body = code.split('"""', 2)[2].strip()  # without the docstring, which is the text
    parts = [f"# {title_of(script)}", about(script), *images, f"```python\n{body}\n```"]
    if printed.strip():
        parts += ["It prints:", f"```text\n{printed.strip()}\n```"]
    return "\n\n".join([*parts, f"The script is `examples/{script.name}`."])


def title_of(script):
    return TITLES[script.stem]


def about(script):
    """Return a script's docstring."""
    return ast.get_docstring(ast.parse(script.read_text(encoding="utf-8")))
