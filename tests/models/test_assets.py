"""Assets: verified before use, pulled once, resumed, and clear when they cannot be had."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from optimizers.errors import AssetError
from optimizers.models import asset_sources
from optimizers.models.asset_sources import DebianFile, HubFile, PackagePart, PackageParts
from optimizers.models.assets import Asset, cached, fetch, licence_notice

CONTENT = (b"first part ", b"second part")


def wheel(content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(zipfile.ZipInfo("pkg/data.bin"), content)
    return made.getvalue()


def asset(**changes: Any) -> Asset:
    parts = tuple(
        PackagePart(
            package=f"part{i}",
            version="1",
            sha256=hashlib.sha256(wheel(c)).hexdigest(),
            member="pkg/data.bin",
        )
        for i, c in enumerate(CONTENT)
    )
    whole = b"".join(CONTENT)
    content: dict[str, Any] = {
        "name": "A thing",
        "filename": "thing.bin",
        "sha256": hashlib.sha256(whole).hexdigest(),
        "bytes": len(whole),
        "licence": "MIT",
        "sources": (PackageParts(parts=parts),),
    }
    return Asset(**content | changes)


class Index:
    """Stands in for pip: serves the wheels, counts what was asked for, fails where told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.wheels = {f"part{index}": wheel(content) for index, content in enumerate(CONTENT)}
        self.broken: set[str] = set()

    def __call__(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if "pip" not in command:
            return subprocess.CompletedProcess(command, 100, "", "E: Unable to locate package")
        wanted = Path(command[command.index("--requirement") + 1]).read_text()
        assert "--require-hashes" in command
        package = wanted.partition("==")[0]
        self.asked.append(package)
        if package in self.broken:
            return subprocess.CompletedProcess(
                command, 1, "", "ERROR: no route to https://index.example/packages"
            )
        place = Path(command[command.index("--dest") + 1])
        (place / f"{package}-1-py3-none-any.whl").write_bytes(self.wheels[package])
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    served = Index()
    monkeypatch.setenv("OPTIMIZE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(asset_sources.subprocess, "run", served)
    return served


def test_parts_are_joined_verified_and_pulled_once(index: Index) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch(asset(), progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == b"".join(CONTENT)
    assert seen[-1] == (22, 22)
    assert fetch(asset()) == path
    assert index.asked == ["part0", "part1"]


def test_an_interrupted_pull_goes_on_where_it_stopped(index: Index) -> None:
    index.broken = {"part1"}
    with pytest.raises(AssetError):
        fetch(asset())
    index.broken = set()
    fetch(asset())
    assert index.asked == ["part0", "part1", "part1"]


def test_a_file_with_another_hash_is_never_used(index: Index) -> None:
    with pytest.raises(AssetError, match="sha256 differs"):
        fetch(asset(sha256="0" * 64))
    assert cached(asset(sha256="0" * 64)) is None


def test_a_distribution_that_is_not_the_pinned_one_is_not_opened(index: Index) -> None:
    index.wheels["part0"] = wheel(b"something else")
    with pytest.raises(AssetError, match="not the file that was pinned"):
        fetch(asset())


def test_the_next_source_is_tried_and_all_are_named_when_none_answers(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_hub(source: HubFile, folder: Path) -> bytes:
        raise asset_sources.SourceFailed("no network")

    monkeypatch.setattr(asset_sources, "_from_hub", no_hub)
    hub = HubFile(repo="someone/thing", path="thing.bin")
    packages = asset().sources[0]
    assert fetch(asset(sources=(hub, packages))).is_file()
    index.broken = {"part0"}
    other = asset(
        filename="other.bin", sha256="1" * 64, sources=(hub, packages, DebianFile(package="d", member="m"))
    )
    with pytest.raises(AssetError) as caught:
        fetch(other)
    message = str(caught.value)
    for part in (
        "someone/thing",
        "no network",
        "part0",
        "no route",
        "Debian package d",
        "put the file there yourself",
    ):
        assert part in message
    assert "index.example" not in message


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DebianFile:
    """A package with one file, which a stand-in of apt-get leaves where it is asked for."""
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: rows\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: rows\n"
    )
    (tree / "usr" / "share").mkdir(parents=True)
    (tree / "usr" / "share" / "rows.txt").write_bytes(b"the rows")
    programs = tmp_path / "programs"
    programs.mkdir()
    stand_in = programs / "apt-get"
    stand_in.write_text(f"#!/bin/sh\nexec {shutil.which('dpkg-deb')} --build {tree} rows_1_all.deb\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return DebianFile(package="rows", member="usr/share/rows.txt")


def rows(**changes: Any) -> Asset:
    whole = {"sha256": hashlib.sha256(b"the rows").hexdigest(), "bytes": 8, "filename": "rows.txt"}
    return asset(**whole | changes)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb to build a package")
def test_a_debian_package_is_unpacked(debian: DebianFile) -> None:
    assert fetch(rows(sources=(debian,))).read_bytes() == b"the rows"
    missing = debian.model_copy(update={"member": "usr/share/other.txt"})
    with pytest.raises(AssetError, match=r"holds no usr/share/other\.txt"):
        fetch(rows(filename="other.txt", sha256="2" * 64, sources=(missing,)))


def test_without_dpkg_deb_it_is_named_after_other_sources_were_tried(
    index: Index, debian: DebianFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = shutil.which
    monkeypatch.setattr("shutil.which", lambda name: None if name == "dpkg-deb" else which(name) or name)
    assert fetch(asset(sources=(debian, *asset().sources))).is_file()
    with pytest.raises(AssetError, match="no dpkg-deb; Debian has it in the package dpkg"):
        fetch(rows(sources=(debian,)))


def test_two_at_once_pull_once(index: Index) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(asset()), range(4)))
    assert len(set(paths)) == 1
    assert index.asked == ["part0", "part1"]


def test_a_member_of_a_nested_archive_is_found(index: Index) -> None:
    def tar(name: str, content: bytes) -> bytes:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz") as archive:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        return made.getvalue()

    content = b"the rows"
    index.wheels["part0"] = tar("pkg-1/outer.tar.gz", tar("folder/rows.txt", content))
    part = PackagePart(
        package="part0",
        version="1",
        sha256=hashlib.sha256(index.wheels["part0"]).hexdigest(),
        member="outer.tar.gz::rows.txt",
    )
    found = asset(
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=8,
        sources=(PackageParts(parts=(part,), sdist=True),),
    )
    assert fetch(found).read_bytes() == content


def test_a_licence_is_shown_once(index: Index) -> None:
    first = licence_notice(asset())
    assert first is not None
    assert "MIT" in first
    assert licence_notice(asset()) is None


def test_the_hub_answers_or_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = HubFile(repo="nobody/nothing", path="x.gguf")
    read: Callable[[], list[bytes]] = lambda: list(asset_sources.parts_of(source, tmp_path))  # noqa: E731
    with pytest.raises(asset_sources.SourceFailed):
        read()
