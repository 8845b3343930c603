"""Checks of a program file: its models and its data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from optimizers.cli.doctor.findings import Finding, Findings, attempt, checked
from optimizers.cli.doctor.machine import disk_for_weights, mb
from optimizers.cli.doctor.servers import Answer, ask, context_of, key_of, place_of, server_of
from optimizers.models.keys import OPENAI_KIND

if TYPE_CHECKING:
    from optimizers.models.model import Model
    from optimizers.task.task import Task

LOPSIDED, MANY_DUPLICATES = 0.8, 0.1
"""Shares of all rows from which one label, or duplicates, are a warning."""

NOTE_FIXES = {
    "for want of an input or an output": "fill in the blank cells",
    "with different outputs": "decide which output is right, and correct the others",
    "says nearly the same": "nothing to do; rows that differ more would all be used",
    "groups by": "add rows of more groups",
    "test rows, expect": "add rows, or declare a wider margin",
    "no row has the": "add rows with this label, or take it out of the signature",
    "has no row labelled": "add rows with this label, or take it out of the signature",
    "asked for": "add rows, or ask for fewer in the data card",
    "without a name": "name it if the program needs it",
}
"""Part of a note on the data -> its fix."""


def check_program(path: Path) -> list[Finding]:
    """Check a program file, each of its models, and its data."""
    from optimizers.task.task import DEFAULT_MODELS, declared_task

    task, findings = attempt("program", partial(declared_task, path), f"make `python {path}` run first")
    if task is None:
        return findings
    findings = [Finding("program", "ok", f"{path} loads: {type(task.program).__name__}")]
    entries = [*task.models] if task.proposer is None else [*task.models, task.proposer]
    names = [entry.partition(",")[0] if isinstance(entry, str) else entry.name for entry in entries]
    sound: list[str | Model] = []
    answers = cache(ask)
    for name, entry in zip(names, entries, strict=True):
        model, failed = attempt(f"model {name}", partial(_declared, entry))
        findings += failed if model is None else checked(f"model {name}", partial(_model, model, answers))
        sound += [] if model is None else [entry]
    findings += checked("disk for weights", partial(disk_for_weights, names))
    if len(sound) < len(entries):
        # The data can be checked without the models that failed.
        models = [entry for entry in task.models if entry in sound] or DEFAULT_MODELS
        task = replace(task, models=models, reference=None, proposer=None)
    return findings + checked("data", partial(_data, task, path))


def _declared(entry: str | Model) -> Model:
    from optimizers.models.resolve import parse_model

    return parse_model(entry) if isinstance(entry, str) else entry


def _model(model: Model, asked: Callable[[str, str], Answer]) -> Findings:
    """Whether a model can be reached, its price and its context."""
    free = model.price.input == model.price.output == 0
    said = f"${model.price.input:g} in, ${model.price.output:g} out per million tokens ({model.price.source})"
    fix = 'declare price=(INPUT, OUTPUT) or "by-size": at no price, all prompts cost the same' if free else ""
    yield Finding(f"price of {model.name}", "warning" if free else "ok", said, fix)
    if model.is_local:
        yield _weights(model)
        return
    variable, key = key_of(model)
    yield key
    yield from place_of(model)
    answer: Answer = ""
    if model.api_base is not None and model.name.partition("/")[0] in OPENAI_KIND:
        sent = variable if key.level == "ok" else ""
        for address in (model.api_base, *model.replicas):
            answer = asked(address, sent)
            yield server_of(model, address, answer, sent)
    yield context_of(model, answer)


def _weights(model: Model) -> Finding:
    """Whether a local model's weights are on this machine, or will be pulled."""
    from optimizers.models.catalogue import entry_of, pulled
    from optimizers.models.model import LOCAL_PREFIX

    check, known = f"weights of {model.name}", entry_of(model.name)
    if known is not None:
        there, size = pulled(model.name), mb(known.asset.bytes)
        said = f"{size}, pulled" if there else f"{size} are pulled at first use ({known.asset.licence})"
        return Finding(
            check, "ok", said, "" if there else f"to pull now: optimize models --pull {model.name}"
        )
    with Path(model.name.removeprefix(LOCAL_PREFIX)).expanduser().open("rb") as file:
        whole = file.read(4) == b"GGUF"
    fix = "" if whole else "download it again: it may be an error page or a Git LFS pointer"
    return Finding(check, "ok" if whole else "problem", "a GGUF file" if whole else "not a GGUF file", fix)


def _data(task: Task, path: Path) -> Findings:
    """The notes that a study makes on its data, and what else may spoil its result."""
    from optimizers.models.assets import cached
    from optimizers.records.json_values import json_value
    from optimizers.task.data.cards import read_card
    from optimizers.task.program_file import project_folder
    from optimizers.task.signature_fields import fields_of
    from optimizers.task.task import resolve

    source = str(task.data) if isinstance(task.data, str | Path) else ""
    fix = f"to pull and check it: optimize estimate {quote(str(path))}"
    if source.startswith("hf:"):
        yield Finding("data", "warning", f"{source} is not checked: doctor pulls nothing", fix)
        return
    if source.endswith(".toml") and not cached(asset := read_card(project_folder(path) / source).asset):
        yield Finding(
            "data", "ok", f"{asset.bytes / 1e6:.1f} MB are pulled at first use ({asset.licence})", fix
        )
        return
    data = resolve(task, base=project_folder(path), source=path).dataset
    rows = [*data.train, *data.dev, *data.test]
    yield Finding("rows", "ok", f"train {len(data.train)}, dev {len(data.dev)}, test {len(data.test)}")
    many = data.duplicates > MANY_DUPLICATES * (len(rows) + data.duplicates)
    said = f"{data.duplicates} dropped; near-duplicates: {data.near_duplicates} kept in one part together"
    said += f", {data.leaks_removed} dropped from an earlier part"
    yield Finding(
        "duplicates", "warning" if many else "ok", said, "find out where they come from" if many else ""
    )
    for field in fields_of(task.program, rows)[2]:
        counts = Counter(str(json_value(row[field])) for row in rows).most_common()
        lopsided = counts[0][1] >= LOPSIDED * len(rows)
        said = ", ".join(f"{label} {count / len(rows):.0%}" for label, count in counts[:10])
        fix = f"add other rows: always saying {counts[0][0]} scores high" if lopsided else ""
        yield Finding(f"balance of {field}", "warning" if lopsided else "ok", said, fix)
    for note in data.notes:
        fix = next(
            (fix for part, fix in NOTE_FIXES.items() if part in note),
            "keep it in mind when you read the result",
        )
        yield Finding("data", "warning", note, fix)
