"""A program file for a table of labelled rows: ``optimize init --csv FILE --label COLUMN``."""

from __future__ import annotations

import difflib
import json
import keyword
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from optimizers.cli.init import PROJECT, PYPROJECT, write_new
from optimizers.errors import DataError

if TYPE_CHECKING:
    from optimizers.task.data.load import Rows

MOST_LABELS, LEAST_EACH, LONGEST_LABEL = 20, 3, 80
"""Answers are labels where there are at most so many, each on as many rows on average, of so many characters
at most; otherwise they are text or numbers."""

PREDICT_TAKES = frozenset({"signature", "demos", "config", "lm", "prediction", "self"})
"""Keywords that ``dspy.Predict`` takes itself."""

PROGRAM = '''\
"""Predict the {what} from the {inputs}."""

{typing}import dspy

from optimizers import Task


class {kind}(dspy.Signature):
    """Decide the {what} from the {inputs}."""

{fields}


def exact_match(example, prediction, trace=None):
    """1.0 where the answer is the row's, else 0.0."""
    return float(example[{label}] == prediction[{label}])


task = Task(
    program=dspy.Predict({kind}),
    metric=exact_match,
    data={data},
    models=["local/smollm2-135m-instruct", "local/gemma-3-270m"],
    reference="local/gemma-3-270m",
)
'''


def write_program(source: str, label: str | None, folder: Path) -> list[Path]:
    """Write a program that predicts one column of a table from the others, once it is known to load.

    Where a column's name cannot name a field in Python, a copy of the rows with other names is written
    next to the program.

    Args:
        source: Path of the data, or ``hf://owner/name``.
        label: The column to predict.
        folder: Folder of the program; made when missing.

    Returns:
        The files written, the program first.

    Raises:
        DataError: The data cannot be read, lacks the column, has one label only, or too few rows.
        UserError: A file would be overwritten, or cannot be written.
    """
    from optimizers.task.data.load import load_rows
    from optimizers.task.program_file import project_folder
    from optimizers.task.task import declared_task, resolve

    rows = load_rows(source, base=Path.cwd())
    label = _label_column(rows, label, source)
    names = _field_names(rows.rows, label)
    stem = _identifier(Path(source.removeprefix("hf://")).stem).lower()
    program, copy = folder / f"{stem}.py", folder / f"{stem}.jsonl"
    project = project_folder(program)
    data, files = _within(project, source), dict[Path, bytes]()
    if any(name != column for column, name in names.items()):
        data = _within(project, str(copy))
        files[copy] = _renamed(rows.rows, names)
    text = _program(rows.rows, names, label, data)
    with TemporaryDirectory() as apart:
        trial = Path(apart) / program.name
        trial.write_text(text, encoding="utf-8")
        for content in files.values():
            (Path(apart) / data).parent.mkdir(parents=True, exist_ok=True)
            (Path(apart) / data).write_bytes(content)
        # What a study would refuse is refused here, before anything is written.
        resolve(declared_task(trial), base=Path(apart) if files else project, source=program)
    if not (project / PYPROJECT).is_file():
        files[folder / PYPROJECT] = PROJECT
    return write_new(folder, {program: text.encode(), **files})


def _label_column(rows: Rows, label: str | None, source: str) -> str:
    """The column that holds the answers, once it is known to exist and to hold several answers."""
    columns = list(dict.fromkeys(column for row in rows.rows for column in row))
    if label is None or label not in columns:
        close = difflib.get_close_matches(label or "", columns, n=1)
        raise DataError(
            f"The data has no column {label!r}."
            if label
            else "The column that holds the answers is not named.",
            where=source,
            fix=f"--label {shlex.quote(close[0])}" if close else f"--label with one of {', '.join(columns)}",
        )
    if len(columns) < 2:
        raise DataError("The data has one column only.", where=source, fix="add a column with the input")
    known = _values(rows.rows, label)
    if len({_spelt(value) for value in known}) < 2:
        found = f"{known[0]!r} in every row" if known else "no answer in any row"
        raise DataError(
            f"The column {label!r} has {found}, so there is nothing to predict.",
            where=source,
            fix="name another column with --label, or add rows with other answers",
        )
    if any(isinstance(value, dict) for value in known):
        raise DataError(
            f"The column {label!r} holds objects.",
            where=source,
            fix="declare the output as a pydantic model in a program file: optimize help task",
        )
    return label


