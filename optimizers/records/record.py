"""The base of records that are written to files, printed as JSON, or shown."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen record without unknown fields; ``--json`` prints it as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
