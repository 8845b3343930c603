"""What a model's tokens cost. Unknown is an error, never zero."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from optimizers.errors import PriceError
from optimizers.models.model import LOCAL_PREFIX, Price

BY_SIZE = "by-size"

INPUT_PER_BILLION = 0.01
"""US dollars per million prompt tokens and billion parameters: near what hosts ask for open models."""

OUTPUT_PER_BILLION = 0.04
"""US dollars per million generated tokens and billion parameters: four times a prompt token, as is common."""

SIZE_SOURCE = "by size"
"""How the source of a price that is assumed from a model's size begins."""

DeclaredPrice = Price | tuple[float, float] | str | None


def price_of(name: str, *, size: float | None, declared: DeclaredPrice, share: float = 1.0) -> Price:
    """The price of a model: as declared, else by size when local, else from LiteLLM's cost map.

    Args:
        name: The model's name.
        size: Billions of parameters, when known.
        share: What a price by size is multiplied by: bytes of the weights over those of the pinned file.
        declared: A Price, (input, output) in US dollars per million tokens, ``"by-size"``, or None.

    Raises:
        PriceError: Nobody has stated a price, or what was declared is none.
    """
    if isinstance(declared, Price):
        return declared
    if declared not in (None, BY_SIZE):
        return _declared(name, declared)
    if declared == BY_SIZE or name.startswith(LOCAL_PREFIX):
        return _by_size(name, size, share)
    listed = _listed(name)
    if listed is not None:
        return listed
    raise PriceError(
        "This model has no known price, and unknown is never taken for zero.",
        where=name,
        fix=(
            f'declare it in the task: model("{name}", price=(INPUT, OUTPUT)) in USD per million tokens; '
            f"or on the command line: --model {name},price=INPUT/OUTPUT; "
            f'or, for a model you serve yourself, price="{BY_SIZE}" with its size in billions'
        ),
    )


def _declared(name: str, price: Any) -> Price:
    """A price of two numbers."""
    fix = f'give price=(INPUT, OUTPUT) in USD per million tokens, or price="{BY_SIZE}"'
    is_pair = isinstance(price, (tuple, list)) and len(price) == 2
    if not is_pair or not all(isinstance(one, (int, float)) and math.isfinite(one) for one in price):
        raise PriceError(f"A price is two numbers, not {price!r}.", where=name, fix=fix)
    if min(price) < 0:
        raise PriceError("A price cannot be negative.", where=name, fix=fix)
    return Price(input=float(price[0]), output=float(price[1]), source="declared")


def is_assumed(price: Price) -> bool:
    """Whether a price is assumed from the model's size: nobody charges it."""
    return price.source.startswith(SIZE_SOURCE)


def _by_size(name: str, size: float | None, share: float) -> Price:
    if size is None:
        raise PriceError(
            "A price by size needs the model's size.",
            where=name,
            fix="declare size= in billions, or price=(INPUT, OUTPUT)",
        )
    return Price(
        input=round(INPUT_PER_BILLION * size * share, 9),
        output=round(OUTPUT_PER_BILLION * size * share, 9),
        source=f"{SIZE_SOURCE}: {INPUT_PER_BILLION:g} in, {OUTPUT_PER_BILLION:g} out per billion parameters"
        + (f", times {share:.2f} for its quantization" if share != 1 else ""),
    )


def _listed(name: str) -> Price | None:
    """The cost map's price, under the name as given or without its provider."""
    for key, entry in listed_entries(name):
        prices: tuple[Any, Any] = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
        if None not in prices and max(prices) > 0:
            cached = entry.get("cache_read_input_token_cost")
            return Price(
                input=_per_million(prices[0]),
                output=_per_million(prices[1]),
                cached=None if cached is None else _per_million(cached),
                source=f"LiteLLM's cost map, {key}",
            )
    return None


def listed_entries(name: str) -> list[tuple[str, dict[str, Any]]]:
    """What the cost map holds of a model, under its name as given and without its provider."""
    entries = _cost_map()
    return [(key, entries[key]) for key in (name, name.partition("/")[2]) if key in entries]


def _per_million(per_token: float) -> float:
    return round(1e6 * float(per_token), 9)


@cache
def _cost_map() -> dict[str, Any]:
    """LiteLLM's cost map as shipped: read from its file, since importing LiteLLM takes seconds."""
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    file = Path(spec.origin).parent / "model_prices_and_context_window_backup.json"
    entries: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return entries
