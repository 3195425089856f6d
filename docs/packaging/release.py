"""What the release workflows do with the project's files; only the standard library is needed.

- ``cut 0.2.0``: write the version and today's date into the files of ``VERSIONS``, and give what CHANGELOG.md has under
  Unreleased a section of this version.
- ``check v0.2.0``: exit with an error unless the tag, the files and a section of CHANGELOG.md agree.
- ``notes 0.2.0``: print that section.
- ``recipe dist/gpubp-0.2.0.tar.gz``: print the recipe for conda-forge for a source distribution. The environment
  variable ``REPOSITORY_URL`` is where its release is.
"""

import datetime
import hashlib
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
VERSIONS = {
    "gpubp/_version.py": r'(?<=^__version__ = ")[^"]+',
    "CITATION.cff": r"(?<=^version: ).+",
    "docs/packaging/recipe.yaml": r'(?<=^  version: ")[^"]+',
}
"""The files that hold the version, and where each does."""

UNRELEASED = "## [Unreleased]\n"


def version_in(text, pattern):
    return re.search(pattern, text, re.MULTILINE)[0]


def with_version(text, pattern, version):
    return re.sub(pattern, version, text, count=1, flags=re.MULTILINE)


def with_date(citation, date):
    """Return the text of CITATION.cff with the date of the release."""
    citation = re.sub(r"^date-released: .*\n", "", citation, flags=re.MULTILINE)
    return re.sub(r"^(version: .*\n)", rf"\g<1>date-released: {date}\n", citation, flags=re.MULTILINE)


def section_of(changelog, version):
    """Return what the changelog says of a version, or an empty text."""
    found = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## \[|\Z)", changelog, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def with_section(changelog, version, date):
    """Return the changelog with the unreleased changes as those of a version."""
    if not section_of(changelog, "Unreleased"):
        sys.exit("CHANGELOG.md has nothing under Unreleased: there is nothing to release")
    if section_of(changelog, version):
        sys.exit(f"CHANGELOG.md already has a section for {version}")
    return changelog.replace(UNRELEASED, f"{UNRELEASED}\n## [{version}] - {date}\n", 1)


def cut(version):
    if not NUMBER.fullmatch(version):
        sys.exit(f"a version is three numbers, such as 0.2.0 or 0.2.0rc1; got {version!r}")
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    changelog = with_section(read("CHANGELOG.md"), version, date)
    for name, pattern in VERSIONS.items():
        text = with_version(read(name), pattern, version)
        write(name, with_date(text, date) if name == "CITATION.cff" else text)
    write("CHANGELOG.md", changelog)


def check(tag):
    version = tag.removeprefix("v")
    wrong = [name for name, pattern in VERSIONS.items() if version_in(read(name), pattern) != version]
    if not section_of(read("CHANGELOG.md"), version):
        wrong.append("CHANGELOG.md")
    if wrong or not tag.startswith("v"):
        sys.exit(f"the tag {tag} is not of the version in {', '.join(wrong)}; run: python {sys.argv[0]} cut {version}")


def notes(version):
    print(section_of(read("CHANGELOG.md"), version))


def recipe(path):
    text = read("docs/packaging/recipe.yaml").replace("REPOSITORY_URL", os.environ["REPOSITORY_URL"])
    print(text.replace("SHA256", hashlib.sha256(Path(path).read_bytes()).hexdigest()), end="")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def write(name, text):
    (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    commands = {function.__name__: function for function in (cut, check, notes, recipe)}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](sys.argv[2])
