"""A study that several processes share: one leads, all run rollouts, and each ends with the whole result."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from optimizers.errors import LeadershipLost, StudyError
from optimizers.models.rate_limits import share_limits
from optimizers.records.folder import StudyFolder, valid_name
from optimizers.records.ledger import Ledger
from optimizers.records.report import FrontierReport
from optimizers.records.rows import StudyManifest
from optimizers.records.storage import alone, copy_to_file, shown
from optimizers.records.worker_group import LEASE, WorkerGroup
from optimizers.search.distributed.worker import Worker
from optimizers.search.outcome import write_outcome
from optimizers.search.study import lead_study

if TYPE_CHECKING:
    from optimizers.search.progress import Watcher
    from optimizers.task.task import LoadedTask

MANIFEST, REPORT = "manifest", "report"
"""Under which keys the ledger keeps what a shared study is about, and its result."""

LOOK = 0.5
"""Seconds between two looks whether the study is finished, or without a leader."""

Helping = Callable[[int, list[str]], None]
"""Told while another process leads: rollouts run by this one, and who works on the study."""


@contextmanager
def starting(folder: StudyFolder, storage: str) -> Iterator[None]:
    """Make a study ready within, its folder on this machine; then it is where others can join it.

    A study that was started elsewhere has its manifest in the folder beforehand, and the budget that
    it is given within from then on. Of several processes that start one study, one does so at a time.

    Args:
        folder: Where the study's folder is or will be.
        storage: Address of the database.

    Raises:
        StudyError: The folder holds another study of this name.
        StorageError: The database does not answer.
    """
    with Ledger.connect(storage, folder.path.name, create=True) as ledger, alone(ledger.engine):
        text = ledger.get(MANIFEST)
        if text is not None and not folder.manifest.exists():
            StudyFolder.create(folder.path.parent, StudyManifest.model_validate_json(text))
        yield
        manifest = folder.read_manifest()
        if text is None:
            ledger.put(MANIFEST, manifest.model_dump_json())
        else:
            known = _manifest(ledger)
            _check_same(folder, known, storage)
            if known != manifest:
                ledger.replace(MANIFEST, manifest.model_dump_json())
        _note(folder, ledger)


def fetch(runs: Path, study: str, storage: str) -> StudyFolder:
    """The folder, on this machine, of a study that is shared; made when missing.

    Args:
        runs: The folder of studies.
        study: The study's name.
        storage: Address of the database.

    Raises:
        StudyError: There is no such study, or the folder holds another one of this name.
        StorageError: The database does not answer.
    """
    with Ledger.connect(storage, valid_name(study)) as ledger:
        known = _manifest(ledger)
        folder = StudyFolder.at(runs, study)
        if folder.manifest.exists():
            _check_same(folder, known, storage)
        else:
            folder = StudyFolder.create(runs, known)
        _note(folder, ledger)
    return folder


def _note(folder: StudyFolder, ledger: Ledger) -> None:
    """Write down in a study's folder which database keeps it, so that nobody goes on without."""
    folder.storage.write_text(f"{shown(ledger.engine.url)}\n", encoding="utf-8")


def run_shared(
    task: LoadedTask,
    folder: StudyFolder,
    storage: str,
    *,
    watch: Watcher,
    helping: Helping,
    lease: float = LEASE,
) -> FrontierReport:
    """Work on a study together with other processes, until it is finished.

    The process leads where no other one does, and takes the lead when the one that has it dies.

    Args:
        task: What to optimize; the same in every process.
        folder: The study's folder on this machine, from :func:`fetch` or made within :func:`starting`.
        storage: Address of the database that the processes share.
        watch: Told about every step while this process leads.
        helping: Told what this process does while another one leads.
        lease: Seconds without a sign of life after which a process counts as dead.

    Returns:
        The report. It, the page, the picture and a copy of the ledger are in the folder too.

    Raises:
        StorageError: The database does not answer.
        BudgetError: The budget ends before anything is measured.
    """
    share_limits(folder.read_manifest().workers)
    with Ledger.connect(storage, folder.path.name) as ledger:
        while (kept := ledger.get(REPORT)) is None:
            group = WorkerGroup(ledger.engine, _name(), lease)
            # Taken for dead while it stalled, and another one leads: it begins anew, as a newcomer.
            with suppress(LeadershipLost), Worker(task, ledger, group) as worker:
                _work(task, folder, ledger, worker, storage, watch, helping)
        report = FrontierReport.model_validate_json(kept)
        # Everything that reads a finished study reads the folder: no database is needed from here on.
        copy_to_file(ledger.engine, folder.ledger)
        write_outcome(task, folder, ledger, ledger.rollouts(), report)
        folder.write_report(report)
    return report


def help_shared(task: LoadedTask, study: str, storage: str) -> int:
    """Run rollouts of a study that another process leads, until it is finished.

    Args:
        task: What to optimize; the same as the leader's.
        study: The study's name.
        storage: Address of the database that the processes share.

    Returns:
        How many rollouts this process ran.
    """
    rollouts = 0
    with Ledger.connect(storage, study) as ledger:
        share_limits(_manifest(ledger).workers)
        while ledger.get(REPORT) is None:
            with (
                suppress(LeadershipLost),
                Worker(task, ledger, WorkerGroup(ledger.engine, _name())) as worker,
            ):
                while ledger.get(REPORT) is None:
                    worker.check()
                    time.sleep(LOOK)
                rollouts += worker.rollouts
    return rollouts


def _name() -> str:
    return f"{socket.gethostname()}, process {os.getpid()}"


def _work(
    task: LoadedTask,
    folder: StudyFolder,
    ledger: Ledger,
    worker: Worker,
    storage: str,
    watch: Watcher,
    helping: Helping,
) -> None:
    """Run jobs until the study is finished; lead it where nobody else does."""
    while ledger.get(REPORT) is None:
        if worker.lead():
            # Whoever continued the study may have given it another budget.
            folder.write_manifest(_manifest(ledger))
            report = lead_study(task, folder, ledger, worker, storage, watch=watch)
            ledger.put(REPORT, report.model_dump_json())
        else:
            helping(worker.rollouts, worker.group.members())
            time.sleep(LOOK)


def _manifest(ledger: Ledger) -> StudyManifest:
    text = ledger.get(MANIFEST)
    if text is None:
        raise StudyError(
            "The study has not been started to its end: it says not yet what it is about.",
            where=shown(ledger.engine.url),
            fix="run the command that starts it again",
        )
    return StudyManifest.model_validate_json(text)


def _check_same(folder: StudyFolder, known: StudyManifest, storage: str) -> None:
    here = folder.read_manifest()
    if (here.created, here.fingerprint) != (known.created, known.fingerprint):
        raise StudyError(
            f"{folder.path} holds another study {known.name} than the storage does.",
            where=shown(make_url(storage)),
            fix="give the new one another name with --study, or another folder with --runs",
        )
