"""Numbers of a result in words: one phrasing for the terminal, the report, the page and MLflow.

Differences are given in points: hundredths of a score, so percentage points where scores are 0 or 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from optimizers.records.candidate import Candidate
from optimizers.records.report import Comparison, Drop, Estimate

PHASES = {
    "prepare": "loading models",
    "propose": "collecting demos and instructions",
    "search": "search",
    "refine": "leaders on dev",
    "settle": "leaders on dev",  # its name in older records
    "test": "sealed test",
    "robustness": "perturbed inputs",
    "done": "afterwards",
}

MANY_MORE = 10
"""More test rows than this many times those at hand are out of reach."""


def labels_of(models: Iterable[str]) -> dict[str, str]:
    """Model name -> the part after the last slash, or the whole name where two models share that part."""
    names = list(dict.fromkeys(models))
    last = {name: name.rsplit("/", 1)[-1] for name in names}
    count = Counter(last.values())
    return {name: label if count[label] == 1 else name for name, label in last.items()}


def briefs_of(labels: Mapping[str, str]) -> dict[str, str]:
    """Model name -> the shortest beginning of its label, up to a dash, that no other label has.

    For tables: ``smollm2`` for ``smollm2-135m-instruct``. The whole label where the model is alone.
    """
    found = {}
    for name, label in labels.items():
        others = [other.split("-") for one, other in labels.items() if one != name]
        parts = label.split("-")
        found[name] = next(
            (
                "-".join(parts[:count])
                for count in range(1, len(parts))
                if others and all(other[:count] != parts[:count] for other in others)
            ),
            label,
        )
    return found


def number(value: float, digits: int = 1) -> str:
    """A number with a fixed number of decimals, without a negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def points(difference: float) -> str:
    """A difference of scores in points, with one decimal: ``6.2``."""
    return number(100 * difference)


def signed(difference: float) -> str:
    """A difference of scores in points with its sign: ``+6.2``."""
    said = points(difference)
    return said if said == "0.0" or said.startswith("-") else f"+{said}"


def allowed(margin: float) -> str:
    """A margin in points, without needless decimals: ``2``."""
    return f"{100 * margin:.4g}"


def interval(low: float, high: float) -> str:
    """An interval of a difference in points: ``6.0 to 13.4``."""
    return f"{points(low)} to {points(high)}"


def loss(found: Comparison) -> str:
    """How far a point falls short of its reference, with the 95% interval, both in points."""
    return f"{points(-found.difference)} points ({interval(-found.high, -found.low)})"


def level(mean: float, *, binary: bool) -> str:
    """A mean score: a share of examples right where scores are 0 or 1."""
    return f"{mean:.0%}" if binary else f"{mean:.3f}"


def level_range(found: Estimate, *, binary: bool) -> str:
    """The 95% interval of a mean score."""
    if binary:
        return f"{100 * found.low:.0f} to {found.high:.0%}"
    return f"{found.low:.2f} to {found.high:.2f}"


def right(found: Estimate, *, binary: bool, of: int | None = None) -> str:
    """How many examples are right, or the mean where scores are graded.

    Args:
        found: The score.
        binary: Whether scores are 0 or 1.
        of: Number of examples that goes without saying.
    """
    if not binary:
        said = f"{found.mean:.3f}" + (f" on {found.n}" if of is not None and found.n != of else "")
    else:
        said = f"{found.mean * found.n:.0f}" + ("" if found.n == of else f" of {found.n}")
    return said + (f", {found.failures} failed" if found.failures else "")


def score(found: Estimate | None, *, binary: bool) -> str:
    """A whole score: how many right or the mean, the 95% interval, and the number of examples."""
    if found is None or not found.n:
        return "not measured"
    spread = level_range(found, binary=binary)
    if binary:
        return f"{right(found, binary=True)} ({spread})"
    return f"{found.mean:.3f} ({spread}), n = {found.n}" + (
        f", {found.failures} failed" if found.failures else ""
    )


def money(dollars: float) -> str:
    """US dollars with two decimals, or with two significant digits where that shows nothing."""
    if dollars <= 0 or dollars >= 0.1:
        return f"{dollars:,.2f}"
    return f"{dollars:.{1 - math.floor(math.log10(dollars))}f}"


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds: ``6m05s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02d}s"


def verdict(found: Comparison, *, unit: str = " points") -> str:
    """A verdict for people; records keep ``match``, ``no match`` and ``indecisive``.

    Args:
        found: The comparison.
        unit: The margin's unit; empty in a column of points.
    """
    words = {
        "match": "matches",
        "no match": f"worse by more than {allowed(found.margin)}{unit}",
        "indecisive": "not settled",
    }
    return words[found.verdict]


def to_settle(found: Comparison) -> str:
    """What would decide a comparison that is not settled; empty where nothing is known."""
    if found.more is None:
        return ""
    if found.more > MANY_MORE * found.n:
        return "These rows cannot settle it: widen the margin."
    return f"About {found.more:,} more test rows would settle it."


def share_of_cost(found: Comparison) -> str:
    """The cost of a point relative to its reference's: ``at 45% of the cost``."""
    if found.cost_ratio is None:
        return "which costs nothing"
    return f"at {found.cost_ratio:.0%} of the cost"


def examples_in(candidate: Candidate) -> str:
    """How many examples a prompt shows, and what else costs or varies: ``2 examples, t=0.3``.

    A program of several predictors shows the number of each, in order: ``0 + 3 examples``.
    """
    prompts = candidate.predictors.values()
    counts = [prompt.nearest.count if prompt.nearest else len(prompt.demos) for prompt in prompts]
    if not any(counts):
        said = "no examples"
    else:
        said = " + ".join(map(str, counts)) + (" example" if counts == [1] else " examples")
    techniques = dict.fromkeys(serving.technique for serving in candidate.servings)
    said += "".join(f", {name.replace('_', ' ')}" for name in techniques if name != "direct")
    hot = dict.fromkeys(serving.sampling.temperature for serving in candidate.servings)
    return said + "".join(f", t={temperature:g}" for temperature in hot if temperature > 0)


def change(drop: Drop | None) -> str:
    """What a perturbation changed, in points, with its 95% interval."""
    if drop is None:
        return ""
    return f"{signed(-drop.drop)} ({interval(-drop.high, -drop.low)})"
