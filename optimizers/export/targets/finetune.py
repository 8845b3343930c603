"""Export to fine-tuning files: the candidate's prompts for the train examples, with correct replies.

A row is one call of one predictor under the candidate's instruction and rendering, without demos: a
tuned model has learnt what they show. Replies are the data's labels. Where the data does not label all
that a predictor writes (reasoning, a step inside a pipeline), replies are what models wrote in runs on
train that the metric passed. This is rejection sampling, as in STaR (Zelikman et al., NeurIPS 2022) and
RFT (Yuan et al. 2023, arXiv 2308.01825). The files hold nothing of dev or test.

Renderings of chat messages give ``{"messages": [...]}``: a system message if there is one, then one user
and one assistant turn. These take that format:

- OpenAI: at least 10 rows (supervised fine-tuning guide); no unknown key or role, no empty content,
  an assistant turn (cookbook, ``Chat_finetuning_data_prep``).
- Mistral: one system message at most, the last turn the assistant's and not empty
  (``mistral_common/protocol/instruct/validator.py``, mode ``finetuning``; chat templates of its
  models want user and assistant to alternate).
- TRL's conversational language modelling (``docs/source/dataset_formats``).

OpenAI and Mistral take a ``weight`` of 0 or 1 on assistant turns, to leave some of several out. A row has
one such turn, so no weight is written.

Text to continue gives ``{"prompt": ..., "completion": ...}``, TRL's standard prompt-completion and
OpenAI's older format: exactly two keys, nothing empty, the completion begins with a space
(``openai/lib/_validators.py``). TRL adds the end of text itself.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dspy

from optimizers.errors import ExportError
from optimizers.export.files import write_files
from optimizers.export.finetune_card import BYTES_PER_TOKEN, FileCard, FinetuneCard, PredictorCard, readme
from optimizers.export.finetune_rows import GOLD, JUDGED, PARTIAL, RIGHT, UNLABELLED, Author, Row, Run
from optimizers.prompting.compile import PromptedPredict, adapter_of
from optimizers.prompting.proposals.bootstrap import steps_by
from optimizers.records.read_only import reading
from optimizers.task.data.cards import read_card
from optimizers.task.data.near_duplicates import alike_across, group_leaders, token_sets
from optimizers.task.data.split import SplitRow, row_of
from optimizers.task.program_file import project_folder
from optimizers.task.task import declared_task

if TYPE_CHECKING:
    from optimizers.export.point import Exported
    from optimizers.records.rows import ExampleRow
    from optimizers.task.task import LoadedTask

FEWEST = 10
"""Least rows to train on (OpenAI refuses fewer), and to validate on."""

VALIDATION_SHARE = 0.1

SPLITS_LINES = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
"""Characters that some line readers, but not JSON, take for line ends."""

FAILED = "a teacher's run that the metric did not pass"
OTHER_METRIC = "a teacher's run scored by a metric that has changed since"
ELSEWHERE = "a teacher's run on an example that is not in train, or is kept back"
REPEATED = "a repeat of another row"
MEASURED = "a row with the prompt of a dev or test example"
VALIDATED = "a row with the prompt of a validation row"


@dataclass(frozen=True)
class _Pool:
    """The train examples that may be learnt from.

    Attributes:
        examples: The examples by id.
        units: Example id -> its group, or the text that leads its near-duplicates.
        sealed: Examples of dev and test, of now and of when the study ran.
    """

    examples: Mapping[str, dspy.Example]
    units: Mapping[str, str]
    sealed: Sequence[dspy.Example]


def write_finetune(exported: Exported, folder: Path) -> list[Path]:
    """Write ``train.jsonl`` and ``validation.jsonl``, and a card of both as ``card.json`` and ``README.md``.

    A program of several predictors gets ``PREDICTOR.train.jsonl`` and ``PREDICTOR.validation.jsonl``
    for each. Validation is the tenth of the rows with the lowest content hashes, at least ten rows.

    Raises:
        ExportError: A text holds NUL or half a character, or a predictor has fewer than ten rows
            to train on in addition to those of validation. Nothing is written.
    """
    recorded, runs = _recorded(exported)
    pool = _pool(exported, recorded)
    predictors = list(exported.compiled.module.named_predictors())
    files: dict[str, str | bytes] = {}
    cards = []
    for name, predictor in predictors:
        prefix = "" if len(predictors) == 1 else exported.file(name) + "."
        found, written = _predictor_files(exported, name, predictor, pool, runs, prefix)
        cards.append(found)
        files |= written
    card = _card(exported, pool, cards)
    files["card.json"] = card.model_dump_json(indent=2) + "\n"
    files["README.md"] = readme(card)
    return write_files(folder, files)


def _recorded(exported: Exported) -> tuple[list[ExampleRow], list[Run]]:
    """The examples that the study measured on, and its runs on train, those of the reference model first."""
    folder = exported.folder
    if folder is None or not folder.ledger.is_file():
        return [], []
    with reading(folder.ledger) as ledger:
        candidates, rollouts = ledger.candidates(), ledger.rollouts(split="train")
        sealed = list(ledger.examples().values())

    def order(run: Run) -> tuple[Any, ...]:
        other = run.teacher.model != exported.manifest.reference
        return other, run.teacher.id, run.rollout.example, run.rollout.number

    return sealed, sorted((Run(candidates[row.candidate], row) for row in rollouts), key=order)


def _pool(exported: Exported, recorded: Sequence[ExampleRow]) -> _Pool:
    """The train examples that are not in dev or test, nor nearly, now or when the study ran."""
    dataset = exported.task.dataset
    known = [dspy.Example({**row.inputs, **row.gold}).with_inputs(*row.inputs) for row in recorded]
    sealed = [*dataset.dev, *dataset.test, *known]
    measured, train = [_split_row(example) for example in sealed], [_split_row(e) for e in dataset.train]
    keys = list(dict.fromkeys(row.key for row in measured))
    telling = token_sets({*keys, *(row.key for row in train)})
    leaking = alike_across(telling, (row.key for row in train), keys)
    identities = {row.id for row in measured} | {row.id for row in recorded}
    kept = [row for row in train if row.id not in identities and row.key not in leaking]
    leaders = group_leaders(telling)
    return _Pool(
        examples={row.id: row.example for row in kept},
        units={row.id: dataset.groups.get(row.id, leaders[row.key]) for row in kept},
        sealed=sealed,
    )


def _split_row(example: dspy.Example) -> SplitRow:
    return row_of(example, tuple(example.inputs().keys()), (), {}, None)


def _predictor_files(
    exported: Exported, name: str, predictor: dspy.Predict, pool: _Pool, runs: Sequence[Run], prefix: str
) -> tuple[PredictorCard, dict[str, bytes]]:
    adapter: Any = adapter_of(predictor, exported.compiled.adapter())
    author = Author(exported.task, name, predictor.signature, adapter)
    scored_alike = exported.task.metric_hash == exported.manifest.metric_hash
    rows, dropped = _rows(author, pool, runs, scored_alike=scored_alike)
    train, validation = _parted(rows)
    dropped.update({VALIDATED: len(rows) - len(train) - len(validation)})
    if min(len(train), len(validation)) < FEWEST:
        raise _too_few(name, len(rows), +dropped)
    prompt = author.prompt(dict.fromkeys(predictor.signature.input_fields, ""))
    files = {
        f"{prefix}{part}.jsonl": _lines(found, raw=prompt.raw)
        for part, found in (("train", train), ("validation", validation))
    }
    prompted = exported.point.candidate.predictors[name]
    (first, trained), (second, watched) = files.items()
    card = PredictorCard(
        predictor=name,
        format="prompt-completion" if prompt.raw else "messages",
        rendering=adapter.name,
        instruction=predictor.signature.instructions.strip(),
        demos_dropped=prompted.nearest.count if prompted.nearest is not None else len(prompted.demos),
        stop=prompt.stop,
        note=_note(predictor),
        train=_file_card(first, trained, train),
        validation=_file_card(second, watched, validation),
        sources=_counted(row.source for row in (*train, *validation)),
        dropped=dict(sorted((+dropped).items())),
    )
    return card, files


def _rows(
    author: Author, pool: _Pool, runs: Sequence[Run], *, scored_alike: bool
) -> tuple[list[Row], Counter[str]]:
    """A predictor's rows without repeats, and what was dropped: labels that pass, else teachers' replies."""
    tried: list[Row | str] = []
    labelled = set()
    for identity, example in sorted(pool.examples.items()):
        found = author.gold(identity, pool.units[identity], example)
        tried.append(found)
        if isinstance(found, Row):
            labelled.add(identity)
    for run in runs:
        identity, score = run.rollout.example, run.rollout.score
        if identity in labelled or not steps_by(run.rollout, author.name):
            continue
        if identity not in pool.examples:
            tried.append(ELSEWHERE)
        elif not scored_alike:
            tried.append(OTHER_METRIC)
        elif score is None or score < RIGHT:
            tried.append(FAILED)
        else:
            tried += author.taught(pool.units[identity], run)
    # At a later step, different examples may have the same prompt.
    measured = {author.turns_for(example) for example in pool.sealed}
    rows: dict[tuple[Any, str], Row] = {}
    dropped: Counter[str] = Counter()
    for one in tried:
        if isinstance(one, str):
            dropped[one] += 1
        elif one.prompt in measured:
            dropped[MEASURED] += 1
        elif rows.setdefault((one.prompt, one.reply), one) is not one:
            dropped[REPEATED] += 1
    return list(rows.values()), dropped


def _parted(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Train and validation rows, which share no prompt, near-duplicate or group."""
    units: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        units[row.unit].append(row)
    wanted = max(FEWEST, math.ceil(len(rows) * VALIDATION_SHARE))
    train: list[Row] = []
    validation: list[Row] = []
    for _, same in sorted(units.items(), key=lambda item: _sha256(item[0].encode("utf-8", "surrogatepass"))):
        full = len(validation) >= wanted or len(validation) + len(same) > len(rows) - FEWEST
        (train if full else validation).extend(same)
    watched = {row.prompt for row in validation}
    return [row for row in train if row.prompt not in watched], validation


