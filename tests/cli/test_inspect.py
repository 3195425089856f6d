"""``gpubp inspect`` and ``gpubp evaluate``."""

import json
import re
from html.parser import HTMLParser

import pytest

from tests.shop import ROWS, shop, write


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
    as_json = json.loads(run("inspect", "shop.csv", "--target", "buys", "--type", "age=category", "--json")[1])
    assert {column["name"]: column["type"] for column in as_json["columns"]}["age"] == "category"


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
    path = write("again.csv", buys=[None, "perhaps"])
    code, out, err = run("evaluate", model, path, *options)
    assert code == 0
    assert out.splitlines()[0].split() == ["scores", "baseline"]
    assert re.search(rf"^rows +{ROWS - 2} *$", out, re.MULTILINE)
    assert "2 rows have no known target" in err
    scores = json.loads(run("evaluate", model, path, "--json", *options)[1])
    assert scores["scored"] == ROWS - 2
    assert set(scores["scores"]) == set(scores["baseline"])
    shares = shop()["buys"][2:].value_counts(normalize=True)
    assert scores["baseline"]["accuracy"] in [pytest.approx(share) for share in shares]
    shop().drop(columns="buys").to_csv("none.csv", index=False)
    assert "no row has a known value of the target 'buys'" in fails("evaluate", model, "none.csv", *options)
