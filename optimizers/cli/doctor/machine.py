"""Checks of this machine: Python, libraries, folders, disk, MLflow's store."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from importlib import metadata, util
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from optimizers.cli.doctor.findings import DISTRIBUTION, Finding, Findings, Level
from optimizers.errors import without_credentials

if TYPE_CHECKING:
    from packaging.requirements import Requirement

EXTRAS = {"dashboard": " (to see a study in Optuna's dashboard too)"}
"""Extras that help a user of studies; the others are for work on Parity itself."""

RUNS_BYTES, SPARE_BYTES = 20_000_000, 500_000_000
"""Disk that a study needs (most take 2 to 10 MB), and what should be free in addition."""

ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Tables and columns in which MLflow's store keeps addresses of files."""


def libraries() -> Findings:
    """Whether Python, the libraries and the extras fit, by their installed versions; imports none of them."""
    from packaging.specifiers import SpecifierSet

    about, version = metadata.metadata(DISTRIBUTION), platform.python_version()
    fits = SpecifierSet(about["Requires-Python"]).contains(version, prereleases=True)
    fix = "" if fits else f"make a virtual environment with a Python {about['Requires-Python']}"
    said = f"{version} on {platform.system()} {platform.machine()}"
    yield Finding("python", "ok" if fits else "problem", said, fix)
    asked, install = _requirements(""), f"{sys.executable} -m pip install"
    fitting = sorted(f"{one.name} {metadata.version(one.name)}" for one in asked if not _misfit(one))
    yield Finding("libraries", "ok", ", ".join(fitting))
    for one in filter(_misfit, asked):
        fix = f"{install} '{one.name}{one.specifier}'"
        yield Finding(f"library {one.name}", "problem", _misfit(one), fix)
    for extra, use in EXTRAS.items():
        lacking = ", ".join(one.name for one in _requirements(extra) if _misfit(one))
        said = f"optional, not installed: {lacking}" if lacking else "installed"
        fix = f"{install} '{DISTRIBUTION}[{extra}]' to have it" if lacking else ""
        yield Finding(f"extra {extra}", "ok", f"{said}{use}", fix)


def _requirements(extra: str) -> list[Requirement]:
    """What Parity requires on this machine, or what one of its extras adds to that."""
    from packaging.requirements import Requirement

    asked = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or ()]
    there = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": extra})]
    return [one for one in there if ("extra" in str(one.marker)) == bool(extra)]


def _misfit(asked: Requirement) -> str:
    """What is wrong with an installed library; empty where it fits."""
    try:
        version = metadata.version(asked.name)
    except metadata.PackageNotFoundError:
        return f"not installed; {asked.specifier} is needed"
    fits = asked.specifier.contains(version, prereleases=True)
    return "" if fits else f"version {version} is installed; {asked.specifier} is needed"


def runs_folder(runs: Path) -> Findings:
    """Whether a folder can be written, holds locks and has room for studies."""
    from filelock import FileLock, Timeout

    there, locked = _existing(runs), True
    if not there.is_dir():
        yield Finding("runs folder", "problem", f"{there} is not a folder", "name another with --runs")
        return
    with tempfile.TemporaryDirectory(dir=there, prefix=".doctor-") as place, FileLock(f"{place}/lock"):
        try:
            with FileLock(f"{place}/lock", blocking=False):
                locked = False
        except Timeout:
            pass
        # The ledger needs write-ahead logging, which many network disks lack.
        with closing(sqlite3.connect(f"{place}/ledger.db")) as ledger:
            ledger.execute("PRAGMA journal_mode = WAL")
            ledger.execute("CREATE TABLE written (at)")
    said = "can be written and locked" if locked else "can be written, but file locks do not work there"
    fix = "" if locked else "name a folder on a local disk with --runs"
    yield Finding("runs folder", "ok" if locked else "problem", f"{runs} {said}", fix)
    yield _disk("runs", there, RUNS_BYTES)


def _existing(folder: Path) -> Path:
    """A path, or the nearest one above it that exists."""
    folder = folder.expanduser().absolute()
    return next(one for one in (folder, *folder.parents) if one.exists())


