"""Reading data: cells arrive as they were written, and every bad file is refused with its place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dspy
import pytest

from optimizers.errors import DataError
from optimizers.records.json_values import json_value
from optimizers.task.data.load import load_rows


def write(folder: Path, name: str, content: str | bytes) -> str:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def test_csv_cells_keep_what_was_written(tmp_path: Path) -> None:
    name = write(
        tmp_path, "a.csv", 'day,code,text\n2020-01-02,007,NA\n2020-01-03,008,"two, ""lines""\nhere"\n'
    )
    rows = load_rows(name, base=tmp_path)
    assert rows.rows == (
        {"day": "2020-01-02", "code": "007", "text": "NA"},
        {"day": "2020-01-03", "code": "008", "text": 'two, "lines"\nhere'},
    )
    assert rows.origin == ("a.csv row 1 (line 2)", "a.csv row 2 (line 3)")
    assert rows.source == "a.csv"


def test_a_row_below_a_cell_of_several_lines_is_found_by_its_line(tmp_path: Path) -> None:
    name = write(tmp_path, "a.csv", 'text,y\n"one\ntwo\n",1\n\nthree,2\n')
    rows = load_rows(name, base=tmp_path)
    assert rows.origin == ("a.csv row 1 (line 2)", "a.csv row 2 (line 6)")


@pytest.mark.parametrize("mark", [";", "\t"])
def test_columns_may_be_parted_as_spreadsheets_do_where_a_comma_is_the_decimal_sign(
    tmp_path: Path, mark: str
) -> None:
    name = write(tmp_path, "a.csv", f'"text"{mark}y\n"a, b"{mark}1\n')
    assert load_rows(name, base=tmp_path).rows == ({"text": "a, b", "y": 1},)


def test_csv_columns_of_numbers_are_numbers(tmp_path: Path) -> None:
    name = write(tmp_path, "a.csv", "x,y,z\n1,2.50,1\n,3,one\n")
    assert load_rows(name, base=tmp_path).rows == (
        {"x": 1, "y": 2.5, "z": "1"},
        {"x": None, "y": 3, "z": "one"},
    )


def test_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    name = write(tmp_path, "a.csv", b"\xef\xbb\xbftext,label\r\nfine,yes\r\n")
    assert load_rows(name, base=tmp_path).rows == ({"text": "fine", "label": "yes"},)


def test_unusual_line_separators_stay_inside_cells(tmp_path: Path) -> None:
    text = "one\u2028two\x0bthree"
    csv_name = write(tmp_path, "a.csv", f"text\n{text}\n")
    jsonl_name = write(tmp_path, "a.jsonl", json.dumps({"text": text}, ensure_ascii=False) + "\n")
    for name in (csv_name, jsonl_name):
        assert load_rows(name, base=tmp_path).rows == ({"text": text},)


def test_a_column_without_a_name_is_left_out_with_a_note(tmp_path: Path) -> None:
    # pandas writes its row numbers like this; kept, they would make every row look new.
    rows = load_rows(write(tmp_path, "a.csv", ",text\n0,fine\n1,bad\n"), base=tmp_path)
    assert rows.rows == ({"text": "fine"}, {"text": "bad"})
    assert "without a name" in rows.notes[0]


def test_tsv_is_split_at_tabs(tmp_path: Path) -> None:
    rows = load_rows(write(tmp_path, "a.TSV", "text\tlabel\na, b\tyes\n"), base=tmp_path)
    assert rows.rows == ({"text": "a, b", "label": "yes"},)


def test_long_cells_are_read(tmp_path: Path) -> None:
    rows = load_rows(write(tmp_path, "a.csv", f"text\n{'long ' * 50_000}\n"), base=tmp_path)
    assert len(rows.rows[0]["text"]) == 250_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.json", '[{"a": "2020-01-01", "b": [1, {"c": null}]}, {"a": 1}]'),
        ("lines.json", '{"a": "2020-01-01", "b": [1, {"c": null}]}\n{"a": 1}\n'),
        ("lines.jsonl", '\ufeff{"a": "2020-01-01", "b": [1, {"c": null}]}\n\n{"a": 1}\n'),
    ],
)
def test_json_values_keep_their_types(tmp_path: Path, name: str, content: str) -> None:
    rows = load_rows(write(tmp_path, name, content), base=tmp_path)
    assert rows.rows == ({"a": "2020-01-01", "b": [1, {"c": None}]}, {"a": 1})


@pytest.mark.parametrize(
    ("name", "content", "message", "place"),
    [
        ("a.csv", "", "empty", "a.csv"),
        ("a.csv", b"\xef\xbb\xbf\n \n", "empty", "a.csv"),
        ("a.csv", "text,label\n", "no rows", "a.csv"),
        ("a.csv", ",\n1,2\n", "names no column", "a.csv"),
        ("a.csv", "x,x\n1,2\n", "Two columns are called 'x'", "a.csv"),
        ("a.csv", "x,y\n1,2\n1,2,3\n", "3 cells, the header 2", "line 3"),
        ("a.csv", 'x,y\n1,"2"3\n', "quoting", "line 2"),
        ("a.csv", 'x,y\n1,"2\n', "quoting", "line 2"),
        ("a.csv", b"x,y\n1,\x002\n", "NUL", "a.csv"),
        ("a.csv", "x,y\n1,2\n".encode("utf-16"), "NUL", "a.csv"),
        ("a.csv", b"x,y\n1,caf\xe9\n", "not UTF-8", "line 2"),
        ("a.json", "[]", "no rows", "a.json"),
        ("a.json", "[{}]", "no columns", "a.json"),
        ("a.json", "[1]", "is a number, not an object", "row 1"),
        ("a.json", '{"a": 1}', "one object, not a list", "a.json"),
        ("a.json", "[{]", "not JSON", "a.json"),
        ("a.json", "[" * 100_000, "not JSON", "a.json"),
        ("a.jsonl", '{"a": 1}\n{"a": \n', "not JSON", "line 2"),
        ("a.jsonl", '{"a": 1}\n[2]\n', "is a list, not an object", "line 2"),
        ("a.jsonl", '{"a": "\\ud83d"}\n', "half a character", "line 1"),
        ("a.parquet", b"PAR1 but not really", "no readable Parquet", "a.parquet"),
        ("a.xlsx", b"PK", "not read as data", "a.xlsx"),
        ("data", b"x", "without an extension", "data"),
    ],
)
def test_bad_files_are_refused_with_their_place(
    tmp_path: Path, name: str, content: str | bytes, message: str, place: str
) -> None:
    write(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        load_rows(name, base=tmp_path)
    assert message in caught.value.what
    assert caught.value.where is not None
    assert caught.value.where.endswith(place)


def test_a_misspelt_file_is_answered_with_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "messages.csv", "x,y\n1,2\n")
    with pytest.raises(DataError, match=r"did you mean messages\.csv\?"):
        load_rows("mesages.csv", base=tmp_path)


def test_a_missing_file_is_named_in_full(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "gone.csv"))):
        load_rows("gone.csv", base=tmp_path)


def test_a_folder_is_not_data(tmp_path: Path) -> None:
    (tmp_path / "data.csv").mkdir()
    with pytest.raises(DataError, match="folder"):
        load_rows("data.csv", base=tmp_path)


def test_parquet_gives_plain_values_and_class_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    monkeypatch.setenv("OPTIMIZE_CACHE", str(tmp_path / "cache"))
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    table = Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    table.to_parquet(str(tmp_path / "a.parquet"))
    rows = load_rows("a.parquet", base=tmp_path)
    assert rows.rows == (
        {"text": "a", "label": "pos"},
        {"text": "b", "label": "neg"},
        {"text": "c", "label": None},
    )
    assert (tmp_path / "cache").is_dir()


def test_a_hub_address_is_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import Dataset

    asked: dict[str, Any] = {}

    def load(name: str, config: str | None, **options: Any) -> Dataset:
        asked.update(options, name=name, config=config)
        return Dataset.from_dict({"text": ["a"]})

    monkeypatch.setattr("datasets.load_dataset", load)
    rows = load_rows("hf://someone/reviews-2:english@validation[:50]", base=tmp_path)
    assert (asked["name"], asked["config"], asked["split"]) == (
        "someone/reviews-2",
        "english",
        "validation[:50]",
    )
    assert rows.origin == ("someone/reviews-2 row 1",)


def test_a_hub_data_set_of_several_splits_gives_train_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import Dataset, DatasetDict

    found = DatasetDict(test=Dataset.from_dict({"text": ["a"]}), train=Dataset.from_dict({"text": ["b"]}))
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: found)
    rows = load_rows("hf://someone/reviews", base=tmp_path)
    assert rows.rows == ({"text": "b"},)
    assert any("'train'" in note for note in rows.notes)


def test_only_public_data_comes_with_a_warning_that_models_may_know_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import Dataset

    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: Dataset.from_dict({"text": ["a"]}))
    [note] = load_rows("hf://someone/reviews", base=tmp_path).notes
    assert "hf://someone/reviews" in note
    assert "training data" in note
    assert load_rows(write(tmp_path, "a.csv", "text\na\n"), base=tmp_path).notes == ()


def test_an_unreachable_hub_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("datasets.load_dataset", fail)
    with pytest.raises(DataError, match="no route"):
        load_rows("hf://someone/reviews", base=tmp_path)
    with pytest.raises(DataError, match="no Hub address"):
        load_rows("hf://", base=tmp_path)


def test_lists_of_examples_and_mappings(tmp_path: Path) -> None:
    example = dspy.Example(text="a", label="yes", dspy_uuid="x").with_inputs("text")
    rows = load_rows([example, {"text": "b"}], base=tmp_path)
    assert rows.rows == ({"text": "a", "label": "yes"}, {"text": "b"})
    assert rows.origin == ("data[0]", "data[1]")
    with pytest.raises(DataError, match=r"data\[1\]"):
        load_rows([example, "b"], base=tmp_path)
    with pytest.raises(DataError, match="no rows"):
        load_rows([], base=tmp_path)


def test_a_card_gives_its_rows_sizes_and_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    write(tmp_path, "reviews.toml", "")
    sizes = SimpleNamespace(train=1, dev=1, test=1)
    card = SimpleNamespace(name="reviews", split=sizes, contamination="models may have seen these")
    fake = SimpleNamespace(read_card=lambda path: card, card_rows=lambda card: [{"text": "a"}, {"text": "b"}])
    monkeypatch.setitem(sys.modules, "optimizers.task.data.cards", fake)
    rows = load_rows("reviews.toml", base=tmp_path)
    assert rows.origin == ("reviews row 1", "reviews row 2")
    assert rows.split is not None
    assert (rows.split.train, rows.split.dev, rows.split.test) == (1, 1, 1)
    assert rows.notes == ("models may have seen these",)


def test_a_value_without_a_json_form_is_refused() -> None:
    assert json_value({"a": {3, 1, 2}}) == {"a": [1, 2, 3]}
    with pytest.raises(DataError, match="object"):
        json_value(object())
