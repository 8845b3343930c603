"""Data cards: complete, readable, and turned into the rows they promise."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizers.errors import DataError
from optimizers.task.data import cards as packaged_data
from optimizers.task.data.cards import DataCard, card_rows, read_card

DATA = Path(__file__).parents[3] / "data"

SENTENCES = "1_1\t2.1\tIt works very well.\r\n1_2\t-1.4\tIt broke at once.\r\n1_3\t0.1\tIt is blue.\r\nbroken line\r\n"

NOUNS = "\n".join(
    [
        "  1 licence text",
        "00000001 05 n 01 cat 0 001 @ 00000002 n 0000 | feline mammal usually having thick soft fur; kept as a pet",
        "00000003 13 n 01 pie 0 001 @ 00000002 n 0000 | dish baked in pastry",
        "00000004 13 n 01 bread 0 001 @ 00000002 n 0000 | a food made from flour",
        "00000005 15 n 01 spot 0 001 @ 00000002 n 0000 | too short",
        "00000006 04 n 01 act 0 001 @ 00000002 n 0000 | something that people do",
    ]
)


PROBLEMS = "\n".join(
    [
        r'{"question": "Ann has 1,000 eggs and sells half of them. How many are left?", "answer": "She has 1000/2=<<1000/2=500>>500.\n#### 500"}',
        r'{"question": "A house costs 2,000,000. What do two cost less 1?", "answer": "#### 3,999,999"}',
    ]
)

PAIRS = """_id,ltable_id,rtable_id,ltable_name,ltable_addr,ltable_city,ltable_phone,rtable_name,rtable_addr,rtable_city,rtable_phone,gold
1,7,8,"cafe, the",1 main st.  at 2nd,york,212/1,the cafe,1 main street,york city,212-1,1
2,7,9,"cafe, the",1 main st.  at 2nd,york,212/1,bistro,9 low rd.,leeds,213-1,0
"""


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives the text of the file that every card is read from."""

    def put(text: str) -> None:
        (tmp_path / "rows").write_text(text)
        monkeypatch.setattr(packaged_data, "fetch", lambda asset: tmp_path / "rows")

    return put


@pytest.mark.parametrize(
    "card", [read_card(path) for path in sorted(DATA.glob("*.toml"))], ids=lambda card: card.name
)
def test_every_card_in_the_repository_is_complete(card: DataCard) -> None:
    assert card.licence
    assert card.notice
    assert card.contamination
    assert set(card.columns) == {card.reader.column, card.reader.label, card.reader.other} - {""}
    assert card.split is not None


def test_rated_sentences_leave_out_what_is_in_between(fetched: Callable[[str], None]) -> None:
    fetched(SENTENCES)
    assert card_rows(read_card(DATA / "reviews.toml")) == [
        {"review": "It works very well.", "sentiment": "positive"},
        {"review": "It broke at once.", "sentiment": "negative"},
    ]
    assert {row["sentiment"] for row in card_rows(read_card(DATA / "tweets.toml"))} == {
        "positive",
        "negative",
        "neutral",
    }


def test_definitions_are_first_senses_that_do_not_give_the_kind_away(fetched: Callable[[str], None]) -> None:
    fetched(NOUNS)
    assert card_rows(read_card(DATA / "kinds.toml")) == [
        {"definition": "feline mammal usually having thick soft fur", "kind": "animal"},
        {"definition": "dish baked in pastry", "kind": "food"},
    ]


def test_solved_problems_keep_the_final_number(fetched: Callable[[str], None]) -> None:
    fetched(PROBLEMS)
    rows = card_rows(read_card(DATA / "gsm8k.toml"))
    assert [row["answer"] for row in rows] == [500, 3999999]
    assert rows[0]["question"].startswith("Ann has 1,000 eggs")


def test_pairs_of_listings_show_no_phone_number(fetched: Callable[[str], None]) -> None:
    fetched(PAIRS)
    assert card_rows(read_card(DATA / "restaurants.toml")) == [
        {
            "left": "cafe, the, 1 main st. at 2nd, york",
            "right": "the cafe, 1 main street, york city",
            "verdict": "same",
        },
        {
            "left": "cafe, the, 1 main st. at 2nd, york",
            "right": "bistro, 9 low rd., leeds",
            "verdict": "different",
        },
    ]


def test_every_card_is_shipped_with_the_scaffold() -> None:
    shipped = tomllib.loads((DATA.parent / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert {f"data/{path.name}" for path in DATA.glob("*.toml")} <= shipped["wheel"]["force-include"].keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "= =", "no TOML"),
        (lambda text: text.replace('licence = "MIT"', "", 1), "licence"),
        (lambda text: text.replace("rated_sentences", "guesses"), "no reader 'guesses'"),
    ],
)
def test_a_broken_card_is_named(tmp_path: Path, change: object, message: str) -> None:
    assert callable(change)
    path = tmp_path / "broken.toml"
    path.write_text(change((DATA / "reviews.toml").read_text()))
    with pytest.raises(DataError, match=message) as caught:
        read_card(path)
    assert "broken.toml" in str(caught.value)
