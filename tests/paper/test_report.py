"""Reports of studies match the findings, on the screen, in Markdown and on a self-contained page."""

import io
import json
import os
import re
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gpubp.paper.family_pictures import draw_held_out
from gpubp.paper.report import FILES, html_page, markdown, new_results, pictures_of, study_results, write_report
from gpubp.paper.report.pictures import draw_histogram
from gpubp.paper.report.results import SWEEPS_PICTURE, picture_file
from gpubp.paper.studies import STUDIES
from gpubp.paper.study import Fact, Findings, StudyDrawing, StudyPicture, StudyTable, Verdict
from gpubp.plotting.figure import new_figure

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
HOSTILE = '</title><script>alert("1")</script><img src=x onerror=alert(1)>|`_*[x](http://x)\n\n# &\x1b[31m\u202e\ud800'


class Study:
    """A study with given findings."""

    says, criterion, sweeps = "the paper's words", "all are done", 100

    def __init__(self, name="made-up", solved=(True, True, True, False), sweeps=(10, 20, 40, 100), **findings):
        self.name, self.title = name, f"What is {name}?"
        found = {
            "setting": "3-2-1",
            "limit": 100,
            "solved": np.asarray(solved, dtype=bool),
            "sweeps": None if sweeps is None else np.asarray(sweeps),
            "seconds": 1.25,
            "stop_reason": "epochs",
            "verdict": Verdict("partly", "3 of 4"),
            "facts": [Fact("a", "b", "c")],
        }
        self.found = Findings(**found | findings)
        self.drawings = defaultdict(lambda: StudyDrawing(lambda ax, y: ax.plot(y)))

    def run(self, n_networks=1000, *, sweeps=None, device="auto", callbacks=()):
        return self.found


def report_of(*studies, requested=None):
    """Return the results of studies, and their pictures."""
    results, pictures = new_results("a command", requested or [study.name for study in studies], "cpu"), {}
    for study in studies:
        results["studies"].append(study_results(study, study.found))
        pictures |= pictures_of(results["studies"][-1], study.drawings)
    return results, pictures


def line(name="line", caption="A line"):
    return StudyPicture(name, caption, {"y": np.asarray([0.0, 1.0])})


