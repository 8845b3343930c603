"""The layout of the package: few entries, no import circle, short modules, plain names."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "optimizers"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

SAME_NAMES = {
    "__init__": "every package has one",
    "dashboard": "the command, and the server that it starts",
    "transfer": "the command, and the study that it runs",
}
"""Module names that two packages have, and why. A command of ``cli`` is named like what it calls."""


def test_the_package_has_at_most_twelve_entries() -> None:
    entries = {path.name for path in PACKAGE.iterdir()} - {"py.typed", "__pycache__"}
    assert len(entries) <= 12, sorted(entries)


def test_no_module_has_more_than_400_lines() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_two_modules_of_one_name_have_a_reason() -> None:
    packages = defaultdict(list)
    for path in MODULES.values():
        packages[path.stem].append(str(path.parent.relative_to(PACKAGE)))
    assert {name: found for name, found in packages.items() if len(found) > 1}.keys() == SAME_NAMES.keys()


def test_no_import_circle() -> None:
    graph = {
        name: {target for target in map(_module, _imported(_at_import(_body(path)))) if target} - {name}
        for name, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"import circle: {' > '.join(error.args[1])}") from error


def test_the_library_imports_no_program_and_no_metric() -> None:
    found = {
        name: list(_imported(ast.walk(ast.parse(path.read_text(encoding="utf-8")))))
        for name, path in MODULES.items()
    }
    assert [
        (name, target)
        for name, targets in found.items()
        for target in targets
        if target.partition(".")[0] in ("programs", "metrics", "tests")
    ] == []


def _body(path: Path) -> list[ast.stmt]:
    return ast.parse(path.read_text(encoding="utf-8")).body


def _at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The statements that run at import: those outside functions and not for type checking alone."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            continue
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for name in ("body", "orelse", "finalbody"):
                yield from _at_import(getattr(statement, name, []))
            for handler in getattr(statement, "handlers", []):
                yield from _at_import(handler.body)


def _imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module(target: str) -> str | None:
    """The module of the package that an imported name is, or is in."""
    if target in MODULES:
        return target
    parent = target.rpartition(".")[0]
    return parent if parent in MODULES else None
