"""``gpubp inspect`` and ``gpubp evaluate``."""

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from rich.cells import cell_len
from sklearn import metrics

from gpubp import TabularClassifier
from gpubp.cli.output import console
from gpubp.errors import TableWarning
from tests.shop import FAST, ROWS, shop, write


class Page(HTMLParser):
    """Collects the tags, the references to other places, and the text of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.references, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


def test_each_column_is_shown_with_its_type_and_the_reason(run):
    shop().assign(number=range(ROWS), open="yes").to_csv("shop.csv", index=False)
    code, out, _ = run("inspect", "shop.csv", "--target", "buys")
    assert code == 0
    assert "60 rows, 6 columns" in out
    assert re.search(r"^town +category +Bonn, Köln, Ulm +3 *$", out, re.MULTILINE)
    assert re.search(r"^number +dropped +row numbers", out, re.MULTILINE)
    assert re.search(r"^open +dropped +constant, 'yes'", out, re.MULTILINE)
    assert re.search(r"^buys +target +no, yes ", out, re.MULTILINE)
    assert "--target" not in out
    write("shop.csv")
    assert "'buys'; --target NAME takes another column" in run("inspect", "shop.csv")[1]  # the last column
    as_json = json.loads(run("inspect", "shop.csv", "--target", "buys", "--type", "age=category", "--json")[1])
    assert {column["name"]: column["type"] for column in as_json["columns"]}["age"] == "category"


def test_a_likely_mark_of_missing_values_is_a_warning_with_its_option(run):
    write("shop.csv", age=[-999] * 4, income=[-999] * 5)
    _, out, err = run("inspect", "shop.csv", "--target", "buys")
    expected = (
        "warning: -999 stands apart from all other numbers of 'age', 'income': if it means missing, pass --missing -999"
    )
    assert expected in err
    assert re.search("^age +number +-999 to ", out, re.MULTILINE)
    _, out, err = run("inspect", "shop.csv", "--target", "buys", "--missing", "-999")
    assert "-999" not in out + err


@pytest.mark.parametrize("name", ["shop.csv", "parts"])
def test_the_page_has_a_histogram_for_each_column_and_loads_nothing(run, monkeypatch, tmp_path, name):
    hostile = "<script>alert(1)</script>"
    frame = shop().rename(columns={"town": hostile}).replace({"Bonn": hostile})
    if name == "parts":
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path)
        frame[:30].to_csv(f"{name}/1.csv", index=False)
        frame[30:].to_csv(f"{name}/2.csv", index=False)
    else:
        frame.to_csv(name, index=False)
    code, _, _ = run("inspect", name, "--html", "page.html")
    assert code == 0
    with open("page.html", encoding="utf-8") as file:
        text = file.read()
    page = Page()
    page.feed(text)
    assert page.tags.count("svg") == 4
    assert page.references == []
    assert "script" not in page.tags
    assert hostile in "".join(page.text)
    assert ("Histograms show the first 30 rows" in text) == (name == "parts")


@pytest.mark.parametrize("options", [(), ("--stream",)], ids=["whole", "in parts"])
def test_a_model_is_scored_beside_the_baseline(run, fails, model, options):
    path = write("again.csv", buys=[None, None])
    code, out, err = run("evaluate", model, path, *options)
    assert code == 0
    assert out.splitlines()[0].split() == ["scores", "baseline"]
    assert re.search(rf"^rows +{ROWS - 2} *$", out, re.MULTILINE)
    assert "2 rows without a target: not scored" in err
    scores = json.loads(run("evaluate", model, path, "--json", *options)[1])
    assert scores["scored"] == ROWS - 2
    assert set(scores["scores"]) == set(scores["baseline"])
    shares = shop()["buys"][2:].value_counts(normalize=True)
    assert scores["baseline"]["accuracy"] in [pytest.approx(share) for share in shares]
    shop().drop(columns="buys").to_csv("none.csv", index=False)
    unknown = "it has no column 'buys', or none of its rows holds the class no, yes there"
    assert unknown in fails("evaluate", model, "none.csv", *options)


@pytest.mark.parametrize("options", [(), ("--stream",)], ids=["whole", "in parts"])
def test_rows_of_a_class_that_training_did_not_see_count_as_wrong(run, model, options):
    path = write("again.csv", buys=[None, "perhaps", "never", "never"])
    write("seen.csv", buys=[None] * 4)
    code, _, err = run("evaluate", model, path, *options)
    assert code == 0
    assert "1 row without a target: not scored" in err
    assert "3 rows of a class that training did not see count as wrong; log loss and ROC AUC are of the others" in err
    found = json.loads(run("evaluate", model, path, "--json", *options)[1])
    assert (found["scored"], found["unseen_classes"]) == (ROWS - 1, 3)
    classifier = TabularClassifier.load(model)
    frame = pd.read_csv(path)
    true, guess = frame["buys"].dropna(), classifier.predict(frame.dropna(subset="buys"))
    expected = {
        "accuracy": metrics.accuracy_score(true, guess),
        "balanced_accuracy": metrics.recall_score(true, guess, labels=true.unique(), average="macro", zero_division=0),
        "macro_f1": metrics.f1_score(true, guess, average="macro", zero_division=0),
    }
    assert found["scores"] == {**found["scores"], **{name: pytest.approx(value) for name, value in expected.items()}}
    with pytest.warns(TableWarning, match="3 rows of a class that training did not see count as wrong"):
        assert classifier.score(path, "buys") == pytest.approx(expected["accuracy"])
    seen = json.loads(run("evaluate", model, "seen.csv", "--json", *options)[1])
    for name in ("log_loss", "roc_auc"):
        assert found["scores"][name] == pytest.approx(seen["scores"][name])
    assert found["baseline"]["accuracy"] < seen["baseline"]["accuracy"]


def row_of(out, name):
    """Return the cells of a column's row."""
    line = next(line for line in out.splitlines() if line.startswith(f"{name} "))
    return re.split(" {2,}", line.strip())


