"""The 1986 paper's studies from Python, and a report of them: here two of them, quickly, in a folder that passes away.

`python examples/reproduce_the_paper.py docs` runs all of them in full, some minutes long, for the page docs/paper.md:
data and pictures go to docs/paper/, the text between the two marks of the page, which is written by hand around them.
"""

import sys
import tempfile
from pathlib import Path

from gpubp.paper.report import DATA, as_json, markdown, new_results, pictures_of, study_results, write_report
from gpubp.paper.studies import STUDIES
from gpubp.persistence import write_whole

docs = Path(sys.argv[1]) if len(sys.argv) > 1 else None
names, n_networks, sweeps = (list(STUDIES), 1000, None) if docs else (["xor", "encoder"], 50, 1000)

results, pictures = new_results(f"python {' '.join(sys.argv)}", names), {}
for name in names:
    found = STUDIES[name].run(n_networks, sweeps=sweeps)
    told = study_results(STUDIES[name], found, sweeps)
    results["studies"].append(told)
    pictures |= pictures_of(told, found.pictures)
    print(f"{name}: {found.verdict.reached}, {found.verdict.why} ({found.seconds:.1f} s)", flush=True)

if docs is None:
    with tempfile.TemporaryDirectory() as folder:
        write_report(Path(folder), results, pictures)
        print(*sorted(path.name for path in Path(folder).iterdir()))
else:
    for file, content in {DATA: as_json(results).encode(), **pictures}.items():
        write_whole(docs / "paper" / file, content)
    page, begin, end = docs / "paper.md", "<!-- results: begin -->\n", "<!-- results: end -->\n"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    text = before + begin + markdown(results, level=2, folder="paper/") + end + rest.partition(end)[2]
    write_whole(page, text.encode())
