"""The report in words: all is there, and no word of a model or a user becomes part of its structure."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from results.render.test_escaping import PARSER, structure
from results.studies import usual

from optimizers.records.folder import StudyFolder
from optimizers.results.render.html import to_html
from optimizers.results.render.markdown import to_markdown
from optimizers.results.render.terminal import to_text
from optimizers.results.study_report import study_report

HOSTILE = (
    "</td></table><script>alert(1)</script>",
    "| a | b |\n|---|---|\n| c | d |",
    "\n\n# heading\n\n- item\n\n```\n",
    "![x](http://evil.example/x.png) [y](javascript:alert(1)) <http://z.example>",
    "\\| ** `code` __b__ ~~s~~ &lt;i&gt; &#60;b&#62;",
    "\x1b]0;title\x07\x1b[2J\u202e",
)


class Tags(HTMLParser):
    """Every tag of a page with its attributes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(attrs)))


def tags(page: str) -> list[tuple[str, tuple[tuple[str, str | None], ...]]]:
    parser = Tags()
    parser.feed(page)
    return parser.found


def study(runs: Path, name: str, said: str) -> StudyFolder:
    return usual(runs, name, hostile=said, task=said, metric=said, notes=(said,), program=said)


@pytest.mark.parametrize("said", HOSTILE)
def test_hostile_text_changes_no_structure(tmp_path: Path, said: str) -> None:
    hostile = to_markdown(study_report(study(tmp_path, "a", said)))
    benign = to_markdown(study_report(study(tmp_path, "b", "word")))
    assert structure(PARSER.parse(hostile)) == structure(PARSER.parse(benign))
    page, plain_page = to_html(hostile, said), to_html(benign, "word")
    assert tags(page) == tags(plain_page)
    assert not {"script", "img", "a", "link", "iframe"} & {tag for tag, _ in tags(page)}
    assert "\x1b" not in hostile + page + to_text(hostile)


def test_a_page_asks_nothing_of_the_network_and_its_style_is_allowed(tmp_path: Path) -> None:
    page = to_html(to_markdown(study_report(usual(tmp_path))), "a & b")
    assert "<title>a &amp; b</title>" in page
    assert "default-src 'none'" in page
    assert not [value for _, attrs in tags(page) for name, value in attrs if name in ("src", "href", "style")]
    for scheme in ("prefers-color-scheme: dark", 'name="color-scheme" content="light dark"'):
        assert scheme in page


def test_every_section_is_there_with_what_was_asked_and_found(tmp_path: Path) -> None:
    said = to_markdown(study_report(usual(tmp_path)))
    for heading in ("asked", "tried", "found", "How sure", "cost", "went wrong", "next"):
        assert any(heading in line for line in said.splitlines() if line.startswith("## "))
    for part in ("plain default", "best starting prompt", "the search found no better one", "95% interval"):
        assert part in said
    assert "4 trials in 2 rounds (3, 1 trials)" in said


def test_text_of_a_terminal_keeps_long_names_whole(tmp_path: Path) -> None:
    said = to_text(to_markdown(study_report(usual(tmp_path))))
    assert "What was asked" in said
    assert "…" not in said
    assert "\x1b" not in said
