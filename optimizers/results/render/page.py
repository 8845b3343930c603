"""The frontier as one self-contained page: no network, no library, nothing that runs but its own script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from optimizers.records.report import FrontierReport, Point
from optimizers.records.rows import ExampleRow, Rollout

MOST_ERRORS = 6
"""Sample errors shown of a point."""

MOST_LABELS = 20
"""An output field with more values than this is no label."""

POOL_SHOWN = 2
"""Rows shown of a pool that demos are chosen from for every input; the page would hold it per candidate."""

_POLICY, _DATA = "{{policy}}", "{{data}}"


class Message(BaseModel):
    """One message of a request.

    Attributes:
        role: ``system``, ``user``, ``assistant``, or ``text`` for a plain text to continue.
        content: Its text, exactly as sent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    content: str


class Sent(BaseModel):
    """What one predictor is sent for one sample input.

    Attributes:
        predictor: Its name in the program.
        messages: The messages of its first call, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    predictor: str
    messages: tuple[Message, ...]


class LabelScore(BaseModel):
    """The mean score of the examples with one declared answer.

    Attributes:
        field: The output field.
        label: Its declared value.
        mean: Mean score, in [0, 1].
        n: Examples scored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str
    label: str
    mean: float = Field(ge=0, le=1)
    n: int = Field(ge=1)


class SampleError(BaseModel):
    """An example that was not fully right.

    Attributes:
        inputs: Its input fields.
        said: The outputs given; empty where the reply could not be read.
        right: The declared outputs.
        score: Its score, in [0, 1).
        error: Why the reply could not be read, if it could not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: dict[str, Any]
    said: dict[str, Any]
    right: dict[str, Any]
    score: float = Field(ge=0, lt=1)
    error: str | None = None


class Detail(BaseModel):
    """What the page shows of a point that its report lacks; all of it may be absent.

    Demos, instructions and sampling are in the report's candidate already.

    Attributes:
        sent: What its predictors are sent for one sample input.
        labels: Its mean score by declared answer.
        labels_on: The part of the data that ``labels`` are of.
        errors: Some of its errors on dev. Those on test stay unseen: a person who tunes prompts by
            what they read there would no longer have a sealed test.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sent: tuple[Sent, ...] = ()
    labels: tuple[LabelScore, ...] = ()
    labels_on: Literal["dev", "test"] = "dev"
    errors: tuple[SampleError, ...] = ()


def detail_of(
    rollouts: Sequence[Rollout], examples: Mapping[str, ExampleRow], sent: Sequence[Sent] = ()
) -> Detail:
    """What the records say of a candidate beyond its report.

    Args:
        rollouts: The candidate's; those on train, repeats and failures do not count.
        examples: Example id -> example, of dev and test.
        sent: What its predictors are sent for a sample input, where somebody rendered it.
    """
    scored: dict[str, list[tuple[Rollout, ExampleRow, float]]] = {"dev": [], "test": []}
    for row in rollouts:
        if row.number == 0 and row.score is not None and row.split in scored and row.example in examples:
            scored[row.split].append((row, examples[row.example], row.score))
    # Hashes come in no order that means anything, so among equal scores these are a fair sample.
    worst = sorted(scored["dev"], key=lambda found: (found[2], found[0].example))
    errors = [
        SampleError(inputs=example.inputs, said=row.output, right=example.gold, score=score, error=row.error)
        for row, example, score in worst[:MOST_ERRORS]
        if score < 1
    ]
    labels_on: Literal["dev", "test"] = "test" if scored["test"] else "dev"
    labels = _label_scores([(example.gold, score) for _, example, score in scored[labels_on]])
    return Detail(sent=tuple(sent), labels=tuple(labels), labels_on=labels_on, errors=tuple(errors))


def _label_scores(answers: Sequence[tuple[Mapping[str, Any], float]]) -> list[LabelScore]:
    """Scores by value, of the output fields that have few values."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for gold, score in answers:
        for field, value in gold.items():
            scores[field][str(value)].append(score)
    return [
        LabelScore(field=field, label=label, mean=min(1.0, sum(found) / len(found)), n=len(found))
        for field, labels in scores.items()
        # Where most values occur once they are answers, not labels.
        if len(labels) <= MOST_LABELS and 2 * len(labels) <= len(answers)
        for label, found in sorted(labels.items())
    ]


def write_page(
    report: FrontierReport,
    path: Path,
    details: Mapping[str, Detail],
    anytime: Sequence[tuple[float, float]] = (),
) -> None:
    """Write a study's result as a page that a browser opens without any network.

    The page's data comes from models and users. It is embedded as JSON that no HTML parser can see a
    tag in, and a content security policy lets nothing run but the page's own script, by its hash.

    Args:
        report: What was found.
        path: HTML to write.
        details: Candidate id -> what the report lacks about it; those of no point are left out.
        anytime: US dollars spent and the best quality on dev so far, in order, the last with all that was
            spent; empty hides the curve.
    """
    template = files("optimizers.results.render").joinpath("page.html").read_text(encoding="utf-8")
    page = template.replace(_POLICY, _policy(template))
    before, after = page.split(_DATA)
    content = before + _embedded(_content(report, details, anytime)) + after
    # Bytes, as the hashes are of these very line ends.
    path.write_bytes(content.encode("utf-8"))


def _content(
    report: FrontierReport, details: Mapping[str, Detail], anytime: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    points = [_point(point) for point in report.points]
    known = {point.candidate.id for point in report.points}
    return {
        "report": {**_plain(report), "points": points},
        "details": {identity: _plain(detail) for identity, detail in details.items() if identity in known},
        "anytime": [[spent, quality] for spent, quality in anytime],
    }


def _plain(record: BaseModel) -> dict[str, Any]:
    """JSON values; a number that JSON lacks becomes null, which the browser can read."""
    content: dict[str, Any] = json.loads(record.model_dump_json())
    return content


def _point(point: Point) -> dict[str, Any]:
    """A point with what its candidate derives, and the pools of its demos cut short."""
    candidate, content = point.candidate, _plain(point)
    for prompt in content["candidate"]["predictors"].values():
        if nearest := prompt.get("nearest"):
            prompt["nearest"] = {
                "count": nearest["count"],
                "pool_size": len(nearest["pool"]),
                "pool": nearest["pool"][:POOL_SHOWN],
            }
    techniques = dict.fromkeys(serving.technique for serving in candidate.servings)
    derived = {"id": candidate.id, "label": candidate.label, "summary": candidate.summary}
    return {**content, **derived, "techniques": list(techniques)}


def _embedded(content: Mapping[str, Any]) -> str:
    """JSON in ASCII without ``<``, ``>`` and ``&``: inside a script element nothing in it can end it.

    U+2028 and U+2029, line ends to a script, are escaped with all that is not ASCII.
    """
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _policy(template: str) -> str:
    """The content security policy that allows the template's own style and script and nothing else."""
    style, script = (_hash(template, tag) for tag in ("style", "script"))
    rules = (
        "default-src 'none'",
        f"style-src {style}",
        f"script-src {script}",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
    )
    return "; ".join(rules)


def _hash(template: str, tag: str) -> str:
    """The hash of a tag's content as a source in a policy (W3C Content Security Policy Level 3, 2.3.1)."""
    (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", template, re.DOTALL)
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
