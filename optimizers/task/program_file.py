"""Program files: where they are, and running one without letting it disturb what runs it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from optimizers.errors import TaskError, UserError

IN_CODE = "::"
"""Stands between file and class in the path of a program that no program file declares."""


NO_REPORTS = {"RAGAS_DO_NOT_TRACK": "true", "DEEPEVAL_TELEMETRY_OPT_OUT": "1"}
"""What keeps tools whose metrics a program file may use from reporting to their makers."""


def project_folder(program: Path) -> Path:
    """The nearest folder above a program file with a pyproject.toml, else the file's own folder."""
    for folder in program.resolve().parents:
        if (folder / "pyproject.toml").is_file():
            return folder
    return program.resolve().parent


def relative_program(path: str) -> str:
    """A program file's path from its project's folder, which holds wherever the project is moved to."""
    program = Path(path).resolve()
    return program.relative_to(project_folder(program)).as_posix()


def find_program(program: str, near: Path) -> Path:
    """A program file by its path from the project's folder, looked for upwards from a folder and from here.

    Raises:
        TaskError: No folder above has it, or there never was one.
    """
    if IN_CODE in program:
        raise TaskError(
            "This study's program was handed over in code: it has no program file.",
            where=program,
            fix="run that code again, which continues the study; what it returns can be exported with "
            "its method export(FOLDER), and loaded with load_program(FOLDER, PROGRAM)",
        )
    inside = Path(program)
    if inside.is_absolute() or ".." in inside.parts or "\0" in program:
        raise TaskError(
            "The record names a program file outside its project, which is not run.",
            where=program,
            fix="restore the record, or run a new study",
        )
    for start in (near.resolve(), Path.cwd()):
        for folder in (start, *start.parents):
            if (folder / program).is_file():
                return folder / program
    raise TaskError(
        "The program file of this study is gone.",
        where=program,
        fix="run this inside its project, or restore the file",
    )


def run_program(path: Path) -> Any:
    """Run a program file under a private module name, its project's folder first on sys.path.

    Returns:
        The module.

    Raises:
        TaskError: There is no such file, it raises or ends the process, or it is gone afterwards.
    """
    try:
        there = path.is_file()
    except OSError:  # a name too long, a folder closed to us
        there = False
    if not there:
        raise TaskError(
            "There is no program file here.",
            where=str(path),
            fix="give the path of a Python file; optimize --help lists the commands",
        )
    path = path.absolute()
    folder = str(project_folder(path))
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    name = f"_parity_program_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TaskError("This is no Python file.", where=str(path), fix="give the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    for variable, value in NO_REPORTS.items():
        os.environ.setdefault(variable, value)
    try:
        with prints_on_stderr(), _undisturbed():
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _refused(error, path) from error
    if not path.is_file():
        raise TaskError(
            "The program file is gone once it has run: it removes itself.",
            where=str(path),
            fix="restore it, and let it stay: exports and resuming need it",
        )
    return module


@contextmanager
def prints_on_stderr() -> Iterator[None]:
    """What is printed inside goes to stderr, also by other processes: results on stdout stay readable."""
    sys.stdout.flush()
    kept = None
    with suppress(OSError):  # one of them may be closed
        kept = os.dup(1)
        os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What runs inside leaves Python's search path, Ctrl-C and the number of processes as they were.

    The working folder may change: a program may mean its own files by it.
    """
    found, process = list(sys.path), os.getpid()
    main = threading.current_thread() is threading.main_thread()
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(0)  # a fork that came back here would run the study a second time
        sys.path.extend(folder for folder in found if folder not in sys.path)
        if main and interrupt is not None and signal.getsignal(signal.SIGINT) is not interrupt:
            signal.signal(signal.SIGINT, interrupt)


def _refused(error: BaseException, path: Path) -> TaskError:
    """What to say of a program file that did not run to its end."""
    line = _line_in(error, path)
    where = f"{path}, line {line}" if line else str(path)
    if isinstance(error, UserError):
        place = f"{where}: {error.where}" if error.where else where
        return TaskError(error.what, where=place, fix=error.fix)
    if isinstance(error, SystemExit):
        return TaskError(
            f"The program file ends the process, with {error.code!r}.",
            where=where,
            fix='put what is for the command line under `if __name__ == "__main__":`',
        )
    return TaskError(
        f"The program file raises {type(error).__name__}: {error}",
        where=where,
        fix=f"make `python {path}` run without an error first",
    )


def _line_in(error: BaseException, path: Path) -> int | None:
    """The line of the program file that an error came from."""
    if isinstance(error, SyntaxError):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return lines[-1] if lines else None
