"""Where an export's files go: next to the user's own, which are never overwritten."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from optimizers.errors import UsageError

RECORD = ".parity-exports.json"
"""In a folder of exports: each file written there -> the sha256 of its content."""

LONGEST = 80


def file_names(names: Sequence[str]) -> list[str]:
    """Predictors' names as those of files, without an extension, no two alike."""
    made: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:LONGEST]
        numbered = (f"{plain}_{number}" for number in range(2, len(names) + 2))
        # File systems of Windows and macOS know no letter case.
        taken = {one.casefold() for one in made}
        made.append(next(each for each in (plain, *numbered) if each.casefold() not in taken))
    return made


def install_files(files: Sequence[Path], folder: Path, own: Path | None = None) -> list[Path]:
    """Move an export's files into a folder, over those of earlier exports only.

    Args:
        files: The files, which are elsewhere.
        folder: Where they go; made when missing.
        own: A folder with nothing but exports in it, where all may be written over.

    Returns:
        The files where they are now.

    Raises:
        UsageError: A file there is not from an export, or has been changed since, or the folder cannot be
            written; nothing is.
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
                    "There is a file of yours, or an export that was changed since, where this one would go.",
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
    """Whether a path is taken by something whose content is none of these."""
    return path.is_symlink() or (path.exists() and _hash(path.read_bytes()) not in exported)


def _read(record: Path) -> dict[str, str]:
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
