"""Run the 1986 paper's studies from Python and write a report: here two short ones, into a temporary folder.

`python examples/reproduce_the_paper.py docs` runs all of them in full, in a quarter of an hour, and writes docs/paper/
and the part of docs/paper.md between the two marks; from the existing data, `docs text` writes only that part, and
`docs pictures` draws the histograms again.
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
        pictures |= pictures_of(study, found.pictures)
        print(f"{name}: {found.verdict.reached}, {found.verdict.why} ({found.seconds:.1f} s)", flush=True)
    return results, pictures


if len(sys.argv) == 1:
    with tempfile.TemporaryDirectory() as folder:
        write_report(Path(folder), *run(["xor", "negation"], 50, 1000))
        print(*sorted(path.name for path in Path(folder).iterdir()))
else:
    docs = Path(sys.argv[1])
    if sys.argv[2:] == ["pictures"]:
        for study in json.loads((docs / "paper" / DATA).read_text(encoding="utf-8"))["studies"]:
            for file, png in pictures_of(study, ()).items():
                write_atomically(docs / "paper" / file, png)
    elif sys.argv[2:] != ["text"]:
        results, pictures = run(list(STUDIES), 1000, None)
        for path in (docs / "paper").glob("*.png"):
            path.unlink()
        for file, content in {DATA: as_json(results).encode(), **pictures}.items():
            write_atomically(docs / "paper" / file, content)
    results = json.loads((docs / "paper" / DATA).read_text(encoding="utf-8"))
    text = markdown(results, level=2, folder="paper/")
    page = (docs / "paper.md").read_text(encoding="utf-8")
    write_atomically(docs / "paper.md", MARKED.sub(lambda mark: f"{mark[1]}\n{text}\n{mark[2]}", page).encode())
