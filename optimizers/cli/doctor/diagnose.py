"""The checks of ``optimize doctor``: what would stop or spoil a study, found before it starts.

They pull nothing, cost nothing and leave nothing behind.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from optimizers.cli.doctor.findings import DISTRIBUTION, Finding, checked
from optimizers.cli.doctor.machine import disk_for_weights, libraries, mlflow_store, runs_folder
from optimizers.cli.doctor.program import check_program
from optimizers.errors import scrubbed

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Finding", "diagnose", "show"]


def diagnose(program: Path | None, runs: Path) -> list[Finding]:
    """Check the installation, and a program's models and data where one is given.

    A check that raises is reported as a problem. Findings never show a key.

    Args:
        program: Program file; it is run.
        runs: Folder of studies; it may be missing, and is not made.
    """
    found = checked("libraries", libraries, f"{sys.executable} -m pip install {DISTRIBUTION}")
    found += checked("runs folder", partial(runs_folder, runs), "name a folder to write in with --runs")
    found += checked("MLflow store", partial(mlflow_store, runs), "if no study is running, move it away")
    if program is None:
        found += checked("disk for weights", partial(disk_for_weights, None))
    else:
        found += checked("program", partial(check_program, program.absolute()))
    return [Finding(scrubbed(f.check), f.level, scrubbed(f.found), scrubbed(f.fix)) for f in found]


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print findings as a table, each with its fix below it, and count problems and warnings."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("", "check", "found", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for one in findings:
        found = f"{one.found}\nfix: {one.fix}" if one.fix else one.found
        table.add_row(one.level, Text(one.check, overflow="fold"), Text(found, overflow="fold"))
    console.print(table)
    counts = Counter(one.level for one in findings)
    console.print(f"problems: {counts['problem']}, warnings: {counts['warning']}", highlight=False)