def _disk(what: str, folder: Path, needed: int) -> Finding:
    free = shutil.disk_usage(folder).free
    level: Level = "problem" if free < needed else "warning" if free < needed + SPARE_BYTES else "ok"
    fix = "" if level == "ok" else "free some, or choose another disk with --runs or OPTIMIZE_CACHE"
    return Finding(f"disk for {what}", level, f"{mb(free)} free at {folder}, {mb(needed)} needed", fix)


def mb(count: int) -> str:
    """Bytes as megabytes."""
    return f"{count / 1e6:,.0f} MB"


def disk_for_weights(names: Sequence[str] | None) -> Findings:
    """Whether the cache has room for the weights to be pulled, of these models or of the default ones."""
    from optimizers.models.assets import cache_folder
    from optimizers.models.catalogue import CATALOGUE, pulled
    from optimizers.task.task import DEFAULT_MODELS

    asked = {name.partition("@")[0] for name in (DEFAULT_MODELS if names is None else names)}
    local = CATALOGUE.keys() & asked
    sizes = [CATALOGUE[name].asset.bytes for name in local if not pulled(name)]
    # A pull needs room for its parts and for the whole file.
    yield _disk("weights", _existing(cache_folder()), sum(sizes) + max(sizes, default=0))


def mlflow_store(runs: Path) -> Findings:
    """Whether the installed MLflow can read the store, and finds its files; MLflow is not imported."""
    from optimizers.records.tracking.mlflow_store import tracking_uri

    check, uri, installed = "MLflow store", tracking_uri(runs), util.find_spec("mlflow")
    file = Path(uri.removeprefix("sqlite:///").partition("?")[0])
    if not uri.startswith("sqlite:///"):
        yield Finding(
            check,
            "ok",
            f"MLFLOW_TRACKING_URI names {without_credentials(uri)}; it is not checked",
        )
    elif not file.exists():
        yield Finding(check, "ok", f"the first study makes {file}")
    elif installed is not None:
        with closing(_read(file)) as store:
            (version,) = store.execute("SELECT version_num FROM alembic_version").fetchone()
        folder = Path(installed.origin or "").parent / "store/db_migrations/versions"
        known = "\n".join(one.read_text(encoding="utf-8") for one in folder.glob("*.py"))
        newest = f'\nrevision = "{version}"' in known and f'\ndown_revision = "{version}"' not in known
        said = f"{file} {'fits' if newest else 'does not fit'} the installed MLflow"
        fix = f"keep a copy, then: {sys.executable} -m mlflow db upgrade {uri}; if that fails, move it away"
        yield Finding(check, "ok" if newest else "problem", said, "" if newest else fix)
        if newest and "MLFLOW_TRACKING_URI" not in os.environ:
            yield from _moved(file)


def _moved(file: Path) -> Findings:
    """Whether the store's addresses of files lead elsewhere: they are absolute.

    After the folder of studies was moved or copied, MLflow 3.17 silently shows no file of earlier
    studies, and writes those of new ones to the old place.
    """
    from optimizers.records.tracking.mlflow_store import artifacts_folder

    here = artifacts_folder(file.parent)
    with closing(_read(file)) as store:
        found = store.execute(
            "SELECT artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'"
        )
        addresses = {location.rpartition("/")[0] for (location,) in found}
    for address in sorted(addresses):
        old = Path(url2pathname(urlsplit(address).path))
        # Experiments that Parity did not make may be anywhere.
        if old.name != here.name or old.resolve() == here:
            continue
        change = f"replace({{0}}, {_sql(address)}, {_sql(here.as_uri())})"
        script = "; ".join(f"UPDATE {table} SET {name} = {change.format(name)}" for table, name in ADDRESSES)
        code = f"import sqlite3; sqlite3.connect({str(file.resolve())!r}).executescript({script!r})"
        there = "another folder" if old.is_dir() else "gone"
        said = f"MLflow looks for the files of studies in {old}, which is {there}, and writes new ones to it"
        fix = f"while no study runs: {quote(sys.executable)} -c {quote(code)}"
        yield Finding("MLflow files", "warning", said, fix)


def _read(store: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro", uri=True, timeout=1)


def _sql(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
