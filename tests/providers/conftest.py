"""Tests of providers: none can reach one, and none sees the keys of whoever runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from providers.server import Provider, standing_in


@pytest.fixture(scope="module")
def every_address() -> Iterator[Provider]:
    """The server to which every address leads while a module's tests run."""
    with pytest.MonkeyPatch.context() as patch, standing_in(patch) as server:
        yield server


@pytest.fixture(autouse=True)
def provider(every_address: Provider, monkeypatch: pytest.MonkeyPatch) -> Provider:
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_")) or "PROXY" in name.upper() or name.endswith(("_KEY", "_BASE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    every_address.asked.clear()
    return every_address
