"""What decides how a program or a metric handed over in code behaves, as one hash.

Code of an importable module is hashed with its whole file, since what it calls there
counts too. A script or a notebook cell also holds the call that starts the study, which may
change; there only the code that is used counts.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from optimizers.errors import DataError
from optimizers.records.fingerprint import Fingerprint
from optimizers.records.json_values import json_value

if TYPE_CHECKING:
    import dspy

    from optimizers.task.task import LoadedTask

PASSING = frozenset({"history", "callbacks", "_compiled"})
"""Attributes of a module that say nothing about what it does."""


def metric_hash(metric: Callable[..., Any]) -> str:
    """16 hex digits of a metric: its code, and the values it holds on to."""
    return _digest(_of(metric, set()))


def program_hash(program: dspy.Module) -> str:
    """16 hex digits of a program: its modules' code and settings, signatures and demos.

    Language models are left out: a study brings its own.
    """
    return _digest(_of_program(program))


def task_fingerprint(task: LoadedTask, seed: int, objectives: Sequence[str]) -> Fingerprint:
    """The fingerprint of a loaded task, as a study with this seed and these objectives searches it."""
    return Fingerprint(
        task=task.name,
        program=task.program_hash,
        data=task.dataset.fingerprint,
        metric=task.metric_name,
        metric_source=task.metric_hash,
        reference=task.reference.name,
        margin=task.margin,
        min_coverage=task.min_coverage,
        proposer=task.proposer.name if task.proposer else None,
        seed=seed,
        objectives=tuple(objectives),
        models=task.models,
    )


def source_file(kind: type) -> Path | None:
    """The file a class is written in; None where there is none, as in a notebook."""
    try:
        found = inspect.getsourcefile(kind)
    except (TypeError, OSError):
        return None
    return Path(found) if found and Path(found).is_file() else None


def _digest(parts: Iterator[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _of_program(program: dspy.Module) -> Iterator[str]:
    import dspy

    seen: set[int] = set()
    for name, module in program.named_sub_modules():
        yield f"{name} {type(module).__qualname__}"
        if isinstance(module, dspy.Predict):
            state = module.dump_state() | {"lm": None, "config": module.config}
            yield json.dumps(state, sort_keys=True, default=str)
            for field, info in module.signature.fields.items():
                yield f"{field} {_annotation(info.annotation)}"
        elif not _is_dspy(type(module)):
            yield from _of(type(module), seen)
            yield from _held({key: value for key, value in vars(module).items() if key not in PASSING}, seen)


def _annotation(annotation: Any) -> str:
    """A field's type, with the labels of an enum and the fields of a model."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return json.dumps(TypeAdapter(annotation).json_schema(), sort_keys=True, default=str)
    except PydanticUserError:
        return str(annotation)


def _of(thing: Any, seen: set[int]) -> Iterator[str]:
    """The code behind a function, class or callable object, as text equal in every process."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, functools.partial):
        yield from _of(thing.func, seen)
        yield from _held({"args": thing.args, **thing.keywords}, seen)
    elif inspect.ismethod(thing):
        yield from _of(thing.__func__, seen)
        yield from _of(thing.__self__, seen)
    elif isinstance(thing, FunctionType):
        yield from _of_function(thing, seen)
    elif isinstance(thing, type):
        for base in thing.__mro__:
            if base is not object and not _is_dspy(base):
                yield from _of_class(base, seen)
    elif not inspect.isbuiltin(thing):
        yield from _of(type(thing), seen)
        yield from _held(getattr(thing, "__dict__", {}), seen)


def _of_function(function: FunctionType, seen: set[int]) -> Iterator[str]:
    function = inspect.unwrap(function)
    text = _file_text(function)
    if text is not None:
        yield f"{function.__qualname__} {text}"
    else:
        yield from _of_code(function.__code__)
        names = set(_names(function.__code__))
        yield from _held({name: function.__globals__.get(name) for name in sorted(names)}, seen)
        yield from _held({"defaults": function.__defaults__, **(function.__kwdefaults__ or {})}, seen)
    yield from _held(inspect.getclosurevars(function).nonlocals, seen)


def _of_class(kind: type, seen: set[int]) -> Iterator[str]:
    text = _file_text(kind)
    if text is not None:
        yield f"{kind.__qualname__} {text}"
        return
    yield kind.__qualname__
    held = {}
    for name, value in vars(kind).items():
        value = getattr(value, "__func__", getattr(value, "fget", value))
        # Of what Python itself puts into a class, only what runs counts.
        if name[:2] != "__" or isinstance(value, FunctionType):
            held[name] = value
    yield from _held(held, seen)


def _held(values: Mapping[str, Any], seen: set[int]) -> Iterator[str]:
    """Named values: plain ones as JSON, code as code; other objects by their class."""
    for name, value in values.items():
        plain = _plain(value)
        if plain is not None:
            yield f"{name}={plain}"
        elif isinstance(value, (FunctionType, functools.partial)) or inspect.ismethod(value):
            yield from _of(value, seen)
        elif isinstance(value, type):
            if value.__module__ == "__main__":
                yield from _of(value, seen)
        else:
            yield f"{name}:{type(value).__qualname__}"


def _of_code(code: CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {' '.join(code.co_names)}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _of_code(constant)
        elif isinstance(constant, frozenset):
            yield str(sorted(map(repr, constant)))  # sets of text are in another order in every process
        else:
            yield repr(constant)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _file_text(thing: type | FunctionType) -> str | None:
    """Text of the module a class or function is from; None for ``__main__`` and where there is no file."""
    module = inspect.getmodule(thing)
    if module is None or module.__name__ == "__main__":
        return None
    file = getattr(module, "__file__", None)
    if file is None or not file.endswith(".py") or not Path(file).is_file():
        return None
    return Path(file).read_text(encoding="utf-8", errors="replace")


def _plain(value: Any) -> str | None:
    try:
        return json.dumps(json_value(value), sort_keys=True)
    except (DataError, TypeError, ValueError, RecursionError):
        return None


def _is_dspy(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "dspy"
