"""Run the script given as the first argument; keep each picture that it saves in the folder given as the second."""

import runpy
import sys
from pathlib import Path

import matplotlib.figure

script, folder = sys.argv[1], Path(sys.argv[2])
save = matplotlib.figure.Figure.savefig


def alt_text(figure):
    """Describe a figure by its titles and axes."""
    parts = [figure.get_suptitle()]
    for ax in figure.axes:
        parts += [ax.get_title(), " over ".join(filter(None, (ax.get_ylabel(), ax.get_xlabel())))]
    return "; ".join(dict.fromkeys(part.replace("\n", " ") for part in parts if part.strip()))


def keep(figure, *arguments, **keywords):
    save(figure, *arguments, **keywords)
    at = folder / f"{len(list(folder.glob('*.png'))):03d}"
    save(figure, at.with_suffix(".png"), dpi=150, bbox_inches="tight")
    at.with_suffix(".txt").write_text(alt_text(figure), encoding="utf-8")


matplotlib.figure.Figure.savefig = keep
sys.argv = [script]
runpy.run_path(script, run_name="__main__")
