"""Links between files of the repository become links of the site."""

import os
import posixpath
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security_policy.md",
    "docs/search.md": "many_networks.md",  # search.html is the page that searches
    "docs/gpubp.1": "reference/commands.md",  # made by commands.py
}
"""Pages at the top of the repository, and pages of ``docs`` with another name, with their places in the site."""

IN_A_CLONE = "In the clone:\n\n"

LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^)\s:#]+)(#[^)\s]*)?\)")


def for_the_site(text, place, places, folder):
    """Return the text of a page with links for the site; pictures that are not in ``docs`` are copied to ``folder``."""

    def replaced(match):
        mark, words, target, anchor = match[1], match[2], match[3], match[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        in_site = place_of(path)
        if mark and not path.startswith("docs/"):
            shutil.copy(ROOT / path, folder / "images")
            in_site = f"images/{posixpath.basename(path)}"
        elif not mark and in_site not in places:
            return link_to_repository(words, path) if (ROOT / path).exists() else match[0]
        return f"{mark}[{words}]({posixpath.relpath(in_site, posixpath.dirname(place) or '.')}{anchor})"

    source = next((path for path, of_it in PLACES.items() if of_it == place), f"docs/{place}")
    if repository := os.environ.get("REPOSITORY_URL"):  # how to get the clone that the page needs
        text = text.replace(IN_A_CLONE, f"{IN_A_CLONE}    git clone {repository} gpubp && cd gpubp\n", 1)
    return LINK.sub(replaced, text)


def place_of(path):
    """Return the place in the site that a file of the repository has, if it has one."""
    if path == "README.md":
        return "index.md"
    if path.startswith("examples/"):
        return f"gallery/{Path(path).stem}.md" if path.endswith(".py") else "gallery/index.md"
    return PLACES.get(path, posixpath.relpath(path, "docs"))


def link_to_repository(words, path):
    """Return a link to a file that is not in the site; without the repository's address, only its words."""
    repository = os.environ.get("REPOSITORY_URL")
    return f"[{words}]({repository}/blob/main/{path})" if repository else words


def toctree(names, *options):
    """Return the directive by which Sphinx puts pages into the navigation."""
    return "\n".join(["", "```{toctree}", ":hidden:", *options, "", *names, "```", ""])