class TestResults:
    def test_figures_equal_the_findings(self):
        results, _ = report_of(Study())
        (study,) = results["studies"]
        assert (study["networks"], study["solved"], study["most_sweeps"]) == (4, 3, 100)
        assert study["quartiles"] == [10.0, 20.0, 40.0]
        assert study["verdict"] == {"reached": "partly", "why": "3 of 4"}
        assert sum(study["histogram"]["counts"]) == 3
        assert (study["histogram"]["edges"][0], study["histogram"]["edges"][-1]) == (10.0, 41.0)
        assert study["pictures"][0]["file"] == "made-up-sweeps.png"
        assert study["setting"] == "3-2-1"
        assert (
            study["pictures"][0]["caption"] == "Sweeps until a network is done: 3 of 4 networks; not done within 100: 1"
        )

    def test_never_is_null_in_json_and_a_word_in_text(self):
        results, pictures = report_of(Study(solved=[False] * 4, facts=[]))
        assert results["studies"][0]["quartiles"] == [None, None, None]
        assert json.loads(json.dumps(results, allow_nan=False)) == results
        assert pictures == {}
        assert "| of all networks are done | never | never | never |" in markdown(results)

    def test_neither_quartiles_nor_histogram_if_all_networks_are_trained_to_the_end(self):
        results, pictures = report_of(Study(solved=[True] * 3, sweeps=None, done="with all right"))
        (study,) = results["studies"]
        assert (study["quartiles"], study["histogram"], pictures) == ([], None, {})
        text = markdown(results)
        assert "three quarters" not in text
        assert "- here: 3 of 3 networks with all right within 100 sweeps (1.2 s)" in text
        assert "| of those with all right | paper | here |" in text

    def test_one_network_and_one_sweep_are_not_several(self):
        text = markdown(report_of(Study(solved=[True], sweeps=[1], limit=1))[0])
        assert "1 of 1 network done within 1 sweep (" in text
        assert "Sweeps until a network is done: 1 of 1 network*" in text
        assert not re.search(r"(?<![\d,])1 (networks|sweeps)", text)

    @pytest.mark.parametrize("sweeps", [(1, 1, 1), (7, 7, 7), (1, 2, 30_000), (999, 1000, 1001)])
    def test_every_network_that_is_done_is_in_the_histogram(self, sweeps):
        results, pictures = report_of(Study(solved=[True] * 3, sweeps=sweeps))
        histogram = results["studies"][0]["histogram"]
        assert sum(histogram["counts"]) == 3
        assert len(histogram["edges"]) == len(histogram["counts"]) + 1
        assert np.all(np.diff(histogram["edges"]) > 0)
        assert list(pictures) == ["made-up-sweeps.png"]

    def test_a_study_that_compares_groups_has_tables_and_no_share(self):
        table = StudyTable("How fast", ("solver", "sweeps"), (("one", "12"), ("two", "3")))
        results, _ = report_of(Study(solved=[], sweeps=None, tables=(table,)))
        text = markdown(results)
        assert "| made-up | ◐ partly | – | What is made-up? |" in text
        assert "networks done within" not in text
        assert "How fast\n\n| solver | sweeps |\n| --- | ---: |\n| one | 12 |\n| two | 3 |" in text

    def test_the_histogram_shows_what_was_reported_and_how_many_were_not_done(self):
        results, _ = report_of(Study(reported=25))
        (study,) = results["studies"]
        assert study["pictures"][0]["caption"].endswith("; not done within 100: 1; reported: 25")
        ax = new_figure((6.4, 3.4)).add_subplot()
        draw_histogram(ax, study["histogram"], study)
        ax.figure.canvas.draw()
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["half are done: 20", "reported: 25"]
        assert [line.get_xdata()[0] for line in ax.lines] == [20, 25]
        assert not ax.get_legend().get_window_extent().overlaps(ax.get_window_extent())
        (column,) = ax.child_axes
        assert [text.get_text() for text in column.texts] == ["3 done", "1 not done\nwithin 100"]
        assert [bar.get_height() for bar in column.patches] == [3, 1]

    @pytest.mark.parametrize("most", [7, 36, 64, 105, 291])
    def test_the_ticks_of_counts_are_round_numbers(self, most):
        results, _ = report_of(Study(reported=25))
        (study,) = results["studies"]
        histogram = {"edges": [1.0, 2.0, 3.0], "counts": [most, 1]}
        of_sweeps, of_cases = (new_figure((6.4, 3.4)).add_subplot() for _ in range(2))
        draw_histogram(of_sweeps, histogram, study)
        draw_held_out(of_cases, [most, 0, 1, 2, 3])
        for ax in (of_sweeps, of_cases):
            (step,) = set(np.diff(ax.get_yticks()))
            assert step in [digit * 10**power for digit in (1, 2, 5) for power in range(3)]

    def test_names_cannot_leave_the_folder(self):
        assert picture_file("../../a b", "/etc/x.png") == "a-b-etc-x-png.png"

    def test_the_same_findings_give_the_same_files(self, tmp_path):
        written = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            write_report(tmp_path / name, *report_of(Study(pictures=(line(),))))
            written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
        assert written[0] == written[1]
        assert set(written[0]) == {*FILES, "made-up-sweeps.png", "made-up-line.png"}


