"""Files of an export go beside the user's own and over none of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.errors import UsageError
from optimizers.export.files import file_names, install_files


def made(folder: Path, **contents: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, text in contents.items():
        (folder / f"{name}.py").write_text(text)
    return [folder / f"{name}.py" for name in contents]


def test_an_earlier_export_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    app = tmp_path / "app"
    install_files(made(tmp_path / "1", task="first"), app)
    assert [path.read_text() for path in install_files(made(tmp_path / "2", task="second"), app)] == [
        "second"
    ]
    (app / "mine.py").write_text("mine")
    for later in ({"mine": "theirs"}, {"task": "third", "mine": "theirs"}):
        with pytest.raises(UsageError, match="yours"):
            install_files(made(tmp_path / "3", **later), app)
    assert ((app / "mine.py").read_text(), (app / "task.py").read_text()) == ("mine", "second")


def test_an_export_that_was_changed_by_hand_stays(tmp_path: Path) -> None:
    app = tmp_path / "app"
    (path,) = install_files(made(tmp_path / "1", task="first"), app)
    path.write_text("first, and a line of mine")
    with pytest.raises(UsageError, match="changed"):
        install_files(made(tmp_path / "2", task="second"), app)


def test_no_link_is_written_through(tmp_path: Path) -> None:
    app, target = tmp_path / "app", tmp_path / "precious.py"
    app.mkdir()
    target.write_text("first")
    (app / "task.py").symlink_to(target)
    with pytest.raises(UsageError):
        install_files(made(tmp_path / "1", task="first"), app)


def test_the_same_file_made_by_hand_is_no_obstacle(tmp_path: Path) -> None:
    (app,) = {path.parent for path in made(tmp_path / "app", task="same")}
    assert install_files(made(tmp_path / "1", task="same"), app) == [app / "task.py"]


@pytest.mark.parametrize("there", ["a file", "a\0b", "x" * 300])
def test_a_folder_that_cannot_be_is_refused(tmp_path: Path, there: str) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        install_files(made(tmp_path / "1", task="first"), tmp_path / there)


@given(
    st.lists(
        st.text(max_size=120) | st.sampled_from(["..", ".", "a/b", "a_b", "A_B", "a b"]),
        unique=True,
        max_size=8,
    )
)
def test_files_have_names_of_their_own_that_stay_in_the_folder(names: list[str]) -> None:
    files = file_names(names)
    assert len({file.casefold() for file in files}) == len(names)
    for file in files:
        assert Path(f"{file}.json").name == f"{file}.json"
        assert len(file) < 100
