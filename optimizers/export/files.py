"""Names and places of an export's files. A file of the user's is never overwritten."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizers.errors import UsageError

RECORD = ".parity-exports.json"
"""In a folder of exports: each file written there -> the sha256 of its content."""

LONGEST = 80
"""Characters of a file name, so that file systems take it with its number and extension."""


def file_names(names: Sequence[str]) -> list[str]:
    """Predictors' names as file names without extension, all different."""
    return unique([re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:LONGEST] for name in names])


def unique(names: Sequence[str]) -> list[str]:
    """The names, those that repeat an earlier one numbered. Letter case does not make a difference."""
    made: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in range(2, len(names) + 2))
        # File systems of Windows and macOS ignore letter case.
        taken = {one.casefold() for one in made}
        made.append(next(each for each in (name, *numbered) if each.casefold() not in taken))
    return made


def texts_in(value: Any) -> Iterator[str]:
    """All texts in a JSON value, keys aside."""
    if isinstance(value, str):
        yield value
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in held:
        yield from texts_in(one)


def write_files(folder: Path, contents: Mapping[str, str | bytes]) -> list[Path]:
    """Write files with exactly these contents: name in the folder -> text (as UTF-8) or bytes."""
    paths = [folder / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return paths


def as_json(value: Any) -> str:
    """A value as JSON for people to read: indented, other scripts left as they are."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def install_files(files: Sequence[Path], folder: Path, own: Path | None = None) -> list[Path]:
    """Copy an export's files into a folder; only files of earlier exports are overwritten.

    Args:
        files: The files, in another folder.
        folder: Where they go; made when missing.
        own: A folder that holds nothing but exports, where every file may be overwritten.

    Returns:
        The files in their new place.

    Raises:
        UsageError: A file there is not from an export or was changed since, or the folder cannot be
            written. Then nothing is written.
    """
    record = folder / RECORD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ours = own is not None and folder.resolve().is_relative_to(own.resolve())
        known = _read(record)
        contents = {folder / file.name: file.read_bytes() for file in files}
        for path, content in contents.items():
            if not ours and _is_foreign(path, {known.get(path.name), _hash(content)}):
                raise UsageError(
                    "A file of yours, or an export that was changed since, is where this one would go.",
                    where=str(path),
                    fix="name another folder with --out, or move the file away",
                )
        if not ours:
            known |= {path.name: _hash(content) for path, content in contents.items()}
            record.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        for path, content in contents.items():
            path.write_bytes(content)
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        raise UsageError(
            f"The export cannot be written: {getattr(error, 'strerror', None) or error}.",
            where=str(folder),
            fix="name a folder that can be written with --out",
        ) from error
    return list(contents)


def _is_foreign(path: Path, exported: Collection[str | None]) -> bool:
    """Whether something else is at a path: content with none of these hashes."""
    return path.is_symlink() or (path.exists() and _hash(path.read_bytes()) not in exported)


def _read(record: Path) -> dict[str, str]:
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