def tables_in(text):
    """Return the tables of Markdown as lists of rows of cells."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    return [[[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in block] for block in blocks]


class TestMarkdown:
    def test_tables_are_well_formed(self):
        text = markdown(report_of(Study(), Study(HOSTILE, facts=[Fact(HOSTILE, "|", "\\|")]))[0])
        tables = tables_in(text)
        assert len(tables) == 5
        for heading, optimizer, *rows in tables:
            assert all(re.fullmatch("---:?", cell) for cell in optimizer)
            assert rows
            assert {len(row) for row in (optimizer, *rows)} == {len(heading)}

    def test_headings_and_pictures(self, tmp_path):
        results, pictures = report_of(Study(pictures=(line(),)))
        text = markdown(results, level=2, folder="beside/")
        assert re.findall(r"^#+ .*", text, re.MULTILINE) == [
            "## The experiments of 1986, run again",
            "### made-up: What is made-up?",
        ]
        assert {name.removeprefix("beside/") for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)} == set(pictures)

    def test_text_is_escaped(self):
        study = Study(HOSTILE, setting=HOSTILE, verdict=Verdict("partly", HOSTILE), pictures=(line(HOSTILE, HOSTILE),))
        study.says = study.criterion = HOSTILE
        text = markdown(report_of(study)[0])
        text.encode()  # no lone surrogate is left
        assert "<" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert not re.search(r"(?<!\\)\]\(http", text)
        assert len(re.findall(r"^#", text, re.MULTILINE)) == 2
        assert not re.search(r"(?<!\\)[`_]", text)

    @pytest.mark.parametrize(("reached", "sign"), [("reproduced", "✓"), ("partly", "◐"), ("not reproduced", "✗")])
    def test_verdicts_are_those_given(self, reached, sign):
        results, pictures = report_of(Study(verdict=Verdict(reached, "for a reason")))
        assert f"| made-up | {sign} {reached} | 3 of 4 |" in markdown(results)
        assert f"**{reached}: for a reason**" in markdown(results)
        page = Page(html_page(results, pictures))
        assert page.cells[0] == ["made-up", f"{sign} {reached}", "3 of 4", "What is made-up?"]

    def test_missing_results_are_reported_at_the_top(self):
        whole, _ = report_of(Study("a"))
        assert "Not finished" not in markdown(whole) + html_page(*report_of(Study("a")))
        part, pictures = report_of(Study("a"), Study("b", stop_reason="interrupted"), requested=["a", "b", "c"])
        for text in (markdown(part), html_page(part, pictures)):
            assert text.index("Not finished: 2 of 3 studies run; b was interrupted") < text.index("What is a?")
            assert "3 of 4 networks done by then (1.2 s, interrupted)" in text
            assert "3 of 4 networks; not done by then: 1" in text
            assert "undecided: interrupted" in re.sub("<[^>]+>", "", text)


VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """The tags, text and table rows of a page; raises if tags do not match."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.cells = [], [], "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr" and "tbody" in self.open:
            self.cells.append([])
        if tag in ("td", "th") and "tbody" in self.open:
            self.cells[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "tbody" in self.open and {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


class TestPage:
    def test_the_page_is_complete_and_loads_nothing(self):
        results, pictures = report_of(Study("a", pictures=(line(),)), Study("b"))
        text = html_page(results, pictures)
        page = Page(text)
        assert "http:" not in text
        assert "https:" not in text
        assert "url(" not in text
        assert "@import" not in text
        assert not page.named("script")
        for _, attributes in page.tags:
            for name, value in attributes.items():
                assert not name.startswith("on")
                if name in ("src", "href", "srcset", "action"):
                    assert value.startswith(("#", "data:image/png;base64,")) or value == "data:,"
        assert len(page.named("img")) == 3
        assert all(image["alt"] for image in page.named("img"))
        identifiers = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
        assert {link["href"] for link in page.named("a")} == {"#study-1", "#study-2"}
        assert {"study-1", "study-2"} < identifiers
        assert [tag for tag, _ in page.tags if re.fullmatch(r"h\d", tag)] == ["h1", "h2", "h2"]
        for part in ("the paper's words", "all are done", "a command", "partly", "3 of 4"):
            assert part in page.text

    def test_text_is_escaped(self):
        def with_words(name, words):
            table = StudyTable(words, (words,) * 2, ((words,) * 2,))
            found = {"facts": [Fact(words, words, words)], "tables": (table,), "pictures": (line("line", words),)}
            study = Study(name, setting=words, done=words, verdict=Verdict("partly", words), **found)
            study.says = study.criterion = words
            return study

        text = html_page(*report_of(with_words(HOSTILE, HOSTILE)))
        text.encode()
        page, plain = Page(text), Page(html_page(*report_of(with_words("plain", "words"))))
        assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
        assert "alert(1)" in page.text  # it is shown as text


@pytest.mark.slow
class TestCommand:
    @pytest.fixture
    def gpubp(self, capsys):
        pytest.importorskip("typer", reason="the extra 'cli' is not installed")
        from gpubp.__main__ import main

        def run(*arguments):
            code = main(["reproduce", *map(str, arguments)])
            return code, *capsys.readouterr()

        return run

    def test_seeds_and_sweeps_are_as_requested(self, gpubp):
        code, out, _ = gpubp("xor", "family-trees", "solvers", "--seeds", 2, "--sweeps", 3, "--device", "cpu", "--json")
        xor, family, solvers = (report_of["setting"] for report_of in json.loads(out))
        assert code == 0
        assert "one change a sweep, 3 at most, " in xor
        assert xor.endswith("seeds 0 to 1")
        assert "3 in all, " in family
        assert family.endswith("seeds 0 to 1")
        assert "for each rule 2 networks of 3 sweeps at most, for each method of second order 2 of 3;" in solvers

    def test_a_report_of_two(self, gpubp, tmp_path):
        folder = tmp_path / "report"
        code, out, err = gpubp("xor", "negation", "--seeds", 8, "--sweeps", 400, "--device", "cpu", "--report", folder)
        assert code == 0
        assert err.splitlines() == [
            "running    1 of 2, xor, 400 sweeps at most",
            "running    2 of 2, negation, 400 sweeps at most",
        ]
        assert f"{folder}: results.json, report.md, report.html and the pictures" in out
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        command = "gpubp reproduce xor negation --seeds 8 --sweeps 400 --device cpu --report"
        assert results["command"].startswith(command)
        assert [study["name"] for study in results["studies"]] == ["xor", "negation"]
        assert results["studies"][0]["verdict"]["why"] in out
        assert (folder / "report.md").read_text(encoding="utf-8") == markdown(results)
        pictures = [picture["file"] for study in results["studies"] for picture in study["pictures"]]
        assert {"xor-sweeps.png", "negation-sweeps.png"} <= set(pictures)
        assert len(Page((folder / "report.html").read_text(encoding="utf-8")).named("img")) == len(pictures)
        assert {path.name for path in folder.iterdir()} == {*FILES, *pictures}

    def test_json_beside_a_report(self, gpubp, tmp_path):
        code, out, _ = gpubp("xor", "--seeds", 3, "--sweeps", 1, "--device", "cpu", "--report", tmp_path, "--json")
        (study,) = json.loads(out)
        assert (code, study["quartiles"], study["sweeps"]) == (0, [None] * 3, [1, 1, 1])
        assert (tmp_path / "report.md").exists()

    def test_ctrl_c_within_a_study_keeps_the_results_so_far(self, gpubp, tmp_path, monkeypatch):
        from contextlib import contextmanager

        from gpubp.cli import reproduce

        @contextmanager
        def interrupting(name, sweeps):
            def callback(progress):
                if progress.epoch == 5:
                    raise KeyboardInterrupt

            yield callback

        monkeypatch.setattr(reproduce, "_bar", interrupting)
        code, out, _ = gpubp("negation", "parity", "--seeds", 3, "--device", "cpu", "--report", tmp_path)
        assert code == 0
        assert "interrupted" in out
        text = (tmp_path / "report.md").read_text(encoding="utf-8")
        assert "Not finished: 1 of 2 studies run; negation was interrupted" in text
        assert "0 of 3 networks done by then" in text
        assert "undecided" in out

    def test_ctrl_c_between_studies_keeps_earlier_ones(self, gpubp, tmp_path, monkeypatch):
        class Interrupted(Study):
            def run(self, n_networks=1000, **options):
                raise KeyboardInterrupt

        monkeypatch.setitem(STUDIES, "first", Study("first"))
        monkeypatch.setitem(STUDIES, "second", Interrupted("second"))
        code, _, _ = gpubp("first", "second", "--device", "cpu", "--report", tmp_path)
        assert code == 130
        assert "Not finished: 1 of 2 studies" in (tmp_path / "report.html").read_text(encoding="utf-8")

    @pytest.fixture
    def untouched(self, monkeypatch):
        """A study that must not be run."""

        def run(*arguments, **options):
            raise AssertionError("hours of work")

        study = Study("long")
        study.run = run
        monkeypatch.setitem(STUDIES, "long", study)

    @pytest.mark.usefixtures("untouched")
    def test_a_folder_that_cannot_be_written_is_refused_before_the_work(self, gpubp, tmp_path, monkeypatch):
        file = tmp_path / "file"
        file.write_text("")
        (tmp_path / "taken" / "report.md").mkdir(parents=True)
        for folder, message in (
            (file, "not a folder"),
            (tmp_path / "no" / "such", "there is no folder"),
            (tmp_path / "taken", "report.md is a folder"),
        ):
            code, _, err = gpubp("long", "--report", folder)
            assert (code, message in err) == (2, True), err
        (tmp_path / "locked").mkdir()
        monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)
        code, _, err = gpubp("long", "--report", tmp_path / "locked")
        assert (code, "is not writable" in err) == (2, True), err

    @pytest.mark.usefixtures("untouched")
    def test_without_matplotlib_a_report_is_refused_before_the_work(self, gpubp, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        code, _, err = gpubp("long", "--report", tmp_path)
        assert code == 2
        assert "pip install matplotlib" in err

    def test_the_bar_is_shown_only_on_a_terminal(self, gpubp, monkeypatch):
        from rich.console import Console

        from gpubp.cli import reproduce

        _, _, err = gpubp("xor", "negation", "--seeds", 2, "--sweeps", 40, "--device", "cpu")
        assert [line.split()[0] for line in err.splitlines()] == ["running", "running"]
        screen = io.StringIO()
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setattr(reproduce, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=120))
        gpubp("xor", "negation", "--seeds", 2, "--sweeps", 40, "--device", "cpu")
        assert "1 of 2, xor" in screen.getvalue()
        assert "2 of 2, negation" in screen.getvalue()

    def test_tables_are_whole_in_a_pipe(self, gpubp, monkeypatch):
        wide = Fact("w" * 90, "-", "v" * 90)
        monkeypatch.setitem(STUDIES, "wide", Study("wide", facts=[wide]))
        _, out, _ = gpubp("wide", "--device", "cpu")
        assert any("w" * 90 in row and "v" * 90 in row for row in out.splitlines())


class TestDocs:
    """The page docs/paper.md: its contents come from the data next to it."""

    MARKED = re.compile(r"<!-- results -->\n\n(.*)\n<!-- end -->\n", re.DOTALL)

    def test_figures_equal_the_data(self):
        results = json.loads((ROOT / "docs" / "paper" / "results.json").read_text(encoding="utf-8"))
        (text,) = self.MARKED.findall((ROOT / "docs" / "paper.md").read_text(encoding="utf-8"))
        assert text == markdown(results, level=2, folder="paper/")

    def test_pictures_all_exist_and_are_shown(self):
        folder = ROOT / "docs" / "paper"
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        shown = {picture["file"] for study in results["studies"] for picture in study["pictures"]}
        assert shown == {path.name for path in folder.glob("*.png")}
        assert results["asked"] == [study["name"] for study in results["studies"]]

    def test_what_pictures_show_is_kept(self):
        results = json.loads((ROOT / "docs" / "paper" / "results.json").read_text(encoding="utf-8"))
        pictures = [picture for study in results["studies"] for picture in study["pictures"]]
        assert [one["file"] for one in pictures if one["data"] is None and one["name"] != SWEEPS_PICTURE] == []

    def test_a_picture_is_what_its_data_give(self):
        from matplotlib.image import imread

        results = json.loads((ROOT / "docs" / "paper" / "results.json").read_text(encoding="utf-8"))
        (study,) = (study for study in results["studies"] if study["name"] == "encoder")
        drawn = pictures_of(study, STUDIES["encoder"].drawings)
        assert sorted(drawn) == ["encoder-codes.png", "encoder-sweeps.png"]
        for name, png in drawn.items():
            kept, now = imread(ROOT / "docs" / "paper" / name), imread(io.BytesIO(png))
            assert np.abs(np.subtract(kept.shape, now.shape)).max() <= 4  # pixels: fonts differ between versions
            height, width = np.minimum(kept.shape, now.shape)[:2]
            assert np.abs(kept[:height, :width] - now[:height, :width]).mean() < 0.02


# In a browser


@pytest.fixture
def written(tmp_path):
    """A report's page with wide tables."""
    cells = tuple(f"heading {number}" for number in range(12))
    table = StudyTable("Wide", cells, (cells,) * 3)
    write_report(tmp_path, *report_of(Study("a", tables=(table,), pictures=(line(),)), Study("b")))
    return tmp_path / "report.html"


def test_the_page_is_self_contained_and_shows_its_pictures(chromium, written):
    chromium.send("Emulation.setScriptExecutionDisabled", value=True)
    chromium.open(written.as_uri())
    assert chromium.value("[...document.images].every((image) => image.complete && image.naturalWidth > 100)")
    assert chromium.value("document.images.length") == 3


def test_the_page_fits_a_narrow_screen_in_light_and_dark(chromium, written):
    chromium.screen(360)
    grounds = {}
    for scheme in ("light", "dark"):
        chromium.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        chromium.open(f"{written.as_uri()}?{scheme}")
        assert chromium.value("document.documentElement.scrollWidth") <= 360
        ground = chromium.value("getComputedStyle(document.body).backgroundColor")
        grounds[scheme] = max(map(int, re.findall(r"\d+", ground)))
    assert grounds["dark"] < 60 < 200 < grounds["light"]
    # a table that is too wide scrolls, and is reached by the keyboard
    wide = "[...document.querySelectorAll('.wide')].filter((part) => part.scrollWidth > part.clientWidth)"
    assert chromium.value(f"{wide}.length") > 0
    assert chromium.value(f"{wide}.every((part) => part.tabIndex === 0 && part.getAttribute('aria-label'))")


def test_print_is_on_white_and_keeps_headings_with_their_text(chromium, written):
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    chromium.send("Emulation.setEmulatedMedia", media="print", features=dark)
    chromium.open(written.as_uri())
    assert chromium.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert chromium.value(
        "[...document.querySelectorAll('h2')].every((h) => getComputedStyle(h).breakAfter === 'avoid')"
    )


def test_figures_stay_on_one_line_on_a_narrow_screen(chromium, tmp_path):
    facts = [Fact("what is " + "long " * 12, "yes", "98 % of 1,000")]
    write_report(tmp_path, *report_of(Study("a", facts=facts)))
    chromium.screen(360)
    chromium.open((tmp_path / "report.html").as_uri())
    lines = """[...document.querySelectorAll("#study-1 td")].map((cell) => {
        const text = document.createRange();
        text.selectNodeContents(cell);
        return text.getClientRects().length;
    })"""
    assert set(chromium.value(lines)) == {1}
