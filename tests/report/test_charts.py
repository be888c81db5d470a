"""Figures: SVG that the page colours, with text that stays text and nothing that clashes."""

import re
from xml.etree import ElementTree

import pytest

from srlm.report import charts

GRADES = [
    {"grade": 1, "answers": 3, "place": {"value": 0.8, "low": 0.6, "high": 0.9, "num": 3}},
    {"grade": 4, "answers": 3, "place": {"value": 0.3, "low": None, "high": None, "num": 3}},
    {"grade": 5, "answers": 0, "place": {"value": None, "low": None, "high": None, "num": 0}},
]
DRAWN = {
    "lines": charts.lines({"M2": [(1, 0.7), (2, 0.6)], "M3": [(1, 0.7), (2, 0.5)]}, "T <1>", "step", "loss"),
    "distributions": charts.distributions({"M2": [1.0, 2.0, 3.0], "M3": []}, "T", "points"),
    "histograms": charts.histograms({"M2": {4: 3, 5: 1}, "M3": {0: 2}}, "T", "grade"),
    "cloud": charts.cloud({"M2": [(1, 2)] * 5000, "M3": []}, "T", "x", "y"),
    "bare": charts.cloud({"M2": [(1, 2), (3, 4)]}, "T", "", "", bare=True),
    "calibration": charts.calibration({"M1": GRADES, "M2": []}, "T"),
    "radar": charts.radar({"M1": {"writing": 5.0, "math": 2.0, "coding": 3.0}}, "T", 10),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_one_element_coloured_by_the_page(name):
    svg = DRAWN[name]
    figure = ElementTree.fromstring(svg)  # noqa: S314  our own
    caption, root = figure
    assert (figure.tag, caption.tag, root.tag) == ("figure", "figcaption", "svg")
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert root.get("viewBox")
    assert root.get("width") is None
    assert "var(--c" in svg
    assert not re.findall(r"#[0-9a-f]{6}", svg)
    assert "http" not in svg
    assert "<text" in svg or name == "bare"


def test_titles_are_escaped():
    assert 'aria-label="T &lt;1&gt;"' in DRAWN["lines"]
    assert "<figcaption>T &lt;1&gt;</figcaption>" in DRAWN["lines"]


def test_ids_differ_between_figures():
    """Two figures on one page: what one refers to is its own."""
    one, other = (charts.cloud({"a": [(1, 2)]}, title, "x", "y") for title in ("one", "other"))
    assert set(re.findall(r' id="([^"]+)"', one)) & set(re.findall(r' id="([^"]+)"', other)) == set()
    for svg in (one, other):
        known = set(re.findall(r' id="([^"]+)"', svg))
        assert set(re.findall(r'href="#([^"]+)"', svg)) <= known


def test_a_large_cloud_is_thinned():
    assert DRAWN["cloud"].count("<use") <= charts.MOST_POINTS + 50


def test_a_model_has_one_colour_in_every_figure():
    """M2 is the second colour, alone or beside others; groups of other names go by their place."""
    alone, beside = ({"M2": {1: 1}}, {"M0": {1: 1}, "M1": {1: 1}, "M2": {1: 1}})
    assert "var(--c2)" in charts.histograms(alone, "T", "x")
    assert "var(--c1)" not in charts.histograms(alone, "T", "x")
    assert "var(--c2)" in charts.histograms(beside, "T", "x")
    assert "var(--c3)" not in charts.histograms(beside, "T", "x")
    assert "var(--c1)" in charts.histograms({"IFT": {1: 1}}, "T", "x")
    assert "var(--c6)" in charts.histograms({"IFT": {1: 1}, "M1": {1: 1}}, "T", "x")
