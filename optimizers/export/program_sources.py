"""What a program file needs to run elsewhere: modules of its project, and the packages they import.

Imports are read from the source (``import a.b`` and ``from a.b import c``). A module that is imported by a
name made at run time is not found, and neither are files that a program reads.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path

from packaging.requirements import Requirement

PACKAGE = "optimizers"
DISTRIBUTION = "prompt-parity"


@dataclass(frozen=True)
class ProgramSources:
    """What a program is made of.

    Attributes:
        project: The folder that its imports count from.
        files: The program file and the modules of the project that it imports, directly or not.
        packages: Names of what else it imports, the standard library and this package aside.
    """

    project: Path
    files: tuple[Path, ...]
    packages: frozenset[str]


def sources_of(program: Path, project: Path) -> ProgramSources:
    """The modules and packages that a program file needs.

    Args:
        program: The file.
        project: The folder that its imports count from.
    """
    found: dict[Path, None] = {}
    outside: set[str] = set()
    waiting = [program.resolve()]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found[file] = None
        for name in _imported(file, project):
            top = name.partition(".")[0]
            inside = [] if top == PACKAGE else list(_modules(project, name))
            waiting += inside
            if not inside and top not in sys.stdlib_module_names | {PACKAGE}:
                outside.add(top)
    return ProgramSources(project, tuple(found), frozenset(outside))


def pinned_requirements(packages: Iterable[str]) -> list[str]:
    """Requirements to run a program that imports some packages, at the versions installed here.

    Args:
        packages: Names that are imported.

    Returns:
        ``NAME==VERSION`` for the dependencies of this package and the providers of those names.
    """
    wanted = {need.name for need in map(Requirement, requires(DISTRIBUTION) or ()) if _holds(need)}
    providers = packages_distributions()
    for name in packages:
        wanted |= set(providers.get(name, ()))
    return sorted(f"{name}=={version(name)}" for name in wanted)


def _holds(need: Requirement) -> bool:
    return need.marker is None or need.marker.evaluate({"extra": ""})


def _imported(file: Path, project: Path) -> Iterator[str]:
    """The names that a file imports, from the project's folder."""
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                above = file.relative_to(project).parts[: -node.level]
                module = ".".join([*above, *([module] if module else [])])
            # What is imported may be a module itself.
            yield from (f"{module}.{alias.name}".lstrip(".") for alias in node.names)


def _modules(project: Path, name: str) -> Iterator[Path]:
    """The project's files that importing a name runs."""
    folder = project
    for part in name.split("."):
        if (folder / part / "__init__.py").is_file():
            yield folder / part / "__init__.py"
        elif (folder / f"{part}.py").is_file():
            yield folder / f"{part}.py"
            return
        folder /= part
