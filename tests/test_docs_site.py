"""The site (docs/site/) has every page and every public name; ``nox -s docs`` checks the rest."""

import doctest
import importlib
import sys
from pathlib import Path

import pytest

import gpubp

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site():
    """Import the modules that build the site."""
    names = ("build", "check", "commands", "gallery", "links", "notebooks", "reference", "topics")
    sys.path.insert(0, str(ROOT / "docs" / "site"))
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(ROOT / "docs" / "site"))
        for name in names:
            sys.modules.pop(name, None)


def test_every_page_is_in_the_navigation(site):
    build, place_of = site["build"], site["links"].place_of
    listed = {*build.TOP, "index", *" ".join(build.SECTIONS.values()).split()}
    pages = {place_of(path.relative_to(ROOT).as_posix()) for path in (ROOT / "docs").rglob("*.md")}
    assert {page.removesuffix(".md") for page in pages} - listed == set(), "add them to SECTIONS of docs/site/build.py"


def test_every_option_is_in_the_manual(site):
    (page,) = site["commands"].pages().values()
    assert "\n## gpubp train\n" in page
    assert "| `--epochs N` | Maximum number of epochs. | `200` |\n" in page


def test_every_example_is_in_the_gallery(site):
    scripts = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
    assert sorted(site["gallery"].TITLES) == scripts, "add it to SECTIONS of docs/site/gallery.py"


def test_a_list_of_pages_has_the_first_sentence_of_each(site):
    text = "# A table\n\nHow to [train](../x.md#y). And more.\n\n## Next\n"
    assert "- [A table](tutorials/table.md): How to train.\n" in site["build"].listing(
        "T", {"tutorials/table.md": text}
    )


def test_every_public_name_has_a_page(site):
    pages = site["reference"].pages()
    assert [name for name in gpubp.__all__ if f"reference/gpubp.{name}.rst" not in pages] == []
    assert ".. autoclass:: gpubp.MLPClassifier\n" in pages["reference/gpubp.MLPClassifier.rst"]


def test_what_readers_search_for_is_in_the_index_of_its_page(site):
    place_of, pages = site["links"].place_of, dict(site["reference"].pages())
    pages |= {
        place_of(path.relative_to(ROOT).as_posix()): path.read_text("utf-8") for path in ROOT.glob("docs/**/*.md")
    }
    indexed = {
        place.rpartition(".")[0]: site["topics"].with_topics(place.rpartition(".")[0], pages[place]) for place in pages
    }
    assert (
        "\n```{index} ! ensemble, ! ensembles, ! bagging, ! restarts\n```\n\n## Restarts and"
        in indexed["many_networks"]
    )
    assert "\n\n.. index:: ! classification\n\n" in indexed["reference/gpubp.MLPClassifier"]
    for phrases, places in site["topics"].TOPICS.items():
        assert all(f"! {phrases[0]}" in indexed[place.partition("#")[0]] for place in places), phrases
    with pytest.raises(LookupError, match="no heading 'Gone'"):
        site["topics"].with_entries("# A page\n\nText.\n", ("a phrase",), "Gone")


def test_docstrings_lead_to_the_pages_that_they_name(site):
    with_links = site["reference"].with_links
    assert with_links("see docs/tables.md.") == "see :doc:`/tables`."
    assert with_links("docs/search.md; https://x.org/docs/a.md") == ":doc:`/many_networks`; https://x.org/docs/a.md"


def test_every_public_name_has_an_example(site):
    reference = site["reference"]
    names = [name for paths in reference.groups().values() for name in paths]
    assert [name for name in names if ">>> " not in reference.docstring_of(name)] == []


def test_the_examples_of_constants_run(site):  # pytest collects no others
    reference, runner = site["reference"], doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    names = [name for paths in reference.groups().values() for name in paths]
    constants = [name for name in names if reference.is_constant(reference.value_of(name))]
    assert "gpubp.data.DATASETS" in constants
    for name in constants:
        runner.run(doctest.DocTestParser().get_doctest(reference.docstring_of(name), {}, name, None, 0))
    assert runner.failures == 0


