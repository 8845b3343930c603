"""Export to Inspect: the measured prompt as a task file over dev examples, for ``inspect eval``.

Formats: inspect.aisi.org.uk/tasks, .../datasets and .../scorers; the rest as in inspect_ai 0.3.285. The
file is the module of the ``python`` export with a task at its end, and needs nothing of Parity: the
module's functions make the messages and read the replies. Parameters that ``GenerateConfig`` has no name
for are sent in ``extra_body``.

Samples are dev examples, never of the sealed test set. A reply is correct if every output that the data
labels is as labelled, letter case and white space aside. That is the task's metric where the metric is an
``exact_match`` of these outputs; otherwise it is a stand-in for the metric.

The task is run on stand-ins for Inspect's classes before it is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dspy.adapters.utils import serialize_for_json

from optimizers.errors import ExportError
from optimizers.export.files import write_files
from optimizers.export.module_check import compare, measured_reading, verify
from optimizers.export.replies import replies_to_read
from optimizers.export.single_request import ELSEWHERE, check_protocol, only_request
from optimizers.export.targets.python_module import Step, literal, module_name, module_source, steps_of
from optimizers.prompting.renderings.fields import one_line
from optimizers.task.data.split import example_id

if TYPE_CHECKING:
    from optimizers.export.point import Exported

MOST_SAMPLES, MOST_SCORED = 50, 40

TASK = '''
# The task: the samples, sent as measured and scored by the labels.

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import CORRECT, INCORRECT, Score, accuracy, scorer, stderr
from inspect_ai.solver import generate

SAMPLES: list[dict[str, Any]] = {samples}

SCORED = {scored}

CHAT = {{"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}}

NAMED = {{
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "stop": "stop_seqs",
}}


def chat(inputs: Mapping[str, Any]) -> list[Any]:
    """The messages of `render`, as Inspect has them."""
    return [CHAT[message["role"]](content=message["content"]) for message in render(inputs)]


def config() -> GenerateConfig:
    """PARAMETERS, those that Inspect has no name for as they are."""
    extra = {{name: value for name, value in PARAMETERS.items() if name != "model" and name not in NAMED}}
    named = {{NAMED[name]: value for name, value in PARAMETERS.items() if name in NAMED}}
    return GenerateConfig(**named, extra_body=extra or None)


{same}

@scorer(metrics=[accuracy(), stderr()])
def as_the_data_says() -> Any:
    """Correct where every output of SCORED is as labelled."""

    async def score(state: Any, target: Any) -> Score:
        labels = json.loads(target.text)
        try:
            read = parse(state.output.completion)
        except ValueError as error:
            return Score(value=INCORRECT, explanation=str(error))
        right = all(same(read[name]) == same(labels[name]) for name in SCORED if name in labels)
        answer = json.dumps(read, ensure_ascii=False)
        return Score(value=CORRECT if right else INCORRECT, answer=answer)

    return score


@task
def {name}() -> Task:
    """Dev examples as a task."""
    samples = [
        Sample(id=one["id"], input=chat(one["inputs"]), target=json.dumps(one["labels"], ensure_ascii=False))
        for one in SAMPLES
    ]
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=as_the_data_says(), config=config())
'''

STAND_IN = """
import asyncio
import sys
import types


class Held:
    def __init__(self, *given, **named):
        self.given, self.named = given, named


def through(*given, **named):
    return given[0] if given and callable(given[0]) else through


def of(role):
    return lambda content: {{"role": role, "content": content}}


MODULES = {{
    "inspect_ai": {{"Task": Held, "task": through}},
    "inspect_ai.dataset": {{"MemoryDataset": list, "Sample": Held}},
    "inspect_ai.model": {{
        "ChatMessageAssistant": of("assistant"),
        "ChatMessageSystem": of("system"),
        "ChatMessageUser": of("user"),
        "GenerateConfig": Held,
    }},
    "inspect_ai.scorer": {{
        "CORRECT": "C", "INCORRECT": "I", "Score": Held, "accuracy": Held, "scorer": through, "stderr": Held,
    }},
    "inspect_ai.solver": {{"generate": Held}},
}}
for name, held in MODULES.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(held)

exported = {{"__name__": "exported"}}
exec(compile({source}, "exported", "exec"), exported)
TASKS = [value for name, value in exported.items() if name.endswith("_dev") and callable(value)]
TASK = TASKS[0]().named


def sent(number):
    return TASK["dataset"][number].named["input"]


def parameters(nothing):
    config = dict(TASK["config"].named)
    extra, stop = config.pop("extra_body") or {{}}, config.pop("stop_seqs", None)
    known = {{**config, **extra, **({{}} if stop is None else {{"stop": stop}})}}
    return {{name: known[name] for name in exported["PARAMETERS"] if name in known}}


def scored(given):
    number, reply = given
    state = types.SimpleNamespace(output=types.SimpleNamespace(completion=reply))
    target = types.SimpleNamespace(text=TASK["dataset"][number].named["target"])
    return asyncio.run(TASK["scorer"](state, target)).named["value"] == "C"
