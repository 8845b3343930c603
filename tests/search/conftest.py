"""What lets whole studies run in seconds: no MLflow, no picture, no waiting for the disk, a short design."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from fakes import Untracked


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Studies without what costs most of their time here; two drawn starts instead of sixteen."""

    def configure(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    monkeypatch.setattr("optimizers.search.study.StudyRun.open", lambda manifest, folder: Untracked())
    monkeypatch.setattr("optimizers.search.outcome.draw_frontier", lambda report, path: None)
    monkeypatch.setattr("optimizers.search.space.initial_design.DESIGN", 1)
    sa.event.listen(sa.Engine, "connect", configure)
    yield
    sa.event.remove(sa.Engine, "connect", configure)
