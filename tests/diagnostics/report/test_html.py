"""The HTML page: well-formed, self-contained, and nothing of a peer becomes markup."""

import re
from html.parser import HTMLParser

import pytest

from diagnostics.report.details import moment
from diagnostics.report.html import Html, escaped, html_report, lines, tag
from diagnostics.rules.diagnose import diagnose
from tests.diagnostics.golden import NAMES, evidence_of, hostile

VOID = {"meta", "br"}
ALLOWED = (
    {"html", "head", "meta", "title", "style", "body", "main", "div", "section", "footer", "details", "summary"}
    | {"h1", "h2", "h3", "h4", "p", "span", "strong", "br", "ol", "ul", "li", "pre"}
    | {"table", "thead", "tbody", "tr", "th", "td"}
)


class Page(HTMLParser):
    """Every element with its attributes; `open` is empty at the end of a well-formed page."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.texts.append(data)


def page(name: str) -> str:
    evidence = evidence_of(name)
    return html_report(evidence, diagnose(evidence))


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_well_formed_and_loads_nothing(name):
    parsed = Page(page(name))
    assert parsed.open == []
    assert {element for element, _ in parsed.elements} <= ALLOWED
    attributes = {key for element, found in parsed.elements if element != "meta" for key in found}
    assert attributes <= {"class", "scope", "lang", "data-stage"}
    assert not re.search(r"url\(|@import|<script|<link", page(name), re.IGNORECASE)


def test_what_a_peer_says_stays_text():
    evidence, diagnosis = hostile("\"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;'")
    text = html_report(evidence, diagnosis)
    parsed = Page(text)
    assert parsed.open == []
    assert {element for element, _ in parsed.elements} <= ALLOWED
    assert "alert(1)" in "".join(parsed.texts)
    assert "&amp;amp;" in text


def test_control_characters_and_overrides_do_not_get_in():
    evidence, diagnosis = hostile("a\x1b[31m\u202eb\x00\ud800")
    text = html_report(evidence, diagnosis)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    text.encode("utf-8")


def test_whatever_is_not_html_is_escaped():
    assert tag("p", "a<b", Html("<br>"), class_='x" onclick="y') == '<p class="x&quot; onclick=&quot;y">a&lt;b<br></p>'
    assert lines("<", Html("<br>")) == "&lt;\n<br>"
    assert escaped(escaped("&")) == "&amp;"


@pytest.mark.parametrize(
    "created, told",
    [
        (0.0, "1970-01-01 00:00:00 UTC"),
        (1763740000.5, "2025-11-21 15:46:40 UTC"),
        (1e11, "5138-11-16 09:46:40 UTC"),
        (-1e11, "at an impossible time"),
    ],
)
def test_moments(created, told):
    assert moment(created) == told