def test_the_options_of_columns_are_those_of_train(run, fails):
    frame = shop(age=[None]).assign(zip=[f"0{k % 9}" for k in range(ROWS)], week=[k % 7 for k in range(ROWS)])
    frame.to_csv("shop.csv", index=False)
    how = ["--target", "buys", "--categorical", "week,age", "--drop", "income", "--max-categories", "3"]
    out = run("inspect", "shop.csv", *how)[1]
    assert row_of(out, "week")[1:4] == [
        "category",
        "0, 1, 2",
        "as requested; the 3 most frequent have an input each, 4 share 4",
    ]
    assert row_of(out, "income")[1:3] == ["dropped", "as requested"]
    assert row_of(run("inspect", "shop.csv", "--target", "week", "--task", "regression")[1], "week")[1:3] == [
        "target",
        "0 to 6",
    ]
    assert "column 'age': 1 missing value" in fails("inspect", "shop.csv", "--strict")
    assert "no column 'incom'" in fails("inspect", "shop.csv", "--drop", "incom")


@pytest.mark.parametrize(
    ("frame", "refusal"),
    [
        (shop().assign(buys="yes"), "the target 'buys' has only one class, 'yes'"),
        (shop().assign(buys=None), "the target 'buys' has no values"),
        (shop()[["income"]], "no columns besides the target"),
        (pd.DataFrame({"a": [1, 1], "b": [2, 2]}), "only one class"),
        (pd.DataFrame({"a": [1] * 8, "b": [2, 3] * 4}), "no column to learn from ('a': constant, '1')"),
        (pd.concat([shop()] * 3).assign(buys=[f"name{k}" for k in range(3 * ROWS)]), "180 classes, too many"),
    ],
    ids=["constant", "empty", "alone", "all constant", "features constant", "names"],
)
@pytest.mark.parametrize("options", [(), ("--stream",)], ids=["whole", "in parts"])
def test_a_table_without_a_usable_target_is_shown_with_the_reason(run, frame, refusal, options):
    frame.to_csv("shop.csv", index=False)
    code, out, err = run("inspect", "shop.csv", *options)
    assert code == 0
    assert refusal in err
    assert len(re.findall(rf"^({'|'.join(frame.columns)}) ", out, re.MULTILINE)) == frame.shape[1]
    assert (" target " in out) == ("to learn from" in refusal)
    assert refusal in run("train", "shop.csv", *options)[2]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([f"{k} mpg" for k in range(ROWS)], ["0 to 59", "numbers with the unit 'mpg'", "60"]),
        ([f"{k},5" for k in range(ROWS)], ["0.5 to 59.5", "numbers with a decimal comma", "60"]),
        ([k / 2 for k in range(ROWS)], ["0 to 29.5", "60"]),
        ([f"{k % 3:02}" for k in range(ROWS)], ["00, 01, 02", "classes: codes with leading zeros", "3"]),
    ],
    ids=["unit", "comma", "plain", "codes"],
)
def test_the_target_is_shown_with_its_format(run, values, shown):
    shop().assign(buys=values).to_csv("shop.csv", index=False)
    assert row_of(run("inspect", "shop.csv")[1], "buys")[2:] == shown
    assert row_of(run("train", "shop.csv", *FAST)[2], "buys")[2:] == shown


