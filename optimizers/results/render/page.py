"""The frontier as one self-contained page: no network, no library, nothing that runs but its own script."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from pydantic import BaseModel

from optimizers.records.prompts import SentPrompt
from optimizers.records.record import Record
from optimizers.records.report import FrontierReport, Point
from optimizers.records.rows import StudyManifest
from optimizers.results import details as further
from optimizers.results.failures import CandidateErrors, errors_of
from optimizers.results.headline import is_binary, names_of
from optimizers.results.render.html import render
from optimizers.results.view import result_view
from optimizers.results.wording import loss, score, share_of_cost, to_settle, verdict

if TYPE_CHECKING:
    from optimizers.records.folder import StudyFolder
    from optimizers.records.ledger import Ledger
    from optimizers.records.rows import Rollout

POOL_SHOWN = 2
"""Rows shown of a pool that demos are chosen from for every input; the page would hold it per candidate."""


class Detail(Record):
    """What the page shows of a point in addition to its report; all of it may be absent.

    Attributes:
        sent: What its predictors are sent for one sample input.
        found: Where it errs.
    """

    sent: tuple[SentPrompt, ...] = ()
    found: CandidateErrors = CandidateErrors()


def write_study_page(
    folder: StudyFolder,
    ledger: Ledger,
    known: Sequence[Rollout],
    report: FrontierReport,
    sent: Mapping[str, Sequence[SentPrompt]],
) -> None:
    """Write the page of a study's frontier from its records: no model is loaded, no network is used.

    Args:
        folder: The study's folder.
        ledger: Its ledger.
        known: All its rollouts.
        report: Its result.
        sent: Candidate id -> what its predictors are sent for a sample input.
    """
    rollouts: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in known:
        rollouts[rollout.candidate].append(rollout)
    examples = ledger.examples()
    found = {
        identity: Detail(sent=tuple(sent.get(identity, ())), found=errors_of(rows, examples))
        for identity, rows in rollouts.items()
    }
    write_page(report, folder.page, found, anytime(ledger), manifest=folder.read_manifest())


def write_page(
    report: FrontierReport,
    path: Path,
    details: Mapping[str, Detail],
    anytime: Sequence[tuple[float, float]] = (),
    *,
    manifest: StudyManifest | None = None,
) -> None:
    """Write a study's result as a page that a browser opens without any network.

    The page's data comes from models and users. It is embedded as JSON that no HTML parser can see a
    tag in, and a content security policy lets nothing run but the page's own script, by its hash.

    Args:
        report: The result.
        path: HTML to write.
        details: Candidate id -> what the report lacks about it; those of no point are left out.
        anytime: US dollars spent and the best quality on dev so far, in order, the last with all that was
            spent; empty hides the curve.
        manifest: The study, which tells which prices are assumed.
    """
    data = _embedded(_content(report, details, anytime, manifest))
    page = render("page.html", style="page.css", script="page.js", data=Markup(data))
    # Bytes, as the hashes are of these very line ends.
    path.write_bytes(page.encode("utf-8"))


def anytime(ledger: Ledger) -> list[tuple[float, float]]:
    """US dollars that were spent, and the best quality on dev by then: at each rise, and in the end."""
    ends = [(call.ended, call.cost) for call in ledger.calls() if call.ended is not None]
    ends.sort()
    found: list[tuple[float, float]] = []
    spent, place = 0.0, 0
    for trial in ledger.trials():
        while place < len(ends) and ends[place][0] <= trial.ended.timestamp():
            spent += ends[place][1]
            place += 1
        if trial.values and (not found or trial.values[0] > found[-1][1]):
            found.append((spent, trial.values[0]))
    if found and (total := ledger.used().dollars) > found[-1][0]:
        found.append((total, found[-1][1]))
    return found


def _content(
    report: FrontierReport,
    details: Mapping[str, Detail],
    anytime: Sequence[tuple[float, float]],
    manifest: StudyManifest | None,
) -> dict[str, Any]:
    binary = is_binary(report)
    points = [_point(point, binary=binary) for point in report.points]
    known = {point.candidate.id for point in report.points}
    stress = further.robustness(report, names_of(report))
    return {
        "report": {**_plain(report), "points": points},
        "view": {
            **_plain(result_view(report, manifest)),
            "stress": [_plain(section) for section in stress],
            "luck": list(further.luck(report.optimism)),
        },
        "details": {identity: _detail(detail) for identity, detail in details.items() if identity in known},
        "anytime": [[spent, quality] for spent, quality in anytime],
    }


def _detail(detail: Detail) -> dict[str, Any]:
    sent = [
        {
            "predictor": prompt.predictor,
            "messages": [{"role": one.role, "content": one.content} for one in prompt.messages],
        }
        for prompt in detail.sent
    ]
    return {"sent": sent, "found": _plain(detail.found)}


def _plain(record: BaseModel) -> dict[str, Any]:
    """JSON values; a number that JSON lacks becomes null, which the browser can read."""
    content: dict[str, Any] = json.loads(record.model_dump_json())
    return content


def _point(point: Point, *, binary: bool) -> dict[str, Any]:
    """A point with what its candidate derives and its numbers in words, the pools of its demos cut short."""
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
    return {**content, **derived, "techniques": list(techniques), "said": _said(point, binary=binary)}


def _said(point: Point, *, binary: bool) -> dict[str, str]:
    """A point's scores and comparisons in words; empty where there is none."""
    best, default = point.comparison, point.against_default
    return {
        "test": score(point.test, binary=binary) if point.test and point.test.n else "",
        "dev": score(point.dev, binary=binary) if point.dev.n else "",
        "verdict": verdict(best) if best else "",
        "gap": f"short by {loss(best)}, {share_of_cost(best)}, n = {best.n}. {to_settle(best)}".rstrip()
        if best
        else "",
        "default_gap": f"{verdict(default)}; short by {loss(default)}, n = {default.n}" if default else "",
    }


def _embedded(content: Mapping[str, Any]) -> str:
    """JSON in ASCII without ``<``, ``>`` and ``&``: inside a script element nothing in it can end it.

    U+2028 and U+2029, line ends to a script, are escaped with all that is not ASCII.
    """
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", text)
