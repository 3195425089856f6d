"""The report of a model as a page: what it says, that it loads nothing, and that it can be read everywhere."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from gpubp import MLPClassifier, MLPRegressor, Network, TabularClassifier, TabularRegressor, initial_weights, load_model
from gpubp.errors import DataError, TableWarning
from gpubp.inspection import CalibrationCurve, PartialDependence, PermutationImportance
from gpubp.reports import Confusion, Curves, HeldOutFindings, ModelReport, Residuals, ShownColumn, report_page
from gpubp.tabular import report as report_of_table
from tests import browser

pytestmark = pytest.mark.once

HOSTILE = '</title></svg><script>alert("1")</script><img src=x onerror=alert(1)>&\x1b[31m\u202e\ud800'
VOID = {"meta", "link", "br"}


class Page(HTMLParser):
    """The tags and text of a page; raises if tags do not match."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.text, self._open = [], "", []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def classification(name="a model", n_inputs=4, column="column"):
    """A report in which every section has something to show."""
    network = Network((n_inputs, 12, 3), activation="relu", loss="cross_entropy")
    columns = [f"{column} {k}" for k in range(n_inputs)]
    importance = PermutationImportance(
        tuple(columns), np.random.default_rng(0).normal(0.1, 0.1, (n_inputs, 5)), 0.9, "accuracy"
    )
    calibration = CalibrationCurve(column, np.array([0.2, 0.9]), np.array([0.3, 0.8]), np.array([5.0, 20.0]))
    counts = np.array([[8, 1, 0], [0, 9, 1], [2, 0, 4]])
    places = np.linspace(0.0, 1.0, 4)
    average, names = np.stack([places, 1.0 - places, 0.0 * places], axis=1), tuple(f"{column}={k}" for k in "abc")
    categories = np.array([column, "b", "c", "d"], dtype=object)
    dependence = [PartialDependence(column, values, names, average) for values in (places, categories)]
    return ModelReport(
        name,
        "classification",
        network,
        initial_weights(network, 0),
        facts=[("data", column), ("seed", "0")],
        notes=[column],
        scores={"train": {"accuracy": 0.95, "log_loss": 0.2}, "test": {"accuracy": 0.84, "log_loss": 0.41}},
        rows={"train": 100, "test": 25},
        baseline={"accuracy": 0.4, "log_loss": 1.0986},
        curves=Curves(
            range(1, 31),
            np.geomspace(1.0, 0.1, 30).tolist(),
            np.geomspace(1.1, 0.3, 30).tolist(),
            np.linspace(0.3, 0.9, 30).tolist(),
            22,
            "accuracy",
        ),
        columns=[ShownColumn(one, "number", "0 to 1", column, 3, 20, 0) for one in columns],
        tried=(("numbers", "loss"), [[column, "0.5"]]),
        tried_notes=[f"not kept: {column}"],
        held_out=HeldOutFindings(
            "25 test rows", Confusion((column, "b", "c"), counts), (), [calibration], importance, dependence=dependence
        ),
        input_names=columns,
        output_names=(column, "b", "c"),
        code=f"gpubp train {column}",
        versions={"gpubp": "1"},
    )


def regression():
    random = np.random.default_rng(0)
    true = random.normal(size=2000)
    network = Network((2, 1))
    residuals = Residuals("price", true, true + random.normal(0.0, 0.1, 2000))
    shown = CalibrationCurve("price", np.arange(1, 10) / 10, np.arange(1, 10) / 10, np.full(9, 50.0))
    return ModelReport("r", "regression", network, held_out=HeldOutFindings("rows", None, [residuals], [shown]))


def test_each_section_says_what_was_found():
    page = Page(report_page([classification()]))
    titles = ("Scores", "Confusion matrix", "Learning curves", "The network", "Calibration", "To make it again")
    tables = ("Permutation importance", "Partial dependence", "25 test rows", "gpubp train column", "column 3")
    for text in (*titles, *tables, "0.8400", "0.4000", "not kept: column"):
        assert text in page.text
    assert [one["style"] for one in page.of("td") if one.get("class") == "cell right"] == [
        f"--share: {share:.3f}" for share in (8 / 9, 9 / 10, 4 / 6)
    ]
    labels = [one["aria-label"] for one in page.of("svg")]
    assert "Loss of 30 epochs: training loss from 1.0000 to 0.1000; validation loss from 1.1000 to 0.3000" in labels
    assert len([one for one in page.of("line") if one["class"].startswith("w ")]) == 4 * 9 + 9 * 3


def test_how_good_a_model_is_stands_in_a_sentence():
    assert "Of 100 rows, 84 are predicted right, and 40 by the baseline." in Page(report_page([classification()])).text
    scored = replace(regression(), scores={"test": {"mae": 0.5}}, baseline={"mae": 2.0})
    assert "off by 0.5000 on average, and those of the baseline by 2.0000." in Page(report_page([scored])).text
    assert "Of 100 rows" not in Page(report_page([classification(), scored])).text