def test_bools_are_yes_and_no(run):
    shop().assign(open=["J", "N"] * 30, paid=["Y", "n"] * 30, sent=[True, False] * 30).to_csv("shop.csv", index=False)
    out = run("inspect", "shop.csv", "--target", "buys")[1]
    assert row_of(out, "open")[2:4] == ["J, N", "2"]
    assert row_of(out, "paid")[2:4] == ["no, yes", "yes or no, written 'n' and 'Y'"]
    assert row_of(out, "sent")[2] == "no, yes"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_of_columns_fits_the_terminal(run, monkeypatch, width):
    names = {"town": "the town in which the customer lives and pays taxes", "income": "Einkommen, 収入の合計額を円で"}
    frame = pd.concat([shop()] * 4, ignore_index=True).rename(columns=names)
    frame["age"] = [None, "old", *frame["age"][2:]]
    frame["note"] = [f"word{k} and word{k % 7} beside many other words" for k in range(len(frame))]
    frame.to_csv("shop.csv", index=False)
    monkeypatch.setattr(console, "_force_terminal", True)
    monkeypatch.setattr(console, "_width", width)
    out = re.sub(r"\x1b\[[\d;]*m", "", run("inspect", "shop.csv", "--target", "buys")[1])
    lines = out.splitlines()
    assert max(map(cell_len, lines)) <= width
    start = next(index for index, line in enumerate(lines) if line.startswith("column"))
    left, right = (lines[start].index(heading) for heading in ("why", "missing"))
    whys = [line[left:right].strip() for line in lines[start:] if cell_len(line) == len(line)]
    assert "1 other value, 'old', is taken as missing" in " ".join(whys)
    assert "free text" in " ".join(whys)


def test_text_among_numbers_is_noted(run):
    err = run("inspect", write(age=[33, "?"], income=[1.0, "about 9000"]), "--target", "buys")[2]
    assert re.findall("^note: .*column '(.*)': 1 of .*not of the column's type.*: 'about 9000'", err, re.MULTILINE) == [
        "income"
    ]


@pytest.mark.parametrize("command", ["inspect", "train"])
def test_one_is_singular(run, command):
    frame = shop(age=["old", *shop()["age"][1:]], buys=[None])
    frame[["age", "buys"]].to_csv("shop.csv", index=False)
    out = "".join(run(command, "shop.csv", *(FAST if command == "train" else ()))[1:])
    assert "; 1 other value, 'old', is taken as missing" not in out  # the row has no target
    assert ("1 without a target is left out" in out) == (command == "train")
    assert not re.search(r"\b1 (rows|others|columns|inputs|epochs|values|classes)\b", out)


def test_a_terminal_shows_some_of_many_columns_and_a_pipe_all(run, monkeypatch):
    numbers = {f"n{k}": [0.5, 1.5, 2.5] for k in range(45)}
    pd.DataFrame(numbers).to_csv("numbers.csv", index=False)
    pd.DataFrame({f"t{k}": ["a", "b", "b"] for k in range(45)}).to_csv("texts.csv", index=False)
    assert "more column" not in run("inspect", "numbers.csv")[1]
    assert re.search(r"^t44 ", run("inspect", "texts.csv")[1], re.MULTILINE)
    monkeypatch.setattr(console, "_force_terminal", True)
    how = "; a pipe, such as 2>&1 | less, or --json has all"
    shown = {name: " ".join(run("inspect", name)[1].split()) for name in ("numbers.csv", "texts.csv")}
    assert f"... and 5 more columns of numbers without missing values{how}" in shown["numbers.csv"]
    assert f"... and 5 more columns{how}" in shown["texts.csv"]
