"""Build the site: gather pages in build/site-source/, and run Sphinx on them, strictly, into build/site/.

Pages are docs/**/*.md and some from the top of the repository. Others are made from the code: the gallery, for which
all examples run, and the reference. The tutorials are notebooks too, which are run. ``--quick`` runs neither.
"""

import os
import re
import shutil
import sys
from pathlib import Path

import topics

import commands
import gallery
import links
import notebooks
import reference

ROOT = Path(__file__).parents[2]
SOURCE, OUT = ROOT / "build" / "site-source", ROOT / "build" / "site"
EXTRA = ROOT / "build" / "site-extra"

SECTIONS = {
    "tutorials": """Tutorials
        tutorials/table
        tutorials/from_scikit_learn
        tutorials/gpu
        tutorials/many_networks
        tutorials/larger_than_memory
        tutorials/paper""",
    "guides": """Guides
        tables
        command_line
        devices
        many_networks
        scaling
        callbacks
        deployment
        files
        reports
        pictures
        backends
        security
        performance
        table_benchmark
        cuda_budget
        gpu_benchmark
        agreement
        function_errors
        types
        troubleshooting""",
    "migration": """Migration
        scikit_learn
        accel
        migration/skorch
        migration/keras
        migration/pytabkit
        when_not""",
    "about": """About
        paper
        glossary
        architecture
        contributing
        changelog
        security_policy""",
}
"""The sections of the site that are lists of pages: the name of the list, its title, and a line for each page."""

TOP = ("start", "tutorials", "guides", "gallery/index", "reference/index", "migration", "about")
"""What the bar at the top of each page leads to."""


def main():
    from sphinx.cmd.build import build_main

    is_quick = "--quick" in sys.argv
    for folder in (SOURCE, OUT, EXTRA):
        shutil.rmtree(folder, ignore_errors=True)
    EXTRA.mkdir(parents=True)
    shutil.copytree(ROOT / "docs", SOURCE, ignore=shutil.ignore_patterns("site", "*.json", "*.md"))
    paths = [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in links.PLACES)]
    texts = {links.place_of(path.relative_to(ROOT).as_posix()): path.read_text(encoding="utf-8") for path in paths}
    shown = {"gallery/index.md": "# Gallery\n"} if is_quick else gallery.pages(SOURCE, EXTRA)
    shown |= commands.pages()
    places = {*texts, *shown}
    pages = {place: links.for_the_site(text, place, places, SOURCE) for place, text in texts.items()} | shown
    tutorials = {Path(place).stem: text for place, text in pages.items() if place.startswith("tutorials/")}
    if not is_quick:
        notebooks.write(tutorials, SOURCE / "notebooks")
        pages |= {f"tutorials/{name}.md": notebooks.with_links(text, name) for name, text in tutorials.items()}
    for name, section in SECTIONS.items():
        title, *names = map(str.strip, section.splitlines())
        pages[f"{name}.md"] = listing(title, {f"{page}.md": pages[f"{page}.md"] for page in names})
    pages |= reference.pages()
    pages["index.md"] += links.toctree(TOP)
    for place, text in pages.items():
        path = SOURCE / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(topics.with_topics(str(Path(place).with_suffix("")), text), encoding="utf-8")
    jobs = str(os.cpu_count())
    return build_main(["-W", "--keep-going", "-q", "-j", jobs, "-c", str(Path(__file__).parent), str(SOURCE), str(OUT)])


def listing(title, pages):
    """Return a page that leads to others, each with the first sentence of its text."""
    rows = []
    for place, text in pages.items():
        heading, paragraph = re.search(r"^# (.+)\n\n((?:.+\n)+)", text, flags=re.MULTILINE).groups()
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", paragraph)  # links are relative to their page
        assert not words.startswith(("#", "|", "-", " ", "`" * 3)), f"{place} must begin with a sentence"
        sentence = re.split(r"(?<=\.)\s", words.strip())[0].replace("\n", " ")
        rows.append(f"- [{heading}]({place}): {sentence}")
    return "\n".join([f"# {title}", "", *rows, ""]) + links.toctree(place.removesuffix(".md") for place in pages)


if __name__ == "__main__":
    sys.exit(main())
