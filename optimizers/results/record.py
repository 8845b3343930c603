"""What all records of a report have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen record; ``--json`` prints it as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