def test_links_of_the_repository_lead_to_pages_of_the_site(site, tmp_path, monkeypatch):
    def converted(text):
        return site["links"].for_the_site(text, "tutorials/table.md", {"tables.md", "gallery/digits.md"}, tmp_path)

    monkeypatch.delenv("REPOSITORY_URL", raising=False)
    assert converted("[a](../tables.md#reading)") == "[a](../tables.md#reading)"
    assert converted("[a](../../examples/digits.py)") == "[a](../gallery/digits.md)"
    assert converted("[a](../../gpubp/errors.py) [b](https://x.org/y)") == "a [b](https://x.org/y)"
    assert converted("[a](nowhere.md)") == "[a](nowhere.md)"  # which Sphinx reports
    monkeypatch.setenv("REPOSITORY_URL", "https://x.org/r")
    assert converted("[a](../../gpubp/errors.py)") == "[a](https://x.org/r/blob/main/gpubp/errors.py)"
    assert "    git clone https://x.org/r gpubp" in converted((ROOT / "docs" / "start.md").read_text(encoding="utf-8"))


def test_broken_links_and_pictures_without_a_text_are_found(site, tmp_path):
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1><a href="b.html#part">b</a><img src="p.png" alt="a picture">')
    (tmp_path / "p.png").touch()
    (tmp_path / "b.html").write_text(
        '<h1 id="part">B</h1><a href="a.html#top">a</a><a href="https://example.org">x</a>'
    )
    assert site["check"].faults_of_files(tmp_path) == []
    (tmp_path / "b.html").write_text('<a href="c.html">c</a><img src="p.png"><a href="a.html#bottom">a</a>')
    assert sorted(site["check"].faults_of_files(tmp_path)) == [
        "a.html: the link b.html#part leads nowhere",
        "b.html: p.png has no alt",
        "b.html: the link a.html#bottom leads nowhere",
        "b.html: the link c.html leads nowhere",
    ]


TUTORIAL = """# Flats

From a [file](../tables.md#reading) to a model.

    gpubp inspect flats.csv
    gpubp train flats.csv

prints

```python
print(1 + 1)
```

```text
2
```

and

```py
not_run()
```
"""


def test_a_notebook_has_the_text_the_code_and_the_commands_of_a_page(site, monkeypatch):
    for name in ("REPOSITORY_URL", "SITE_URL"):
        monkeypatch.delenv(name, raising=False)
    cells = site["notebooks"].notebook_of(TUTORIAL)["cells"]
    assert [(cell["cell_type"], cell["source"]) for cell in cells] == [
        ("markdown", "# Flats\n\nFrom a file to a model."),
        ("code", "!gpubp inspect flats.csv\n!gpubp train flats.csv"),
        ("markdown", "prints"),
        ("code", "print(1 + 1)"),
        ("markdown", "and\n\n```py\nnot_run()\n```"),
    ]
    assert "Colab" not in site["notebooks"].with_links(TUTORIAL, "flats")


def test_where_the_repository_is_known_a_notebook_installs_from_it_and_opens_in_colab(site, monkeypatch):
    notebooks = site["notebooks"]
    monkeypatch.setenv("REPOSITORY_URL", "https://github.com/a/b")
    monkeypatch.setenv("SITE_URL", "https://x.org/site/")
    text, install, *_ = notebooks.notebook_of(TUTORIAL)["cells"]
    assert "[file](https://x.org/site/tables.html#reading)" in text["source"]
    assert install["source"] == '%pip install -q "gpubp[cli] @ git+https://github.com/a/b"'
    assert install["metadata"]["tags"] == ["skip-execution"]
    address = "https://colab.research.google.com/github/a/b/blob/notebooks/notebooks/flats.ipynb"
    assert f"\n\nThis page as a [notebook](../notebooks/flats.ipynb), also [in Colab]({address}).\n\n" in (
        notebooks.with_links(TUTORIAL, "flats")
    )
    monkeypatch.setenv("REPOSITORY_URL", "https://x.org/r")  # which Colab cannot open
    assert "Colab" not in notebooks.with_links(TUTORIAL, "flats")