def _program(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str], label: str, data: str) -> str:
    """The program's text.

    Args:
        rows: Column -> value, row by row.
        names: Column -> name of its field.
        label: The column to predict.
        data: Where the task finds the rows.
    """
    fields = []
    for column, name in sorted(names.items(), key=lambda pair: pair[0] == label):
        kind = _answer_type(rows, column) if column == label else _type(_values(rows, column))
        direction = "OutputField" if column == label else "InputField"
        desc = "" if name == column else f"desc={_quoted(column)}"
        fields.append(f"    {name}: {kind} = dspy.{direction}({desc})")
    inputs = [name.replace("_", " ").strip() for column, name in names.items() if column != label]
    answer = names[label]
    return PROGRAM.format(
        typing="from typing import Literal\n\n" if "Literal[" in fields[-1] else "",
        kind="Predict" + "".join(word[:1].upper() + word[1:] for word in answer.split("_")),
        what=answer.replace("_", " ").strip(),
        inputs=" and ".join(filter(None, [", ".join(inputs[:-1]), inputs[-1]])),
        fields="\n".join(fields),
        label=_quoted(answer),
        data=_quoted(data),
    )


def _answer_type(rows: Sequence[Mapping[str, Any]], label: str) -> str:
    """The type of the answers: ``Literal`` where few of them repeat."""
    values = _values(rows, label)
    kind = _type(values)
    if kind == "float" and all(value == int(value) for value in values):
        kind, values = "int", [int(value) for value in values]
    counts = Counter(values) if kind in ("int", "str") else Counter()
    # Letter case and white space make no other label: the most common spelling names it.
    spelt = {_spelt(value): value for value, _ in reversed(counts.most_common())}
    long = any(len(str(value)) > LONGEST_LABEL or "\n" in str(value) for value in spelt.values())
    if not spelt or long or len(spelt) > MOST_LABELS or len(values) < LEAST_EACH * len(spelt):
        return kind
    labels = (value.strip() if isinstance(value, str) else value for value in spelt.values())
    return f"Literal[{', '.join(map(_quoted, sorted(labels)))}]"


def _quoted(value: str | int) -> str:
    """A value as Python writes it, texts in double quotes."""
    return json.dumps(value, ensure_ascii=False)


def _type(values: Sequence[Any]) -> str:
    """The type of a column's values, as a program declares it."""
    for kind, name in ((bool, "bool"), (int, "int"), ((int, float), "float"), (dict, "dict"), (list, "list")):
        if values and all(isinstance(value, kind) for value in values):
            texts = name == "list" and all(isinstance(item, str) for value in values for item in value)
            return "list[str]" if texts else name
    return "str"


def _values(rows: Sequence[Mapping[str, Any]], column: str) -> list[Any]:
    """A column's values, blank ones left out."""
    known = (row.get(column) for row in rows)
    return [value for value in known if value is not None and (not isinstance(value, str) or value.strip())]


def _spelt(value: Any) -> str:
    from optimizers.task.data.validate import spelling

    return spelling(value).casefold()


def _field_names(rows: Sequence[Mapping[str, Any]], label: str) -> dict[str, str]:
    """Column -> a name that a field of a signature may have; columns without any value are left out."""
    import dspy

    found: dict[str, str] = {}
    for column in dict.fromkeys(column for row in rows for column in row):
        if column != label and not _values(rows, column):
            continue
        name = column if column.isidentifier() and not column.startswith("_") else _identifier(column)
        # What a signature or a call of a predictor has already cannot be a field.
        if keyword.iskeyword(name) or hasattr(dspy.Signature, name) or name in PREDICT_TAKES:
            name += "_"
        while name in found.values():
            name += "_"
        found[column] = name
    return found


def _identifier(text: str) -> str:
    """A text as a name in Python."""
    name = re.sub(r"\W+", "_", text).strip("_") or "column"
    return f"column_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name


def _renamed(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> bytes:
    """The rows as JSONL, their columns named as the program's fields are."""
    lines = (
        json.dumps({name: row.get(column) for column, name in names.items()}, ensure_ascii=False, default=str)
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _within(project: Path, source: str) -> str:
    """A path as a program of the project names it."""
    if source.startswith("hf://"):
        return source
    path = Path(source).expanduser().resolve()
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)
