"""Stand-ins for the classes of Inspect that an exported task uses, to see what it does without Inspect."""

from __future__ import annotations

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
"""Python that takes a task's text as ``source`` and has functions about what it would do."""
