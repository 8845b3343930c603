"""Splits: nothing leaks, nothing moves without cause, and bad data is refused by row."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from enum import Enum
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers.errors import DataError
from optimizers.records.rows import SplitSizes
from optimizers.task.data.load import Rows
from optimizers.task.data.power import detectable_difference
from optimizers.task.data.split import Dataset, example_id, make_dataset

NOUNS = ["lamp", "chair", "phone", "kettle", "radio", "book", "bag", "clock", "pen", "cup", "rug", "desk"]
WORDS = [f"{noun}{number}" for noun in NOUNS for number in range(200)]
SENTIMENTS = {"y": ("pos", "neg")}


def rows_of(records: list[dict[str, Any]]) -> Rows:
    return Rows(tuple(records), tuple(f"a.csv row {number}" for number in range(1, len(records) + 1)))


def texts(count: int, *, seed: int = 0, positive: float = 0.5) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [
        {"x": " ".join(draw.sample(WORDS, 12)), "y": "pos" if draw.random() < positive else "neg"}
        for _ in range(count)
    ]


def split(records: list[dict[str, Any]], **options: Any) -> Dataset:
    return make_dataset(rows_of(records), inputs=("x",), outputs=("y",), labels=SENTIMENTS, **options)


def parts_of(dataset: Dataset) -> list[tuple[str, tuple[dspy.Example, ...]]]:
    return [("train", dataset.train), ("dev", dataset.dev), ("test", dataset.test)]


def places(dataset: Dataset) -> dict[str, str]:
    return {example_id(example): name for name, part in parts_of(dataset) for example in part}


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(60, 300),
    seed=st.integers(0, 50),
    sizes=st.none()
    | st.builds(SplitSizes, train=st.integers(0, 15), dev=st.integers(1, 20), test=st.integers(1, 25)),
    order=st.randoms(use_true_random=False),
)
def test_parts_are_disjoint_and_do_not_depend_on_row_order(
    count: int, seed: int, sizes: SplitSizes | None, order: random.Random
) -> None:
    records = texts(count, seed=seed) + texts(count // 4, seed=seed)
    dataset = split(records, sizes=sizes, seed=seed)
    assert len(places(dataset)) == len(dataset.train) + len(dataset.dev) + len(dataset.test)
    assert dataset.duplicates == count // 4
    if sizes is None:
        assert len(places(dataset)) == count
    else:
        assert (len(dataset.train), len(dataset.dev), len(dataset.test)) == (
            sizes.train,
            sizes.dev,
            sizes.test,
        )
    order.shuffle(records)
    assert split(records, sizes=sizes, seed=seed) == dataset


@settings(max_examples=15, deadline=None)
@given(count=st.integers(60, 600), more=st.integers(1, 300), seed=st.integers(0, 20))
def test_added_rows_leave_the_others_where_they_are(count: int, more: int, seed: int) -> None:
    before = places(split(texts(count, seed=seed)))
    after = places(split(texts(count, seed=seed) + texts(more, seed=seed + 1000)))
    assert {id: after[id] for id in before} == before


def test_shares_and_caps() -> None:
    dataset = split(texts(1000))
    assert 300 <= len(dataset.test) <= 400
    assert 200 <= len(dataset.dev) <= 300
    large = split(texts(4000))
    assert (len(large.dev), len(large.test), len(large.train)) == (400, 600, 3000)


@settings(max_examples=15, deadline=None)
@given(positive=st.floats(0.1, 0.9), seed=st.integers(0, 50))
def test_labels_keep_their_proportion(positive: float, seed: int) -> None:
    records = texts(400, seed=seed, positive=positive)
    share = sum(row["y"] == "pos" for row in records) / 400
    sized = split(records, sizes=SplitSizes(train=100, dev=100, test=100))
    for part in (sized.train, sized.dev, sized.test):
        assert sum(example.y == "pos" for example in part) == pytest.approx(100 * share, abs=2)
    hashed = split(records)
    for part in (hashed.train, hashed.dev, hashed.test):
        # Four standard errors of a share, and one row.
        tolerance = 4 * (share * (1 - share) / len(part)) ** 0.5 + 1 / len(part)
        assert sum(example.y == "pos" for example in part) / len(part) == pytest.approx(share, abs=tolerance)


def test_another_seed_is_another_split() -> None:
    one, other = split(texts(200), seed=0), split(texts(200), seed=1)
    assert places(one) != places(other)
    assert one.fingerprint != other.fingerprint


def test_duplicates_are_dropped_whatever_their_case_spaces_and_punctuation() -> None:
    records = texts(60)
    again = {"x": records[0]["x"].upper().replace(" ", " , ") + "!", "y": records[0]["y"]}
    assert split([*records, again]).duplicates == 1
    assert split([again, *records]).fingerprint == split([*records, again]).fingerprint


def test_signs_alone_tell_short_inputs_apart() -> None:
    signs = [
        {"x": "3 * 4", "y": "pos"},
        {"x": "3 - 4", "y": "neg"},
        {"x": ":)", "y": "pos"},
        {"x": ":(", "y": "neg"},
    ]
    dataset = split(texts(60) + signs)
    assert dataset.duplicates == 0
    by_text = {
        example.x: places(dataset)[example_id(example)]
        for part in (dataset.train, dataset.dev, dataset.test)
        for example in part
    }
    assert by_text["3 * 4"] == by_text["3 - 4"]


def test_conflicting_labels_are_noted_and_the_commonest_is_kept() -> None:
    same = [{"x": "the lamp is fine", "y": label} for label in ("pos", "neg", "pos")]
    dataset = split(texts(60) + same)
    assert dataset.duplicates == 2
    assert any(
        note.startswith("inputs that appear with different outputs: 1, the first ") for note in dataset.notes
    )
    [kept] = [
        e for part in (dataset.train, dataset.dev, dataset.test) for e in part if e.x == "the lamp is fine"
    ]
    assert kept.y == "pos"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 100), sized=st.booleans())
def test_near_duplicates_stay_together(seed: int, sized: bool) -> None:
    draw = random.Random(seed)
    records = texts(120, seed=seed)
    copies = []
    for row in draw.sample(records, 30):
        words = row["x"].split()
        copies.append({"x": " ".join([*words[1:], words[0], "really"]), "y": row["y"]})
    dataset = split(records + copies, sizes=SplitSizes(train=50, dev=45, test=55) if sized else None)
    place = {
        frozenset(example.x.split()) - {"really"}: name
        for name, part in (("train", dataset.train), ("dev", dataset.dev), ("test", dataset.test))
        for example in part
        if "really" not in example.x
    }
    for name, part in (("train", dataset.train), ("dev", dataset.dev), ("test", dataset.test)):
        for example in part:
            assert place.get(frozenset(example.x.split()) - {"really"}, name) == name


def test_near_duplicates_are_counted() -> None:
    records = texts(100)
    copies = [{**row, "x": f"{row['x']} really"} for row in records[:7]]
    twice = {**records[0], "x": " ".join(reversed(records[0]["x"].split()))}
    dataset = split([*records, *copies, twice])
    assert (dataset.near_duplicates, dataset.duplicates) == (15, 0)
    assert split(records).near_duplicates == 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 100), sized=st.booleans())
def test_nothing_that_says_nearly_the_same_is_left_across_parts(seed: int, sized: bool) -> None:
    # Ladders of texts, each with one word more than the last: likeness is passed on step by step.
    draw = random.Random(seed)
    records = texts(100, seed=seed)
    steps = draw.sample(WORDS, 240)
    for start in range(0, 240, 40):
        words = steps[start : start + 40]
        records += [{"x": " ".join(words[:length]), "y": "pos"} for length in range(20, 40)]
    sizes = SplitSizes(train=80, dev=50, test=60) if sized else None
    dataset = split(records, sizes=sizes, seed=seed)
    assert dataset.leaks_removed > 0
    noted = f"rows dropped because a row of another part says nearly the same: {dataset.leaks_removed}"
    assert noted in dataset.notes
    if sizes is None:
        assert len(places(dataset)) + dataset.leaks_removed == len(records)
    else:
        assert len(dataset.test) == sizes.test
    parts = [
        [set(example.x.split()) for example in part] for part in (dataset.train, dataset.dev, dataset.test)
    ]
    for index, part in enumerate(parts):
        for others in parts[index + 1 :]:
            assert not any(len(one & two) >= 0.9 * len(one | two) for one in part for two in others)


def test_chinese_rows_that_differ_in_a_character_stay_together() -> None:
    draw = random.Random(0)
    records = [
        {"x": "".join(chr(draw.randrange(0x4E00, 0x9000)) for _ in range(30)), "y": "pos"} for _ in range(80)
    ]
    dataset = split([*records, *({**row, "x": row["x"] + "吗"} for row in records)])
    place = {example.x: name for name, part in parts_of(dataset) for example in part}
    assert dataset.near_duplicates == 160
    assert all(place[row["x"]] == place[row["x"] + "吗"] for row in records)


def grouped(groups: int, each: int, *, seed: int = 0) -> list[dict[str, Any]]:
    return [{**row, "author": index % groups} for index, row in enumerate(texts(groups * each, seed=seed))]


@settings(max_examples=20, deadline=None)
@given(groups=st.integers(5, 120), sized=st.booleans(), seed=st.integers(0, 50))
def test_a_group_stays_in_one_part(groups: int, sized: bool, seed: int) -> None:
    records = grouped(groups, 400 // groups, seed=seed)
    sizes = SplitSizes(train=50, dev=90, test=120) if sized else None
    dataset = split(records, group="author", sizes=sizes, seed=seed)
    found = defaultdict(set)
    for name, part in parts_of(dataset):
        for example in part:
            found[example.author].add(name)
            assert dataset.groups[example_id(example)] == str(example.author)
    assert all(len(names) == 1 for names in found.values())
    assert len(dataset.groups) == len(places(dataset))
    assert "author" not in dataset.train[0].inputs()


def test_near_duplicates_join_groups() -> None:
    records = grouped(60, 5)
    copies = [
        {**records[index], "x": f"{records[index]['x']} really", "author": index + 1} for index in range(3)
    ]
    dataset = split([*records, *copies], group="author")
    place = {example.author: name for name, part in parts_of(dataset) for example in part}
    assert len({place[author] for author in range(4)}) == 1
    assert dataset.leaks_removed == 0


def test_rows_added_to_groups_and_new_groups_leave_the_others_where_they_are() -> None:
    before = places(split(grouped(40, 5), group="author"))
    more = [{**row, "author": index % 60} for index, row in enumerate(texts(300, seed=1))]
    after = places(split(grouped(40, 5) + more, group="author"))
    assert {id: after[id] for id in before} == before


def test_a_group_larger_than_the_room_goes_to_train() -> None:
    records = [{**row, "author": "one" if index < 700 else index} for index, row in enumerate(texts(1000))]
    dataset = split(records, group="author")
    assert sum(example.author == "one" for example in dataset.train) == 700
    sized = split(records, group="author", sizes=SplitSizes(train=500, dev=80, test=100))
    assert {len(sized.train), len(sized.dev), len(sized.test)} == {500, 80, 100}
    assert not any(example.author == "one" for example in (*sized.dev, *sized.test))


def test_few_groups_in_the_test_set_are_noted() -> None:
    dataset = split(grouped(12, 50), group="author")
    count = len({example.author for example in dataset.test})
    assert any(f"has {count} groups by 'author'" in note for note in dataset.notes)
    assert not any("groups" in note for note in split(grouped(400, 2), group="author").notes)
    assert split(grouped(12, 50)).groups == {}


def test_groups_without_a_name_are_refused_with_their_place() -> None:
    records = grouped(60, 2)
    with pytest.raises(DataError) as caught:
        split(records, group="writer")
    assert "'writer'" in caught.value.what
    assert caught.value.where == "a.csv, columns 'x', 'y', 'author'"
    records[6]["author"] = records[9]["author"] = " "
    with pytest.raises(DataError) as caught:
        split(records, group="author")
    assert "rows like it: 2" in caught.value.what
    assert caught.value.where == "a.csv row 7, column 'author'"
    assert caught.value.fix is not None
    with pytest.raises(DataError, match="The groups are too few") as caught:
        split(grouped(1, 60), group="author")
    assert caught.value.fix is not None


def test_a_shared_template_does_not_make_rows_near_duplicates() -> None:
    preamble = " ".join(f"rule{number}" for number in range(400))
    records = [{"x": f"{preamble} what about {row['x']}", "y": row["y"]} for row in texts(200)]
    dataset = split(records)
    assert min(len(dataset.train), len(dataset.dev), len(dataset.test)) >= 30


def test_thirty_thousand_rows_take_seconds() -> None:
    records = texts(30_000)
    start = time.process_time()
    split(records)
    assert time.process_time() - start < 15


def test_ids_depend_on_content_only() -> None:
    one = dspy.Example(x="a", y="pos").with_inputs("x")
    assert example_id(one) == example_id(dspy.Example(y="pos", x="a"))
    assert example_id(one) != example_id(dspy.Example(x="a", y="neg"))
    assert len(example_id(one)) == 16


class Mood(Enum):
    GOOD = "pos"
    BAD = "neg"


@pytest.mark.parametrize(
    ("allowed", "cells"),
    [
        (("pos", "neg"), ("Pos", " NEG ")),
        ((Mood.GOOD, Mood.BAD), ("pos", "neg")),
        ((True, False), ("TRUE", "0")),
        ((1, 2), ("1", 2.0)),
        (("1", "2"), (1, 2)),
        (("US", "us"), ("US", "us")),
        (("pos", None), ("pos", "")),
    ],
)
def test_labels_become_the_declared_values(allowed: tuple[Any, ...], cells: tuple[Any, ...]) -> None:
    records = [{**row, "y": cells[index % 2]} for index, row in enumerate(texts(60))]
    dataset = make_dataset(rows_of(records), inputs=("x",), outputs=("y",), labels={"y": allowed})
    found = {repr(example.y) for part in (dataset.train, dataset.dev, dataset.test) for example in part}
    assert found == {repr(value) for value in allowed}


def test_a_foreign_label_names_its_row_and_what_is_allowed() -> None:
    records = texts(60)
    records[16]["y"] = records[20]["y"] = "neutral"
    with pytest.raises(DataError) as caught:
        split(records)
    assert "'neutral'" in caught.value.what
    assert "rows like it: 2" in caught.value.what
    assert caught.value.where == "a.csv row 17"
    assert caught.value.fix is not None
    assert "'pos', 'neg'" in caught.value.fix


def test_all_foreign_labels_are_named_at_once_with_the_nearest_that_is_known() -> None:
    records = texts(60)
    records[2]["y"], records[9]["y"], records[11]["y"] = "poss", "neutral", "poss"
    with pytest.raises(DataError) as caught:
        split(records)
    assert "'poss'" in caught.value.what
    assert "'neutral' (a.csv row 10)" in caught.value.what
    assert (caught.value.fix or "").startswith("did you mean 'pos'?")


def test_rows_that_all_lack_a_label_are_said_to() -> None:
    records = [{**row, "y": ""} for row in texts(50)]
    with pytest.raises(DataError, match=r"0 usable rows.*of 50 rows, 50 lack an input or an output"):
        split(records)


def test_rows_that_contradict_each_other_are_named() -> None:
    records = texts(60)
    records.append({"x": records[4]["x"], "y": "neg" if records[4]["y"] == "pos" else "pos"})
    [note] = [note for note in split(records).notes if "different outputs" in note]
    assert "1, the first a.csv row 5, a.csv row 61;" in note


def test_a_declared_label_that_no_row_has_is_noted() -> None:
    one_sided = [{**row, "y": "pos"} for row in texts(60)]
    assert "no row has the 'y' 'neg'" in split(one_sided).notes
    assert not any("no row has the" in note for note in split(texts(60)).notes)


def test_a_lacking_column_is_named_with_those_there_are() -> None:
    records = [{"text": row["x"], "y": row["y"]} for row in texts(60)]
    with pytest.raises(DataError) as caught:
        split(records)
    assert "'x'" in caught.value.what
    assert caught.value.where == "a.csv, columns 'text', 'y'"


def test_rows_without_a_label_are_left_out_with_a_note() -> None:
    records = texts(60)
    records[3]["y"] = ""
    records[5]["x"] = None
    del records[7]["y"]
    dataset = split(records)
    assert len(places(dataset)) == 57
    assert any(note.endswith("output: 3, the first a.csv row 4") for note in dataset.notes)


def test_too_few_rows_are_refused_after_duplicates_are_dropped() -> None:
    assert len(places(split(texts(40)))) == 40
    with pytest.raises(DataError, match="39 usable rows once 5 duplicates are dropped"):
        split(texts(39) + texts(5))
    with pytest.raises(DataError, match="need at least 120"):
        split(texts(100), sizes=SplitSizes(train=10, dev=60, test=60))


def test_a_short_train_part_is_noted() -> None:
    dataset = split(texts(100), sizes=SplitSizes(train=50, dev=40, test=40))
    assert len(dataset.train) == 20
    assert "train has 20 rows, not the 50 asked for" in dataset.notes


def test_a_small_test_set_comes_with_what_it_can_show() -> None:
    small = split(texts(100))
    assert any(f"about {detectable_difference(len(small.test)):.2f}" in note for note in small.notes)
    assert split(texts(1000)).notes == ()


def test_a_test_set_too_small_for_the_margin_is_noted() -> None:
    assert split(texts(1000), margin=0.1).notes == ()
    [note] = split(texts(1000), margin=0.02).notes
    assert "at the margin of 0.02" in note


def test_columns_beyond_the_signature_stay_for_the_metric() -> None:
    records = [{**row, "weight": 2, "base": "b"} for row in texts(60)]
    example = split(records).train[0]
    assert example.weight == 2
    assert example["base"] == "b"
    assert example.inputs().keys() == ["x"]