def test_a_curve_ends_where_its_figures_do():
    text = report_page([classification()])
    points = [one.split(",") for one in re.search(r'<polyline class="s0" points="([^"]+)"', text)[1].split()]
    assert len(points) == 30
    heights = [float(y) for _, y in points]
    assert heights == sorted(heights)  # the loss falls, and heights on the page are from its top


def test_errors_show_half_of_the_rows_within_the_median():
    page = Page(report_page([regression()]))
    labels = [one["aria-label"] for one in page.of("svg")]
    assert any(re.fullmatch(r"Errors of price: half of the rows are off by at most 0\.06\d+", one) for one in labels)
    assert len([one for one in page.of("circle") if one["class"] == "point"]) == 500


def test_several_models_are_side_by_side_and_the_best_is_bold():
    worse = classification("worse")
    scores = {"accuracy": 0.9, "log_loss": 0.5, "balanced_accuracy": 0.8}  # the last one is of this model alone
    better = ModelReport("better", "classification", worse.network, scores={"test": scores})
    text = report_page([worse, better])
    assert "2 models side by side" in Page(text).text
    rows = dict(re.findall(r'<tr><th scope="row">([a-z ]+)</th>(.*)</tr>', text))
    assert 'class="number best"' not in rows["balanced accuracy"]
    assert re.findall(r'class="number best">([^<]+)', rows["accuracy"]) == ["0.9000"]
    assert re.findall(r'class="number best">([^<]+)', rows["log loss"]) == ["0.4100"]
    for n in (0, 7):
        with pytest.raises(DataError, match=f"1 to 6 models side by side, got {n}"):
            report_page([worse] * n)


def test_names_are_escaped_and_nothing_is_loaded():
    text = report_page([classification(HOSTILE, column=HOSTILE), classification(HOSTILE)])
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in (
            "script",
            "img",
            "iframe",
            "object",
            "embed",
            "audio",
            "video",
            "use",
            "image",
            "base",
            "form",
        )
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("href", "src", "action"):
                assert value.startswith("#") or value == "data:,"
    for text_of_loading in ("http:", "https:", "url(", "@import", "\x1b", "\u202e"):
        assert text_of_loading not in text
    text.encode()  # no lone surrogates


