"""The page that explains the equations: complete, self-contained, and usable by keyboard."""

import base64
import hashlib
import itertools
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from gpubp import Network, initial_weights, load_dataset, save_model
from gpubp.cli.explain.command import explain as command
from gpubp.errors import DataError, ModelFileError
from gpubp.explain import Example, explain, html_page, rain_network
from gpubp.explain._diagram import MAX_LINE_WIDTH, short
from gpubp.explain._page import MAX_CASES
from gpubp.explain.notation import number_format
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.nn.network import views
from gpubp.tabular import fit_table, prepare_table
from tests import browser

pytestmark = pytest.mark.once

VOID = {"meta", "link", "line", "circle", "br"}
HOSTILE = '</title></svg><script>alert("1")</script><img src=x onerror=alert(1)>&\x1b[31m\u202e\ud800'


class Page(HTMLParser):
    """The contents of each step of a page; raises if tags do not match."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.steps: list[dict] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        assert len(named) == len(attributes), f"an attribute twice in {tag}"
        self.tags.append((tag, named))
        if tag == "section":
            self.steps.append({"id": named["id"], "stage": named["data-stage"], "tables": [], "text": "", "tags": []})
        if self.steps:
            self.steps[-1]["tags"].append((tag, named))
            if tag == "table":
                self.steps[-1]["tables"].append([])
            if tag == "tr":
                self.steps[-1]["tables"][-1].append([])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if self.steps:
            self.steps[-1]["tags"].append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data
        if self.steps and "section" in self.open:
            self.steps[-1]["text"] += data
            if self.open[-1] == "td":
                self.steps[-1]["tables"][-1][-1].append(data)


def make(network: Network, cases: int = 2):
    rng = np.random.default_rng(0)
    x, d = rng.normal(size=(cases, network.sizes[0])), rng.uniform(0.1, 0.9, size=(cases, network.sizes[-1]))
    return Example(network, initial_weights(network, 0, scheme="uniform", scale=0.8, dtype="float64"), x, d)


EXAMPLES = {
    "rain": rain_network(),
    "biases": make(Network((3, 2, 4, 2), activation=("tanh", "relu"), output_activation="logistic")),
    **{name: make(Network((2, 2, 3), activation="tanh", loss=name)) for name in LOSSES if get_loss(name).output},
}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_the_page_has_every_step_and_number_of_the_walk(example):
    passages = explain(*example)
    parsed = Page(html_page(example))
    assert [step["id"] for step in parsed.steps] == [f"step-{number}" for number in range(1, len(passages) + 1)]
    assert [step["stage"] for step in parsed.steps] == [passage.stage for passage in passages]
    for passage, step in zip(passages, parsed.steps, strict=True):
        assert passage.title in step["text"]
        assert passage.meaning in step["text"]
        assert re.sub(r"\s", "", passage.formula) in re.sub(r"\s", "", step["text"])  # fractions are read with a slash
        if passage.equation:
            assert f"({passage.equation.replace(', ', '), (')})" in step["text"]
        matrices = [term.values for term in (*passage.terms, passage.result) if term.values.ndim]
        assert len(step["tables"]) == len(matrices)
        for values, table in zip(matrices, step["tables"], strict=True):
            write = number_format(values, 4)
            expected = [[write(value).replace("-", "−") for value in row] for row in values.tolist()]
            if len(expected) > 17:
                expected = [*expected[:8], ["⋮"] * values.shape[1], *expected[-8:]]
            assert table == expected


def test_all_parts_of_the_lesson_exist():
    steps = Page(html_page(rain_network())).steps
    stages = [step["stage"] for step in steps]
    assert list(dict.fromkeys(stages)) == ["start", "forward", "error", "backward", "update", "check"]
    for number in range(1, 9):
        assert any(f"({number})" in step["text"] for step in steps), number


def test_small_results_are_worked_out_unit_by_unit():
    example = rain_network()
    steps = Page(html_page(example, case_names=["Monday", "Tuesday", "Wednesday"])).steps
    total = steps[1]["text"]
    assert "Monday, unit 1: 3 × 0.2658 + 5 × (−0.2515) = −0.4600" in total
    assert total.count("Wednesday, unit") == 3
    assert "Monday, unit 1: logistic(−0.4600) = 0.3870" in steps[2]["text"]
    change = next(step for step in steps if "(8)" in step["text"])
    assert "from unit 2 below to unit 3: −0.5 × " in change["text"].replace("−0.5000", "−0.5")


def lines(step):
    return [named for tag, named in step["tags"] if tag == "line"]


@pytest.mark.parametrize("name", ["rain", "biases"])
def test_the_drawing_has_the_weights_and_signs(name):
    example = EXAMPLES[name]
    bias = example.network.bias
    blocks = [block[:-1] if bias else block for block in views(np, example.network, example.theta)]
    weights = np.concatenate([block.ravel() for block in blocks])
    parsed = Page(html_page(example))
    for step in parsed.steps[:-2]:
        drawn = lines(step)
        assert [("above" in line["class"]) for line in drawn] == [bool(w > 0) for w in weights]
        widths = np.maximum(MAX_LINE_WIDTH * np.abs(weights) / np.abs(weights).max(), 0.4)
        np.testing.assert_allclose([float(line["stroke-width"]) for line in drawn], widths, atol=0.006)
    changed = lines(parsed.steps[-2])
    assert [line["stroke-width"] for line in changed] != [line["stroke-width"] for line in drawn]


@pytest.mark.parametrize("name", ["rain", "biases"])
def test_no_number_in_the_drawing_covers_another(name):
    for step in Page(html_page(EXAMPLES[name])).steps:
        labels = [
            [float(named[side]) for side in ("x", "y", "width", "height")]
            for tag, named in step["tags"]
            if tag == "rect"
        ]
        for (x, y, width, height), (x_2, y_2, width_2, height_2) in itertools.combinations(labels, 2):
            apart = x + width <= x_2 or x_2 + width_2 <= x or y + height <= y_2 or y_2 + height_2 <= y
            assert apart, step["id"]


@pytest.mark.parametrize("number", [4, 9, 14])  # total inputs of layer 2, derivatives and changes of its weights
def test_numbers_stand_beside_their_connections_where_there_is_room(number):
    step = Page(html_page(EXAMPLES["rain"])).steps[number - 1]
    (boxes, ends) = (
        [[float(named[side]) for side in sides] for tag, named in step["tags"] if tag == kind]
        for kind, sides in (("rect", ("x", "y", "width", "height")), ("line", ("x1", "y1", "x2", "y2")))
    )
    assert len(boxes) == 3
    x = np.linspace(0.0, 1.0, 200)
    for left, top, width, height in boxes:
        for x_1, y_1, x_2, y_2 in ends:
            across, down = x_1 + x * (x_2 - x_1), y_1 + x * (y_2 - y_1)
            inside = (left < across) & (across < left + width) & (top < down) & (down < top + height)
            assert not inside.any()


def test_where_cases_are_added_up_the_units_show_the_factors_of_all():
    def in_units(example):
        page = html_page(example)
        (drawing, *_) = (
            part
            for part in page.split("<section")[1:]
            if "(6)</span> The derivatives of the weights into layer 2" in part
        )
        return re.findall(r'<text class="small"[^>]*>([^<]*)<', drawing)

    example = rain_network()
    passage = next(passage for passage in explain(*example) if passage.title.endswith("weights into layer 2"))
    below, above = (term.values for term in passage.terms)
    expected = [short(value, 2) for value in (*below.ravel(), *above.ravel())]
    assert in_units(example) == expected
    assert len(expected) == 12
    assert in_units(make(Network((3, 2, 2)), cases=5)) == []


def test_the_current_part_is_highlighted():
    steps = Page(html_page(rain_network())).steps

    def lit(step):
        return [i for i, line in enumerate(lines(step)) if "active" in line["class"]], [
            i
            for i, circle in enumerate(named for tag, named in step["tags"] if tag == "circle")
            if circle["class"] == "active"
        ]

    into_1, into_2, inputs, hidden, output = [*range(6)], [6, 7, 8], [0, 1], [2, 3, 4], [5]
    assert lit(steps[1]) == (into_1, inputs + hidden)
    assert lit(steps[2]) == ([], hidden)
    assert lit(steps[3]) == (into_2, hidden + output)
    assert lit(steps[5]) == ([], output)
    by_equation = {
        re.search(r"\((\d)\)", step["text"])[1]: step for step in steps if re.search(r"\((\d)\)", step["text"])
    }
    assert lit(by_equation["7"]) == (into_2, hidden + output)
    assert lit(by_equation["8"]) == (into_2, [])


def test_nothing_external_is_loaded():
    text = html_page(rain_network())
    for tag, named in Page(text).tags:
        assert tag not in ("iframe", "object", "embed", "audio", "video", "img", "use", "image", "base")
        for name, value in named.items():
            assert not name.startswith("on")
            if name in ("href", "src", "xlink:href", "action"):
                assert value.startswith("#") or value == "data:,"
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    policy = re.search(r'content="(default-src[^"]+)"', text)[1]
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    assert "default-src 'none'" in policy
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy


def test_text_is_escaped():
    example = rain_network()
    safe = Page(html_page(example))
    text = html_page(
        example,
        title=HOSTILE,
        note=HOSTILE,
        input_names=[HOSTILE] * 2,
        output_names=[HOSTILE],
        case_names=[HOSTILE] * 3,
    )
    parsed = Page(text)
    extra = [tag for tag, _ in parsed.tags]
    for tag in {tag for tag, _ in safe.tags} - {"text", "title", "p"}:
        assert extra.count(tag) == [tag for tag, _ in safe.tags].count(tag), tag
    assert "img" not in extra
    assert text.count("<script") == 1
    assert "\x1b" not in text
    assert "\u202e" not in text
    text.encode()  # no lone surrogate is left
    assert "alert(1)" in parsed.text  # it is shown as text


@pytest.mark.parametrize(
    ("example", "options", "message"),
    [
        (make(Network((2, 17, 1))), {}, r"2-17-1, has 17 units in its widest layer .* Train a smaller one"),
        (make(Network((16, 16, 3))), {}, "300 weights"),
        (make(Network((1, 1)), cases=MAX_CASES + 1), {}, "up to 8 cases at once, got 9; choose one with --sample"),
        (rain_network(), {"input_names": ["a"]}, "input_names must be 2 names, got 1"),
        (rain_network(), {"learning_rate": 0.0}, "learning_rate must be finite and above 0"),
    ],
)
def test_misuse(example, options, message):
    with pytest.raises(DataError, match=message):
        html_page(example, **options)


def test_the_largest_page_is_not_too_large():
    text = html_page(make(Network((16, 11, 9)), cases=MAX_CASES))
    assert len(text) < 2_000_000


# The command


def run(*arguments: object):
    app = typer.Typer()
    app.command()(command)
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, [str(part) for part in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    """A model file of a 4-3-3 network that was trained on a table."""
    path = tmp_path_factory.mktemp("models") / "iris.safetensors"
    model = fit_table(prepare_table("iris", numbers="linear"), hidden_layer_sizes=(3,), epochs=5, device="cpu").model
    save_model(path, model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
    return path


def test_the_rain_page_is_written(tmp_path):
    out = tmp_path / "rain.html"
    result = run("--html", out)
    assert result.exit_code == 0
    assert "rain.html (16 steps; open it in a browser)" in result.stdout
    text = out.read_text(encoding="utf-8")
    assert "days raining" in text
    assert "Monday, unit 1" in text
    assert len(Page(text).steps) == 16


def test_one_sample_of_the_rain(tmp_path):
    out = tmp_path / "rain.html"
    run("--html", out, "--sample", 2)
    steps = Page(out.read_text(encoding="utf-8")).steps
    assert steps[0]["tables"][0] == [["1", "6"]]
    assert "Tuesday, unit 1" in steps[1]["text"]
    assert "Monday" not in steps[1]["text"]


def test_a_model_file_and_the_set_it_learned(tmp_path, iris):
    out = tmp_path / "iris.html"
    assert run(iris, "--html", out, "--sample", 51).exit_code == 0
    parsed = Page(out.read_text(encoding="utf-8"))
    data = json.loads(run(iris, "--json", "--sample", 51).stdout)
    assert len(data["passages"]) == len(parsed.steps)
    assert data["passages"][0]["result"]["values"] == [[0.0, 1.0, 0.0]]  # versicolor
    assert "versicolor" in parsed.text
    assert "case 51, unit 1" in parsed.steps[1]["text"]


def test_samples_from_a_file(tmp_path, iris):
    table = tmp_path / "more.csv"
    features = load_dataset("iris").feature_names
    table.write_text(",".join([*features, "target"]) + "\n5.1,3.5,1.4,0.2,setosa\n")
    data = json.loads(run(iris, "--data", table, "--json").stdout)
    assert data["passages"][0]["result"]["values"] == [[1.0, 0.0, 0.0]]


def test_a_model_without_a_table(tmp_path):
    path, out = tmp_path / "xor.safetensors", tmp_path / "xor.html"
    network = Network((2, 2, 1), activation="logistic", output_activation="logistic")
    save_model(path, network, initial_weights(network))
    with pytest.raises(DataError, match=r"pass cases as well, gpubp explain .* DATA: a file, or one of .*xor"):
        run(path, "--html", out)
    assert run(path, "--data", "xor", "--html", out).exit_code == 0
    with pytest.raises(DataError, match="iris gives 4 inputs and 3 targets, but the network has 2 and 1"):
        run(path, "--data", "iris")
    table = tmp_path / "own.csv"
    table.write_text("a,b,c\n0,1,0.5\n")
    data = json.loads(run(path, table, "--json").stdout)
    with pytest.raises(DataError, match="given twice"):
        run(path, table, "--data", "xor")
    assert data["passages"][0]["terms"][0]["values"] == [[0.0, 1.0]]
    assert data["passages"][0]["result"]["values"] == [[0.5]]


def test_a_hostile_model_file(tmp_path):
    """Names of columns come from an untrusted file."""
    name = "<img src=x onerror=alert(1)>"
    table = {name: [0.0, 1.0, 2.0, 3.0] * 3, "y": [0.0, 1.0, 2.0, 3.0] * 3}
    model = fit_table(prepare_table(table, target="y"), hidden_layer_sizes=(2,), epochs=2, device="cpu").model
    path, out, data = tmp_path / "<b>.safetensors", tmp_path / "out.html", tmp_path / "d.csv"
    save_model(path, model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
    data.write_text(f"{name},y\n1,2\n")
    assert run(path, "--data", data, "--html", out).exit_code == 0
    text = out.read_text(encoding="utf-8")
    assert "<img" not in text
    assert "&lt;img" in text
    assert "<b>.safetensors" not in text


def test_misuse_of_the_command(tmp_path, iris):
    with pytest.raises(DataError, match=r"--sample must be from 1 to 3"):
        run("--sample", 4)
    with pytest.raises(DataError, match=r"must end in \.html"):
        run("--html", iris)
    with pytest.raises(DataError, match=r"gpubp explain MODEL iris"):
        run("--data", "iris")
    with pytest.raises((DataError, ModelFileError, OSError), match=r"missing"):
        run(tmp_path / "missing.safetensors")
    big = tmp_path / "big.safetensors"
    network = Network((2, 100, 1))
    save_model(big, network, initial_weights(network))
    with pytest.raises(DataError, match="up to 16 units in a layer"):
        run(big, "--data", "xor", "--html", tmp_path / "big.html")
    assert not (tmp_path / "big.html").exists()


# In a browser

VISIBLE = """[...document.querySelectorAll(".step")].filter((s) => s.checkVisibility()).map((s) => s.id).join()"""
CUT_OFF = """[...document.querySelectorAll("svg text")].filter((text) => {
    const box = text.getBBox(), { width, height } = text.ownerSVGElement.viewBox.baseVal;
    const inside = box.x >= 0 && box.x + box.width <= width && box.y >= 0 && box.y + box.height <= height;
    return text.checkVisibility() && !inside;
}).map((text) => text.textContent).join()"""


@pytest.fixture
def rain(tmp_path):
    run("--html", tmp_path / "rain.html")
    return (tmp_path / "rain.html").as_uri()


@pytest.fixture
def written(tmp_path):
    def write(example):
        out = tmp_path / "example.html"
        out.write_text(html_page(example, input_names=["a long_name of an input"] * example.x.shape[1]), "utf-8")
        return out.as_uri()

    return write


def test_keyboard_and_buttons_move_between_steps(chromium, rain):
    chromium.open(rain)
    assert chromium.value(VISIBLE) == "step-1"
    chromium.press("ArrowRight")
    chromium.press("ArrowRight")
    assert chromium.value(VISIBLE) == "step-3"
    assert chromium.value("location.hash") == "#step-3"
    data = chromium.value("document.getElementById('now').textContent")
    assert data == "Step 3 of 16: (2) Output of layer 1"
    assert chromium.value("document.querySelector('[aria-current]').textContent") == "3"
    chromium.press("ArrowLeft")
    assert chromium.value(VISIBLE) == "step-2"
    chromium.press("End")
    assert chromium.value(VISIBLE) == "step-16"
    chromium.press("ArrowRight")
    assert chromium.value(VISIBLE) == "step-16"
    chromium.press("Home")
    assert chromium.value(VISIBLE) == "step-1"
    chromium.value("document.getElementById('on').focus()")
    chromium.press("Enter")
    assert chromium.value(VISIBLE) == "step-2"
    chromium.value("new Promise((done) => { addEventListener('popstate', done); history.back(); }).then(() => null)")
    assert chromium.value(VISIBLE) == "step-1"
    chromium.value("document.getElementById('all').click()")
    assert chromium.value(VISIBLE).count("step-") == 16


def test_a_step_has_an_address_and_its_page_starts_at_the_top(chromium, rain):
    chromium.screen(360)
    chromium.open(rain + "#step-7")
    assert chromium.value(VISIBLE) == "step-7"
    assert chromium.value("new Promise((done) => setTimeout(() => done(scrollY), 100))") == 0
    chromium.value("document.getElementById('all').click()")
    assert chromium.value("document.getElementById('step-7').getBoundingClientRect().top") == pytest.approx(0, abs=1)


def test_the_focus_is_visible(chromium, rain):
    chromium.open(rain)
    chromium.press("Tab")
    assert chromium.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert chromium.value("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2


def test_without_javascript_every_step_is_visible(chromium, rain):
    chromium.send("Emulation.setScriptExecutionDisabled", value=True)
    chromium.open(rain)
    assert chromium.value(VISIBLE).count("step-") == 16
    assert chromium.value("document.getElementById('controls').checkVisibility()") is False


def test_print_shows_every_step_in_full(chromium, written):
    chromium.screen(718)  # A4 without its margins
    chromium.send("Emulation.setEmulatedMedia", media="print")
    chromium.open(written(make(Network((16, 11, 9)), cases=MAX_CASES)))
    assert chromium.value(VISIBLE).count("step-") == 16
    assert chromium.value("document.querySelector('nav').checkVisibility()") is False
    assert chromium.value(browser.TOO_WIDE) == ""
    edges = "[...document.querySelectorAll('table, svg')].map((part) => part.getBoundingClientRect().right)"
    assert max(chromium.value(edges)) <= 718


@pytest.mark.parametrize("width", [360, 1280])
def test_a_model_s_page_fits_the_screen_at_every_step(chromium, tmp_path, iris, width):
    out = tmp_path / "iris.html"
    run(iris, "--html", out)
    chromium.screen(width)
    chromium.open(out.as_uri())
    n_steps = chromium.value("document.querySelectorAll('.step').length")
    for number in range(1, n_steps + 1):
        assert chromium.value(VISIBLE) == f"step-{number}"
        assert chromium.value(browser.TOO_WIDE) == ""
        assert chromium.value("document.documentElement.scrollWidth") == width
        assert chromium.value(CUT_OFF) == ""
        chromium.press("ArrowRight")


def test_the_keys_scroll_a_wide_part_that_has_the_focus(chromium, tmp_path, iris):
    out = tmp_path / "iris.html"
    run(iris, "--html", out)
    chromium.screen(360)
    chromium.open(out.as_uri() + "#step-2")
    chromium.value("document.querySelector('#step-2 .terms').focus()")
    chromium.press("ArrowRight")
    assert chromium.value(VISIBLE) == "step-2"
    chromium.value("document.activeElement.blur()")
    chromium.press("ArrowRight")
    assert chromium.value(VISIBLE) == "step-3"


def test_a_wide_drawing_scrolls_to_the_current_part(chromium, written):
    chromium.open(written(make(Network((2, *[2] * 11, 1), activation="tanh"))))
    seen = """(() => { const lit = document.querySelector("#step-20 circle.active").getBoundingClientRect(),
        figure = document.querySelector("#step-20 figure").getBoundingClientRect();
        return figure.left < lit.left && lit.right < figure.right; })()"""
    for _ in range(19):
        chromium.press("ArrowRight")
    assert chromium.value(VISIBLE) == "step-20"
    assert chromium.value(seen) is True
    assert chromium.value("scrollY") == 0


def test_dark_mode(chromium, rain):
    chromium.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    chromium.open(rain)

    def brightness(what, of):
        return max(map(int, re.findall(r"\d+", chromium.value(f"getComputedStyle(document.{what}).{of}"))))

    assert brightness("body", "backgroundColor") < 60
    assert brightness("body", "color") > 200
    assert brightness("querySelector('svg rect')", "fill") < 60