def _lines(rows: Sequence[Row], *, raw: bool) -> bytes:
    """Rows as JSON lines, ordered by hash so that labels are mixed."""
    lines = []
    for row in rows:
        turns = [{"role": role, "content": text} for role, text in (*row.prompt, ("assistant", row.reply))]
        content = {"prompt": row.prompt[0][1], "completion": row.reply} if raw else {"messages": turns}
        line = json.dumps(content, ensure_ascii=False).translate(SPLITS_LINES)
        roles = [turn["role"] for turn in turns if turn["role"] != "system"]
        if json.loads(line) != content or line.splitlines() != [line] or roles != ["user", "assistant"]:
            raise ExportError("A row cannot be written as one exchange.", where=line[:200])
        lines.append(line)
    return "".join(f"{line}\n" for line in sorted(lines, key=lambda line: _sha256(line.encode()))).encode()


def _too_few(name: str, count: int, dropped: Mapping[str, int]) -> ExportError:
    needs_runs = UNLABELLED in dropped or JUDGED in dropped
    fix = "give the study a larger budget, which records more runs on train, or " if needs_runs else ""
    fix += "add labelled rows to train"
    if PARTIAL in dropped or (UNLABELLED in dropped and not count):
        fix += ", or export a point whose technique writes only what the data labels"
    reasons = "; ".join(f"{why}: {number}" for why, number in sorted(dropped.items()))
    return ExportError(
        f"There are {count} rows to learn from. Training takes {FEWEST}, and validation {FEWEST} that are "
        "not alike.",
        where=f"{name}; dropped: {reasons}" if reasons else name,
        fix=fix,
    )


