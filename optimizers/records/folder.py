"""A study's folder under ``runs/``: where each of its files is, and how the small ones are written."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from optimizers.errors import StudyError
from optimizers.records.prediction import Prediction
from optimizers.records.prompts import StudyPrompts
from optimizers.records.report import FrontierReport
from optimizers.records.rows import StudyManifest

Record = TypeVar("Record", bound=BaseModel)

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}")

REPORT_FILE = "frontier.json"
"""Name of a study's result, in its folder and among MLflow's artifacts."""

NO_STUDY = "run one first (optimize PROGRAM); or go to its project's folder, or name the runs' with --runs"
"""What to do where there is no study at all."""


def valid_name(name: str) -> str:
    """The name, when it can name a study's folder.

    Raises:
        StudyError: It is empty, too long, hidden, or holds other than letters, digits, ``.``, ``_``, ``-``.
    """
    if _NAME.fullmatch(name):
        return name
    raise StudyError(
        f"{name!r} cannot name a study.",
        where="--study",
        fix="use up to 80 letters, digits, '.', '_' and '-', with no dot in front",
    )


def plain_name(text: str) -> str:
    """Any text as part of a file's or a study's name: letters, digits, ``_``, ``.``, ``-``, at most 60."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:60].strip("-.") or "task"


@dataclass(frozen=True)
class StudyFolder:
    """The files of one study.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def manifest(self) -> Path:
        """What the study is about."""
        return self.path / "study.json"

    @property
    def ledger(self) -> Path:
        """Its rollouts."""
        return self.path / "ledger.db"

    @property
    def optuna(self) -> Path:
        """Its trials, as Optuna keeps them."""
        return self.path / "optuna.db"

    @property
    def report(self) -> Path:
        """Its result."""
        return self.path / REPORT_FILE

    @property
    def prediction(self) -> Path:
        """What it was predicted to use."""
        return self.path / "estimate.json"

    @property
    def page(self) -> Path:
        """Its frontier and all that is known of it, as a page for a browser."""
        return self.path / "frontier.html"

    @property
    def prompts(self) -> Path:
        """The prompts of its leading candidates, as they are sent."""
        return self.path / "prompts.json"

    @property
    def picture(self) -> Path:
        """Its frontier, drawn."""
        return self.path / "frontier.png"

    @property
    def storage(self) -> Path:
        """Which database keeps it, where several processes share it; no such file for other studies."""
        return self.path / "storage.txt"

    @property
    def exports(self) -> Path:
        """What was exported from it."""
        return self.path / "exports"

    @classmethod
    def at(cls, runs: Path, name: str) -> Self:
        """The folder of the study of this name, whether it exists or not.

        Raises:
            StudyError: The name cannot name a study.
        """
        return cls(runs / valid_name(name))

    @classmethod
    def create(cls, runs: Path, manifest: StudyManifest) -> Self:
        """Make the folder of a new study and write its manifest.

        Raises:
            StudyError: The folder cannot be made, or is a link that leads elsewhere.
        """
        folder = cls.at(runs, manifest.name)
        try:
            if folder.path.is_symlink():
                raise FileExistsError(errno.EEXIST, "it is a link, which may lead anywhere")
            folder.path.mkdir(parents=True, exist_ok=True)
            write_record(folder.manifest, manifest)
        except OSError as error:
            raise StudyError(
                f"The study's folder cannot be made: {error.strerror}.",
                where=str(folder.path),
                fix="give another name with --study, or another folder of studies with --runs",
            ) from error
        return folder

    @classmethod
    def load(cls, runs: Path, name: str) -> Self:
        """The folder of a study that exists.

        Raises:
            StudyError: There is no such study; the ones there are, are named.
        """
        folder = cls.at(runs, name)
        if folder.manifest.is_file():
            return folder
        known = list_studies(runs)
        raise StudyError(
            f"There is no study {name}.",
            where=str(runs),
            fix=f"there are {', '.join(known)}" if known else NO_STUDY,
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from running the study; let go when the process ends, however it ends.

        Raises:
            StudyError: Another process runs it.
        """
        lock = FileLock(self.path / "lock", blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise StudyError(
                f"The study {self.path.name} is being run by another process.",
                where=str(self.path),
                fix="wait until it is done, or start another study with --study NAME",
            ) from None
        try:
            yield
        finally:
            lock.release()

    def write_manifest(self, manifest: StudyManifest) -> None:
        """Write the study's manifest anew."""
        write_record(self.manifest, manifest)

    def write_prediction(self, prediction: Prediction) -> None:
        """Write what the study is predicted to use, unless it was predicted before."""
        if not self.prediction.exists():
            write_record(self.prediction, prediction)

    def read_prediction(self) -> Prediction | None:
        """What the study was predicted to use, if it was."""
        return _read(self.prediction, Prediction) if self.prediction.exists() else None

    def read_manifest(self) -> StudyManifest:
        """The study's manifest."""
        return _read(self.manifest, StudyManifest)

    def read_report(self) -> FrontierReport:
        """The study's result.

        Raises:
            StudyError: The study has not finished.
        """
        if not self.report.is_file():
            raise StudyError(
                "The study has not finished, so it has no result yet.",
                where=str(self.path),
                fix="run its command again: it goes on where it stopped",
            )
        return _read(self.report, FrontierReport)

    def read_prompts(self) -> StudyPrompts | None:
        """The prompts of its leading candidates; None of a study that wrote none, as before 0.2."""
        return _read(self.prompts, StudyPrompts) if self.prompts.exists() else None

    def write_report(self, report: FrontierReport) -> None:
        """Write the study's result."""
        write_record(self.report, report)


def list_studies(runs: Path) -> list[str]:
    """Names of the studies in a folder of studies."""
    return sorted(path.parent.name for path in runs.glob("*/study.json"))


def newest_study(runs: Path, *, finished: bool | None = None) -> StudyFolder:
    """The study that was begun last.

    Args:
        runs: Folder of studies.
        finished: Only among those with a result, or only among those without; None for all.

    Raises:
        StudyError: There is none.
    """
    folders = [StudyFolder.at(runs, name) for name in list_studies(runs)]
    if not folders:
        raise StudyError("There is no study yet.", where=str(runs), fix=NO_STUDY)
    fitting = [folder for folder in folders if finished in (None, folder.report.is_file())]
    if not fitting:
        names = ", ".join(folder.path.name for folder in folders)
        raise StudyError(
            "No study has finished yet." if finished else "Every study has finished.",
            where=str(runs),
            fix=f"optimize resume STUDY goes on with one of {names}"
            if finished
            else f"optimize frontier STUDY shows the result of one of {names}",
        )
    return max(fitting, key=lambda folder: folder.read_manifest().created)


def record_text(content: BaseModel) -> str:
    """A record as its file holds it."""
    return content.model_dump_json(indent=2) + "\n"


def write_record(path: Path, content: BaseModel) -> None:
    """Write next to the file and move into place, so that a reader never sees half of it."""
    partial = path.with_suffix(f".{os.getpid()}.part")
    partial.write_text(record_text(content), encoding="utf-8")
    partial.replace(path)


def _read(path: Path, record: type[Record]) -> Record:
    try:
        return record.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError, OSError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise StudyError(
            f"The file cannot be read: {first}", where=str(path), fix="restore it, or run a new study"
        ) from error
