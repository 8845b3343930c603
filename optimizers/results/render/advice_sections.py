"""What to do next in words, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from optimizers.results.advice import Advice, ModelForecast
from optimizers.results.render.markdown import bullets, code, escape, table


def to_markdown(advice: Advice, study: str) -> str:
    """The advice alone.

    Args:
        advice: What to do next.
        study: The study's name.
    """
    return "\n\n".join([f"# After the study {escape(study)}", *advice_lines(advice)]) + "\n"


def advice_lines(advice: Advice) -> Iterable[str]:
    """What to do, why, with which command, and what it rests on."""
    yield f"**{escape(advice.sentence)}**"
    yield bullets(escape(reason) for reason in advice.reasons)
    yield f"Next: {code(advice.command)}"
    calls, dollars = advice.again
    yield f"What as much search again, about {calls:,.0f} calls and {dollars:.4f} USD, is expected to gain:"
    yield table(
        ("model", "its best now", "gain (80% interval)", "within the margin now", "after that"),
        (_cells(one) for one in advice.model_forecasts),
    )


def _cells(one: ModelForecast) -> tuple[str, ...]:
    return (
        escape(one.model.rsplit("/", 1)[-1]),
        code(one.best),
        f"{one.gain:+.3f} ({one.low:+.3f} to {one.high:+.3f})",
        "is the reference" if one.matches is None else f"{one.matches:.0%}",
        "" if one.will_match is None else f"{one.will_match:.0%}",
    )
