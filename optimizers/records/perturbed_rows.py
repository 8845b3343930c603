"""What examples were made of others: kept in the ledger before one of them runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from optimizers.records.rows import PerturbedRow

if TYPE_CHECKING:
    from optimizers.records.ledger import Ledger

PERTURBED_DEV, PERTURBED_TEST = "perturbed dev", "perturbed test"
"""Under which keys the ledger keeps what was made of dev examples, and of test ones."""

_ROWS = TypeAdapter(tuple[PerturbedRow, ...])


def keep_perturbed(ledger: Ledger, key: str, rows: Sequence[PerturbedRow]) -> tuple[PerturbedRow, ...]:
    """Write what was made, unless that was done before; returns what is written."""
    ledger.put(key, _ROWS.dump_json(tuple(rows)).decode())
    return perturbed_of(ledger, key)


def perturbed_of(ledger: Ledger, key: str) -> tuple[PerturbedRow, ...]:
    """What was made; nothing where nothing was."""
    text = ledger.get(key)
    return () if text is None else _ROWS.validate_json(text)
