"""Run the 1986 paper's studies from Python and write a report: here two short ones, into a temporary folder.

`python examples/reproduce_the_paper.py docs` runs all of them in full, in a quarter of an hour, and writes docs/paper/
and the part of docs/paper.md between the two marks; `docs family-trees` runs that study alone and replaces its results.
From the existing data, `docs text` writes only that part, and `docs pictures` draws the pictures again.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

from gpubp.io.atomic_files import write_atomically
from gpubp.paper.report import DATA, as_json, markdown, new_results, pictures_of, study_results, write_report
from gpubp.paper.studies import STUDIES

MARKED = re.compile(r"(<!-- results -->\n).*(<!-- end -->\n)", re.DOTALL)


def run(names, n_networks, sweeps):
    """Run studies; return their results and their pictures."""
    results, pictures = new_results(f"python {' '.join(sys.argv)}", names), {}
    for name in names:
        found = STUDIES[name].run(n_networks, sweeps=sweeps)
        if found.stop_reason == "interrupted":
            sys.exit("interrupted: nothing was written")
        study = study_results(STUDIES[name], found)
        results["studies"].append(study)
        pictures |= pictures_of(study, STUDIES[name].drawings)
        print(f"{name}: {found.verdict.reached}, {found.verdict.why} ({found.seconds:.1f} s)", flush=True)
    return results, pictures


if len(sys.argv) == 1:
    with tempfile.TemporaryDirectory() as folder:
        write_report(Path(folder), *run(["xor", "negation"], 50, 1000))
        print(*sorted(path.name for path in Path(folder).iterdir()))
else:
    docs, chosen = Path(sys.argv[1]), sys.argv[2:]
    data = docs / "paper" / DATA
    results, pictures = json.loads(data.read_text(encoding="utf-8")), {}
    if chosen == ["pictures"]:
        for study in results["studies"]:
            pictures |= pictures_of(study, STUDIES[study["name"]].drawings)
    elif chosen != ["text"]:
        new, pictures = run(chosen or list(STUDIES), 1000, None)
        replaced = {study["name"]: study for study in new["studies"]}
        if chosen:
            new = results | {"studies": [replaced.get(study["name"], study) for study in results["studies"]]}
        results = new
        write_atomically(data, as_json(results).encode())
    for file, png in pictures.items():
        write_atomically(docs / "paper" / file, png)
    shown = {picture["file"] for study in results["studies"] for picture in study["pictures"]}
    for path in (docs / "paper").glob("*.png"):
        if path.name not in shown:
            path.unlink()
    text = markdown(results, level=2, folder="paper/")
    page = (docs / "paper.md").read_text(encoding="utf-8")
    write_atomically(docs / "paper.md", MARKED.sub(lambda mark: f"{mark[1]}\n{text}\n{mark[2]}", page).encode())
