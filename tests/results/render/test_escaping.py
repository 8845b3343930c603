"""Text that nobody vouches for stays text: in Markdown, on the terminal, in the browser."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from optimizers.results.render.escaping import bullets, escape, plain, table

PARSER = MarkdownIt().enable(["table", "strikethrough"])

MARKS = st.text(alphabet="\\`*_{}[]()<>#+-.!|~&:/@$=1x \t\n\"'", max_size=40)
TEXTS = st.one_of(
    MARKS,
    st.text(max_size=40),
    st.sampled_from(
        [
            "| a | b |\n|---|---|",
            "# heading",
            "1. one\n2. two",
            "- one",
            "> quoted",
            "```\ncode\n```",
            "[link](http://x)",
            "![i](x)",
            "<script>alert(1)</script>",
            "<!-- -->",
            "&lt;b&gt;",
            "&#60;",
            "http://x.y",
            "a\\",
            "\\|",
            "***",
            "---",
            "===",
            "[a]: http://x",
            "\x1b[31mred\x1b[0m",
            "\ud800",
            "\u202egnp.exe",
        ]
    ),
)


def around(shown: str) -> str:
    """A text wherever reports put one."""
    return "\n\n".join(
        (
            f"# of {shown}",
            f"> {shown}",
            shown,
            f"in **{shown}**, said",
            table(("one", shown), [(shown, f"**{shown}** 3"), ("last", shown)]),
            bullets([shown, f"x: {shown}"]),
            "end",
        )
    )


def structure(tokens: list[Token]) -> list[tuple[str, str]]:
    found = []
    for token in tokens:
        if token.type not in ("text", "inline"):
            found.append((token.type, token.tag))
        found += structure(token.children or [])
    return found


def text(tokens: list[Token]) -> list[str]:
    return [
        "".join(child.content for child in token.children or [] if child.type == "text")
        for token in tokens
        if token.type == "inline"
    ]


@given(TEXTS)
@example("\\")
@example("a_b _c_ __d__")
@example("12) twelve")
def test_no_text_becomes_structure_and_all_of_it_is_shown(said: str) -> None:
    shown, benign = PARSER.parse(around(escape(said))), PARSER.parse(around("word"))
    assert structure(shown) == structure(benign)
    assert text(shown) == [line.replace("word", plain(said)) for line in text(benign)]


@given(st.text(max_size=60))
def test_what_is_shown_is_one_line_that_tells_a_terminal_nothing(said: str) -> None:
    shown = plain(said)
    assert len(shown.splitlines()) == 1
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}
    shown.encode("utf-8")


@given(st.text(max_size=60), st.integers(2, 20))
def test_a_cut_text_is_as_long_as_asked_at_most_and_says_that_it_is_cut(said: str, most: int) -> None:
    whole, cut = plain(said), plain(said, most)
    assert len(cut) <= max(most, len("(empty)"))
    assert cut == whole or cut.endswith("…")


@pytest.mark.parametrize(
    ("value", "shown"), [(3, "3"), ({"a": [1]}, '{"a": [1]}'), ("", "(empty)"), (None, "null")]
)
def test_values_that_are_no_text_are_shown_as_json(value: object, shown: str) -> None:
    assert plain(value) == shown


def test_common_names_stay_readable_in_the_source() -> None:
    assert (
        escape("local/gemma-3-270m, chain_of_thought, t=0.3") == "local/gemma-3-270m, chain_of_thought, t=0.3"
    )