def _note(predictor: dspy.Predict) -> str:
    """How a row differs from what was measured, demos aside."""
    if not isinstance(predictor, PromptedPredict) or predictor.technique.run is None:
        return ""
    calls = predictor.technique.calls(predictor.signature)
    return (
        f"measured with {predictor.technique.name}, up to {calls} calls per answer; a row is one plain call"
    )


def _card(exported: Exported, pool: _Pool, cards: Sequence[PredictorCard]) -> FinetuneCard:
    licence, train = _data_licence(exported.task), len(exported.task.dataset.train)
    teachers = sorted({source for card in cards for source in card.sources} - {GOLD})
    cautions = [
        f"Some rows hold replies of {name.removeprefix('teacher ')}: check that its terms allow training "
        "on them."
        for name in teachers
    ]
    if licence is None:
        cautions.append("The licence of the data is not known here: check that it allows training.")
    return FinetuneCard(
        study=exported.manifest.name,
        task=exported.manifest.task,
        candidate=exported.point.candidate.id,
        metric=exported.task.metric_name,
        train_examples=train,
        kept_back=train - len(pool.examples),
        predictors=tuple(cards),
        tokens=sum(part.tokens for card in cards for part in (card.train, card.validation)),
        data_licence=licence,
        cautions=tuple(cautions),
    )


def _data_licence(task: LoadedTask) -> str | None:
    """The licence and notice in the data card, where the program file names one."""
    path = Path(task.path)
    data = declared_task(path).data if path.is_file() else None
    if not isinstance(data, (str, Path)) or Path(data).suffix.lower() != ".toml":
        return None
    card = read_card(project_folder(path) / Path(data).expanduser())
    return f"{card.licence}. {card.notice}".strip()


def _file_card(name: str, content: bytes, rows: Sequence[Row]) -> FileCard:
    texts = "".join(text for row in rows for text in (*(text for _, text in row.prompt), row.reply))
    return FileCard(
        name=name,
        rows=len(rows),
        labels=_counted(row.label for row in rows if row.label),
        tokens=math.ceil(len(texts.encode()) / BYTES_PER_TOKEN),
        sha256=_sha256(content),
    )


def _counted(found: Iterator[str]) -> dict[str, int]:
    return dict(sorted(Counter(found).items()))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