def test_the_structure_can_be_heard():
    page = Page(report_page([classification()]))
    assert page.of("html")[0]["lang"] == "en"
    assert [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)][:2] == ["h1", "h2"]
    assert all(one.get("aria-label") for one in page.of("svg"))
    assert all(one.get("scope") for one in page.of("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len({*ids})
    assert {one["href"][1:] for one in page.of("a")} <= {*ids}


def test_a_wide_table_makes_a_page_of_limited_size():
    text = report_page([classification(n_inputs=1000)])
    assert len(text) < 150_000
    assert "and 800 more columns" in text
    assert "and 980 less important columns" in text


def test_more_classes_than_fit_are_joined():
    true = np.repeat(np.arange(30), np.arange(1, 31))
    confusion = Confusion.of([f"c{k}" for k in range(30)], true, true)
    assert confusion.counts.shape == (20, 20)
    assert confusion.classes[0] == "c11"
    assert confusion.classes[-1] == "11 others"
    assert confusion.counts.sum() == len(true)
    assert np.trace(confusion.counts) == len(true)


# --- of fitted models ---


def shop(n=200):
    random = np.random.default_rng(1)
    size, colour = random.normal(size=n), random.choice(["red", "blue"], n)
    return {"size": size, "<b>colour": colour, "sold": np.where((size > 0) ^ (colour == "red"), "yes", "no")}


def test_a_classifier_for_tables_reports_what_its_file_holds(tmp_path):
    rows, path = shop(), tmp_path / "report.html"
    model = TabularClassifier(epochs=15, device="cpu").fit(rows, "sold")
    model.report(path)
    text = path.read_text(encoding="utf-8")
    for words in ("Learning curves", "&lt;b&gt;colour", "TabularClassifier(device=&#x27;cpu&#x27;, epochs=15)"):
        assert words in text
    assert "Confusion" not in text
    model.save(tmp_path / "model.safetensors")
    TabularClassifier.load(tmp_path / "model.safetensors").report(tmp_path / "again.html")
    curve = re.compile(r'<polyline class="s\d" points="[^"]+"')
    assert curve.findall((tmp_path / "again.html").read_text(encoding="utf-8")) == curve.findall(text) != []


@pytest.mark.parametrize("y", ["name", "array"])
def test_rows_given_to_the_report_are_scored(tmp_path, y):
    new, path = shop(300), tmp_path / "report.html"
    model = TabularClassifier(epochs=30, device="cpu").fit(shop(), "sold")
    if y == "name":
        model.report(path, new, "sold")
    else:
        model.report(path, {name: new[name] for name in ("size", "<b>colour")}, new["sold"])
    text = path.read_text(encoding="utf-8")
    correct = int((model.predict(new) == new["sold"]).sum())
    right = re.findall(r'class="cell right"[^>]*>(\d+)<', text)
    assert sum(map(int, right)) == correct
    assert f">{correct / 300:.4f}<" in text
    importance = text[text.rindex("Permutation importance") :]
    assert re.search(r'<th scope="row">(size|&lt;b&gt;colour)</th><td class="bars">', importance)
    assert '<h2 id="dependence-title">' in importance
    for name, mark in (("size", "<polyline"), ("&lt;b&gt;colour", "<circle")):
        chart = re.search(rf'aria-label="Mean prediction over {name}: sold=yes".*?</svg>', importance)[0]
        assert mark in chart


def test_a_regressor_for_tables_shows_errors_and_the_coverage_of_intervals(tmp_path):
    random = np.random.default_rng(0)
    table = {"x": random.normal(size=300)}
    table["y"] = 2.0 * table["x"] + 5.0
    model = TabularRegressor(epochs=5, device="cpu").fit(table, "y")
    model.report(tmp_path / "r.html", table, ["y"], title="lines")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<h1>lines</h1>" in text
    assert "y: errors, 300 rows" in text
    assert "prediction intervals hold as many targets" in text


def test_importance_of_many_columns_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(report_of_table, "MAX_SHUFFLED_COLUMNS", 5)
    monkeypatch.setattr(report_of_table, "MAX_WORK", 1.0)
    random = np.random.default_rng(0)
    table = {f"c{k}": random.normal(size=150) for k in range(40)}
    table["y"] = np.where(table["c7"] > 0.0, "a", "b")
    model = TabularClassifier(epochs=20, device="cpu", numbers="linear").fit(table, "y")
    table["c7"][0] = np.nan
    with pytest.warns(TableWarning, match="column 'c7': 1 of 150 values is missing") as caught:
        model.report(tmp_path / "wide.html", table, "y")
    assert len(caught) == 1  # none again for the rows that are shuffled
    text = (tmp_path / "wide.html").read_text(encoding="utf-8")
    assert "Of 40 columns, the 5 with the largest weights are shuffled. 20 rows are shuffled." in text
    assert text.count('<td class="bars">') == 5
    assert text.count("Mean prediction over ") == 1  # of the only column that matters
    assert '<th scope="row">c7</th><td class="bars">' in text


def test_estimators_of_arrays_report_too(tmp_path):
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 3))
    labels = np.where(X[:, 1] > 0.0, "<yes>", "no")
    model = MLPClassifier((8,), max_iter=60, random_state=0, early_stopping=True).fit(X, labels)
    words = model.report(tmp_path / "c.html", X, labels)
    assert words == model.report()
    text = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert f">{model.score(X, labels):.4f}<" in text
    assert "&lt;yes&gt;" in text
    assert re.search(r'<tbody>\n<tr><th scope="row">feature 2</th><td class="bars">', text)
    regressor = MLPRegressor(hidden_layer_sizes=(8,), random_state=0, tol=0.1).fit(X, X[:, 0])
    regressor.report(tmp_path / "r.html", X, X[:, 0])
    assert f">{regressor.score(X, X[:, 0]):.4f}<" in (tmp_path / "r.html").read_text(encoding="utf-8").replace("−", "-")
    with pytest.raises(DataError, match="X and y belong together"):
        model.report(tmp_path / "c.html", X)


# --- from the command line ---


def scores_in(text):
    return re.search(r'<section id="scores".*?</section>', text, re.DOTALL)[0]