"""
"""Runs a task on stand-ins for Inspect's classes; its functions tell what the task would do."""


def write_inspect(exported: Exported, folder: Path) -> list[Path]:
    """Write ``TASK_eval.py``.

    Raises:
        ExportError: The program has several predictors, or makes several calls, or continues text; no dev
            example has a label; or Inspect would send or score otherwise than described
            above. Nothing is written.
    """
    step: Step = only_request(steps_of(exported), "An Inspect task has one prompt")
    if step.raw:
        raise ExportError("Inspect has no text to continue.", where=step.name, fix=ELSEWHERE)
    check_protocol(step.model, "Inspect")
    samples, name = _samples(exported, step), module_name(exported.manifest.task)
    labelled = [output for output in step.signature.output_fields if output in samples[0]["labels"]]
    scored = _compared(exported, labelled)
    about = _how_to(exported, step, f"{name}_eval.py", scored)
    module = module_source(exported, [step], more=about, uses=["json"])
    verify(exported, [step], module)
    source = module + TASK.format(
        samples=literal(samples), scored=literal(scored), same=inspect.getsource(same), name=f"{name}_dev"
    )
    _verify_task(exported, step, source, samples, scored)
    return write_files(folder, {f"{name}_eval.py": source})


def same(value: Any) -> Any:
    """A value in the form it is compared in: letter case and white space do not count."""
    if isinstance(value, dict):
        return {key: same(held) for key, held in value.items()}
    if isinstance(value, list):
        return [same(held) for held in value]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else " ".join(str(value).split()).casefold()


def _samples(exported: Exported, step: Step) -> list[dict[str, Any]]:
    """Dev examples, those whose content hashes lowest, with their labels."""
    fields, outputs = list(step.signature.input_fields), list(step.signature.output_fields)
    samples = [
        {
            "id": example_id(example),
            "inputs": {name: serialize_for_json(example[name]) for name in fields},
            "labels": {name: serialize_for_json(example[name]) for name in outputs if name in example},
        }
        for example in sorted(exported.task.dataset.dev, key=example_id)
        if all(name in example for name in fields) and any(name in example for name in outputs)
    ]
    if not samples:
        raise ExportError("No dev example has all inputs of the prompt and a label.", where=step.name)
    return samples[:MOST_SAMPLES]


def _compared(exported: Exported, labelled: list[str]) -> list[str]:
    """The outputs that count: those of the metric where it is an exact match, else all that are labelled."""
    kind, _, fields = exported.task.metric_name.removesuffix(")").partition("(")
    named = [field.strip() for field in fields.split(",")]
    return named if kind == "exact_match" and set(named) <= set(labelled) else labelled


def _how_to(exported: Exported, step: Step, file: str, scored: list[str]) -> list[str]:
    model, name = step.model, one_line(step.parameters["model"])
    if model.is_local or model.api_base:
        address = model.api_base or "http://127.0.0.1:8080/v1"
        served = f"--model openai-api/parity/{name} --model-base-url {one_line(address)}"
        how = f"PARITY_API_KEY=none inspect eval {file} {served}"
    else:
        how = f"inspect eval {file} --model openai/{name} -M responses_api=false"
    metric = one_line(exported.task.metric_name)
    exact = metric == f"exact_match({', '.join(scored)})"
    metric = "the metric of the study" if exact else f"a stand-in for {metric}"
    return [
        "",
        "It is also a task of Inspect over dev examples, on which the prompt was chosen:",
        "",
        f"    {how}",
        "",
        f"Correct is a reply with {', '.join(scored)} as labelled: {metric}.",
    ]


def _verify_task(
    exported: Exported, step: Step, source: str, samples: list[dict[str, Any]], scored: list[str]
) -> None:
    """Load the task on stand-ins for Inspect, and compare what it would send and how it scores."""
    examples = {example_id(example): example for example in exported.task.dataset.dev}
    parameters = {name: value for name, value in step.parameters.items() if name != "model"}
    questions: list[tuple[str, Any, Any]] = [("parameters", None, parameters)]
    for number, sample in enumerate(samples):
        example = examples[sample["id"]]
        messages = step.measured({name: example[name] for name in step.signature.input_fields})
        questions.append(("sent", number, messages))
    replies = replies_to_read(exported, step, step.constants["OUTPUTS"])[:MOST_SCORED]
    for number, reply in enumerate(replies):
        at = number % len(samples)
        questions.append(("scored", [at, reply], _right(step, reply, samples[at]["labels"], scored)))
    compare("task", STAND_IN.format(source=repr(source)), questions, fix=ELSEWHERE)


def _right(step: Step, reply: str, labels: Mapping[str, Any], scored: list[str]) -> bool:
    """Whether a reply is right, as the compiled program reads it."""
    read = measured_reading(step, reply)
    return read is not None and all(
        same(read[name]) == same(labels[name]) for name in scored if name in labels
    )
