"""The HTML of estimators links to the site, where the address of the site is known."""

import importlib.metadata
from email.message import Message

import pytest

import gpubp
from gpubp._core import documentation

ESTIMATORS = [
    *(gpubp.MLPClassifier(), gpubp.MLPRegressor(), gpubp.MLPEnsembleClassifier(), gpubp.MLPEnsembleRegressor()),
    *(gpubp.TabularClassifier(), gpubp.TabularRegressor()),
    *(search(gpubp.MLPClassifier(), {}) for search in (gpubp.BatchedSearchCV, gpubp.BatchedHalvingSearchCV)),
]


@pytest.fixture
def site(monkeypatch):
    metadata = Message()
    metadata["Project-URL"] = "Repository, https://example.org/code"
    metadata["Project-URL"] = "Documentation, https://example.org/site/"
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: metadata)
    found = documentation.site_address
    found.cache_clear()
    yield "https://example.org/site"
    found.cache_clear()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_the_html_links_to_the_page_of_the_class(estimator, site):
    address = f"{site}/reference/gpubp.{type(estimator).__name__}.html"
    assert f'href="{address}"' in estimator._repr_html_()


def test_no_link_to_a_page_that_is_not_there(site, monkeypatch):
    class Mine(gpubp.MLPClassifier):
        pass

    assert Mine()._get_doc_link() == ""
    monkeypatch.setattr(documentation, "site_address", lambda: "")
    assert gpubp.MLPClassifier()._get_doc_link() == ""
