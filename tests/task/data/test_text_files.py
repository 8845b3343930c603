"""Files that are broken on purpose: each ends in one clear error, quickly and in little memory."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.errors import DataError
from optimizers.task.data import text_files as text_rows
from optimizers.task.data.load import Rows, load_rows
from optimizers.task.data.validate import complete_rows

DEEP = 100_000

BROKEN = {
    "deep.json": ("[" * DEEP, "not JSON"),
    "deep_closed.json": ("[" * DEEP + "]" * DEEP, "not JSON"),
    "deep.jsonl": ('{"a":' * DEEP, "line 1"),
    "nested.json": ('[{"a": ' + "[" * 200 + "]" * 200 + "}]", "nested 100 deep"),
    "huge_number.json": ('[{"a": ' + "9" * 5_000 + "}]", "not JSON"),
    "twice.json": ('[{"a": 1, "b": {"c": 1, "c": 2}}]', "'c' twice"),
    "twice.jsonl": ('{"a": 1}\n{"a": 1, "a": 2}\n', "line 2"),
    "half.jsonl": ('{"\\ud83d": 1}\n', "half a character"),
    "utf16.csv": ("a,b\nx,y\n".encode("utf-16"), "UTF-16"),
    "zeros.csv": (bytes(1_000), "binary"),
    "mixed.csv": (b"a,b\n\xc3\xa9,x\n\xe9,y\n", "line 3"),
    "binary.jsonl": (bytes(range(1, 256)), "not UTF-8"),
    "open_quote.csv": ('a,b\n"x,y\n' + "z,w\n" * 1_000, "close every quote"),
    "wide.csv": (",".join(map(str, range(20_000))) + "\n1", "20,000 columns"),
    "same_wide.csv": ("c," * 2_000_000 + "\n1", "columns"),
    "card.toml": ("a = " + "[" * DEEP, "no TOML"),
    "card_bytes.toml": (b"\xff\xfe", "no TOML"),
    "noise.parquet": (bytes(range(256)) * 40, "Parquet"),
    "empty.parquet": (b"", "Parquet"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_ends_in_one_short_error(tmp_path: Path, name: str) -> None:
    content, said = BROKEN[name]
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    began = time.process_time()
    with pytest.raises(DataError, match=said) as refused:
        load_rows(name, base=tmp_path)
    assert name in str(refused.value)
    assert len(str(refused.value)) < 1_000
    assert time.process_time() - began < 10


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_cell_that_no_prompt_can_take_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(text_rows, "MOST_CHARACTERS", 1_000)
    monkeypatch.setattr("optimizers.task.data.load.MOST_CHARACTERS", 1_000)
    cell = "x" * 1_001
    (tmp_path / name).write_text(f"a,b\n{cell},y\n" if name == "a.csv" else json.dumps({"a": cell}))
    with pytest.raises(DataError, match="characters"):
        load_rows(name, base=tmp_path)


def test_a_file_is_read_no_further_than_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_rows, "MOST_BYTES", 10_000_000)
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(10**12)  # a hole: no disk is used
    with pytest.raises(DataError, match="more than 10 MB"):
        load_rows("a.json", base=tmp_path)


@pytest.mark.parametrize(
    "name", ["loop.csv", "pipe.csv", "zero.csv", "folder.csv", "a" * 300 + ".csv", "\0.csv"]
)
def test_what_is_no_ordinary_file_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"not a data file|cannot be looked at"):
        load_rows(name, base=tmp_path)


def test_a_home_that_nobody_has(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be looked at"):
        load_rows("~no-such-user-here/a.csv", base=tmp_path)


def of_list(value: Any) -> Rows:
    return load_rows([{"text": "fine", "label": "yes"}, {"text": value, "label": "no"}], base=Path())


def test_a_number_that_is_none_is_a_blank(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": NaN, "more": "x", "label": "yes"}')
    found, _ = complete_rows(load_rows("a.jsonl", base=tmp_path), ["text", "more"], ["label"], {})
    assert found[0][1]["text"] is None


def kind_of(value: object) -> str:
    return type(value).__name__


@pytest.mark.parametrize(
    "value", [math.inf, [math.nan], "half \ud83d", 10**5_000, object(), b"bytes"], ids=kind_of
)
def test_a_cell_that_cannot_be_written_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(DataError) as refused:
        complete_rows(of_list(value), ["text"], ["label"], {})
    assert "data[1], column 'text'" in str(refused.value)


def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(DataError, match="nested"):
        of_list(endless)


TABLES = st.text(st.sampled_from('ab,;"\t\n\r \ufeff1.0é\u2028\x00'), max_size=200).map(str.encode)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
CONTENTS = st.binary(max_size=300) | TABLES | JSONS.map(lambda one: json.dumps(one).encode())


@pytest.mark.fuzz
@given(extension=st.sampled_from([".csv", ".tsv", ".json", ".jsonl", ".toml"]), content=CONTENTS)
def test_any_content_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, extension: str, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / f"fuzzed{extension}"
    file.write_bytes(content)
    try:
        rows = load_rows(file.name, base=file.parent)
        names = list(dict.fromkeys(name for row in rows.rows for name in row))
        complete_rows(rows, names[:1], names[1:2], {})
    except DataError:
        return
    assert all(isinstance(row, dict) for row in rows.rows)