@pytest.fixture
def trained(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ("--preset", "fast", "--epochs", "20", "--device", "cpu", "--no-picture", "--quiet")
    assert run("train", "iris", *options, "--report", "iris.html")[0] == 0
    assert run("train", "iris", *options, "--hidden-layer-sizes", "4", "--output", "small.safetensors")[0] == 0
    return tmp_path


def test_training_writes_a_report_of_the_rows_that_it_held_out(trained):
    text = (trained / "iris.html").read_text(encoding="utf-8")
    scores = load_model("iris.safetensors").about["scores"]["test"]
    assert f">{scores['accuracy']:.4f}<" in text
    counts = re.findall(r'class="cell(?: right)?"[^>]*>(\d+)<', text)
    assert sum(map(int, counts)) == 30
    right = re.findall(r'class="cell right"[^>]*>(\d+)<', text)
    assert sum(map(int, right)) == round(30 * scores["accuracy"])  # by the network that was scored
    command = "gpubp train iris --preset fast --epochs 20 --device cpu --report iris.html --no-picture --quiet"
    assert command in Page(text).text


def test_intervals_are_not_tested_on_the_rows_whose_errors_they_are_made_of(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ("--preset", "fast", "--epochs", "2", "--device", "cpu", "--no-picture", "--quiet")
    assert run("train", "diabetes", *options, "--report", "trained.html")[0] == 0
    trained = Page((tmp_path / "trained.html").read_text(encoding="utf-8"))
    assert "cannot show whether intervals hold as many targets as they should: gpubp report MODEL" in trained.text
    assert "#calibration" in [one["href"] for one in trained.of("a")]
    assert run("report", "diabetes.safetensors", "--data", "diabetes", "-o", "other.html")[0] == 0
    other = (tmp_path / "other.html").read_text(encoding="utf-8")
    assert "cannot show whether intervals" not in other
    assert "On the diagonal, prediction intervals hold" in other


def test_reports_of_files_side_by_side(trained, run, fails):
    code, out, err = run("report", "iris.safetensors", "small.safetensors", "-o", "both.html", "--data", "iris")
    assert (code, out) == (0, "written    both.html (open it in a browser)\n")
    assert len(re.findall("^note: (iris|small) was trained on a table with the same values, so", err, re.M)) == 2
    text = (trained / "both.html").read_text(encoding="utf-8")
    assert text.count("was trained on a table with the same values") == 2
    assert text.count('class="confusion"') == 2
    assert "--hidden-layer-sizes 4" in text
    assert run("report", *2 * ["iris.safetensors"], "small.safetensors", "-o", "again.html", "--data", "iris")[0] == 0
    assert scores_in((trained / "again.html").read_text(encoding="utf-8")) == scores_in(text)
    assert run("report", "iris.safetensors")[1] == "written    iris.html (open it in a browser)\n"
    assert "must end in .html" in fails("report", "iris.safetensors", "-o", "a.txt")
    assert "0 of 4 rows have a target" in fails("report", "iris.safetensors", "--data", "xor")
    assert "must end in .html" in fails("train", "iris", "--report", "a.txt")


# --- in a browser ---

TOO_WIDE = browser.TOO_WIDE.replace("figure *", "figure *, .wide *, pre *")
CONTRAST = """(() => {
    const parse = (c) => c.match(/[\\d.]+/g).map(Number);
    const light = (c) => parse(c).slice(0, 3).map((v) => v / (c.startsWith("color") ? 1 : 255))
        .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
    const behind = (e) => { for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor; if (c !== "rgba(0, 0, 0, 0)") return c; }
        return "rgb(255,255,255)"; };
    let least = 99;
    for (const e of document.querySelectorAll("body *")) {
        if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || e.tagName === "title") continue;
        const style = getComputedStyle(e), of = e.closest("svg") ? style.fill : style.color;
        const [a, b] = [light(of), light(behind(e))].sort((x, y) => y - x);
        least = Math.min(least, (a + 0.05) / (b + 0.05));
    }
    return least;
})()"""


@pytest.fixture
def written(tmp_path):
    def write(*reports):
        (tmp_path / "page.html").write_text(report_page(reports), "utf-8")
        return (tmp_path / "page.html").as_uri()

    return write


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize(
    "reports",
    [
        [classification()],
        [classification(column="a" * 300)],
        [regression()],
        [classification("one"), classification("two")],
    ],
)
def test_the_page_fits_the_screen(chromium, written, width, reports):
    chromium.screen(width)
    chromium.open(written(*reports))
    assert chromium.value(TOO_WIDE) == ""
    assert chromium.value("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(chromium, written, scheme):
    chromium.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    chromium.open(written(classification()))
    brightness = chromium.value(
        "Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))"
    )
    assert brightness > 200 if scheme == "light" else brightness < 60
    assert chromium.value(CONTRAST) >= 4.5


def test_on_paper_nothing_is_hidden_or_cut_off(chromium, written):
    chromium.screen(718)  # A4 without its margins
    chromium.send("Emulation.setEmulatedMedia", media="print")
    chromium.open(written(classification()))
    assert chromium.value("document.querySelector('nav').checkVisibility()") is False
    edges = "[...document.querySelectorAll('table, svg, pre')].map((part) => part.getBoundingClientRect().right)"
    assert max(chromium.value(edges)) <= 718


def test_the_first_tab_skips_to_the_scores(chromium, written):
    chromium.open(written(classification()))
    chromium.press("Tab")
    assert chromium.value("document.activeElement.getAttribute('href')") == "#main"
    assert chromium.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert chromium.value("document.activeElement.getBoundingClientRect().left") >= 0


def test_hostile_names_run_nothing(chromium, written):
    chromium.open(written(classification(HOSTILE, column=HOSTILE)))
    assert chromium.value("document.querySelectorAll('script, img').length") == 0
