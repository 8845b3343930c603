"""Large files are sampled: in bounded memory, whatever the order of the rows, each row where it stands."""

from __future__ import annotations

import csv
import json
import random
import tracemalloc
from pathlib import Path

import pytest

from optimizers.errors import DataError
from optimizers.task.data import large_files
from optimizers.task.data.large_files import sample_of
from optimizers.task.data.load import load_rows


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of 20 kB are large, and 8 kB or 50 rows of them are kept."""
    monkeypatch.setattr(large_files, "LARGE", 20_000)
    monkeypatch.setattr(large_files, "KEPT_BYTES", 8_000)
    monkeypatch.setattr(large_files, "KEPT_ROWS", 50)


def rows(count: int) -> list[dict[str, str]]:
    """Rows of which some hold line breaks, quotes and letters of other scripts."""
    return [
        {"text": f'number {n}, "said"\nof größe ' + "x" * (n % 90), "label": "ab"[n % 2]}
        for n in range(count)
    ]


def written(path: Path, found: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in found)
        else:
            writer = csv.DictWriter(file, ["text", "label"], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(found)
    return path


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("name", ["d.csv", "d.tsv", "d.jsonl"])
def test_a_sample_holds_rows_of_the_file_where_they_stand(tmp_path: Path, name: str) -> None:
    every = rows(600)
    found = load_rows(written(tmp_path / name, every), base=tmp_path)
    assert 20 < len(found.rows) <= 50
    for row, origin in zip(found.rows, found.origin, strict=True):
        number = int(origin.split(" row ")[1].split()[0])
        assert row == every[number - 1]
        line = int(origin.rpartition("line ")[2].rstrip(")"))
        text = (tmp_path / name).read_text(encoding="utf-8").split("\n")
        assert f"number {number - 1}," in text[line - 1]
    assert found.notes[-1].startswith(f"{name}: {len(found.rows)} of its 600 rows are used, drawn at random")


@pytest.mark.usefixtures("small_limits")
def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    every = rows(600)
    first = load_rows(written(tmp_path / "a.csv", every), base=tmp_path).rows
    random.Random(0).shuffle(every)
    second = load_rows(written(tmp_path / "b.csv", every), base=tmp_path).rows
    assert sorted(map(str, first)) == sorted(map(str, second))


@pytest.mark.usefixtures("small_limits")
def test_every_row_is_as_likely_as_any(tmp_path: Path) -> None:
    found = load_rows(written(tmp_path / "d.jsonl", rows(3000)), base=tmp_path)
    numbers = [int(origin.split(" row ")[1].split()[0]) for origin in found.origin]
    assert 0.3 < sum(number > 1500 for number in numbers) / len(numbers) < 0.7


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_files, "KEPT_BYTES", 500_000)
    path = tmp_path / "d.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("text,label\n")
        for n in range(2_000):
            file.write(f"{n} {'word ' * 1000},a\n")
    tracemalloc.start()
    sample = sample_of(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 10_000_000
    assert sample.total == 2_000
    assert most < 4_000_000


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n" + b'"x,y\n' * 9000, "quoting is broken|more than"),
        (b"a,b\n" + b"x,y\n" * 9000 + b"\xff,y\n", "not UTF-8"),
        (b"a,b\n" + b"x,y\n" * 9000 + b"\0,y\n", "NUL"),
    ],
)
def test_a_broken_large_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        load_rows(path, base=tmp_path)


@pytest.mark.usefixtures("small_limits")
def test_a_line_without_end_is_refused_before_it_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_files, "MOST_CHARACTERS", 1000)
    path = tmp_path / "d.jsonl"
    path.write_text("x" * 50_000, encoding="utf-8")
    with pytest.raises(DataError, match="more than 1,000 characters"):
        load_rows(path, base=tmp_path)


@pytest.mark.usefixtures("small_limits")
def test_parquet_is_sampled_too(tmp_path: Path) -> None:
    from datasets import Dataset

    path = tmp_path / "d.parquet"
    every = [{"text": str(random.Random(n).random()) * 4, "label": "ab"[n % 2]} for n in range(800)]
    Dataset.from_list(every).to_parquet(str(path))
    found = load_rows(path, base=tmp_path)
    assert 10 < len(found.rows) <= 50
    for row, origin in zip(found.rows, found.origin, strict=True):
        assert row == every[int(origin.rpartition(" ")[2]) - 1]
    assert "of its 800 rows" in found.notes[-1]
