"""``optimize show``: the prompt of a point, word for word, from the study's records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from optimizers.cli.options import (
    JsonOption,
    NewestArgument,
    RunsOption,
    study_folder,
)

if TYPE_CHECKING:
    from optimizers.records.folder import StudyFolder
    from optimizers.records.prompts import Part, SentPrompt
    from optimizers.records.report import Point

STYLES: dict[Part, str] = {"instruction": "bold cyan", "demos": "green", "input": "yellow", "format": "dim"}
NAMES: dict[Part, str] = {"format": "reply format and field names"}


def show(
    study: NewestArgument = None,
    point: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Candidate id of a point; the best of the frontier if left out."),
    ] = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a point's prompt as it is sent for one example, by part. Loads no model."""
    from optimizers.results.pick import choose

    folder = study_folder(study, runs, finished=True)
    shown = choose(folder.read_report(), point)
    prompts = _prompts(folder, shown)
    if as_json:
        content = [
            prompt.model_dump(mode="json")
            | {"messages": [{**one.model_dump(), "content": one.content} for one in prompt.messages]}
            for prompt in prompts
        ]
        found = {"study": folder.path.name, "point": shown.candidate.id, "prompts": content}
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    _print(shown, prompts)


def _prompts(folder: StudyFolder, point: Point) -> tuple[SentPrompt, ...]:
    """What the point's predictors are sent: as recorded, else rendered from the program file."""
    known = folder.read_prompts()
    if known is not None and point.candidate.id in known.prompts:
        return known.prompts[point.candidate.id]
    from optimizers.models.third_party import silence

    silence()
    from optimizers.evaluation.rendered_prompts import sent
    from optimizers.export.point import rebuild

    rebuilt = rebuild(folder, point.candidate.id)
    return sent(rebuilt.task, point.candidate)


def _print(point: Point, prompts: tuple[SentPrompt, ...]) -> None:
    from rich.text import Text

    from optimizers.cli import console

    measured = ", ".join(
        f"{found.mean:.3f} on {split}" for split, found in (("dev", point.dev), ("test", point.test)) if found
    )
    console.say(f"{point.candidate.label} ({point.candidate.id}): {measured}; {point.candidate.summary}")
    if console.stdout.is_terminal:
        names = [Text(NAMES.get(part, part), style) for part, style in STYLES.items()]
        console.stderr.print(Text("  ").join(names))
    for prompt in prompts:
        for message in prompt.messages:
            title = message.role if len(prompts) == 1 else f"{prompt.predictor}, {message.role}"
            console.stdout.print(f"--- {title} ---", style="bold", markup=False, highlight=False)
            pieces = [(piece.text, STYLES[piece.part]) for piece in message.pieces]
            console.stdout.print(Text.assemble(*pieces), soft_wrap=True, highlight=False)
    left_out = [name for name in point.candidate.predictors if name not in {one.predictor for one in prompts}]
    if left_out:
        console.say(f"Not shown, as their inputs are what other predictors write: {', '.join(left_out)}.")
