"""``optimize models``: the models that run in this process."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from optimizers.cli.options import JsonOption


def models(
    pull: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Pull this model's weights now. Repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the models that run in this process. Pulls their weights where asked."""
    from optimizers.cli import console
    from optimizers.models.catalogue import CATALOGUE, pulled
    from optimizers.models.resolve import model as resolve_model

    if pull:
        console.pull_weights([resolve_model(name) for name in pull])
    rows = [
        {
            "name": name,
            "kind": entry.kind,
            "billions": entry.size,
            "megabytes": round(entry.asset.bytes / 1e6),
            "licence": entry.asset.licence,
            "pulled": pulled(name),
        }
        for name, entry in CATALOGUE.items()
    ]
    if as_json:
        kinds = [{"quantization": entry.quantization} for entry in CATALOGUE.values()]
        print(json.dumps([row | kind for row, kind in zip(rows, kinds, strict=True)], indent=2))
    else:
        console.show_rows(rows)
