"""The command ``optimize``: its commands put together. Each loads what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from optimizers.cli import dashboard, export, init, manual, models, run, show, studies, transfer
from optimizers.cli.doctor import command as doctor
from optimizers.errors import ParityError, UserError


class Commands(TyperGroup):
    """The commands; a first word that is none of them is a program file to run."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names, else ``run``; the shell's completion asks too."""
        known = not args or args[0] in self.commands
        return super().resolve_command(ctx, args if known else ["run", *args])


app = typer.Typer(
    cls=Commands,
    help="Find the cheapest model and prompt that does your task well enough, and prove it.\n\n"
    "`optimize PROGRAM --budget N` searches; the other commands work on its result. Every option is an "
    "environment variable too: OPTIMIZE_BUDGET is --budget.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"prompt-parity {version('prompt-parity')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and exit.")
    ] = False,
) -> None:
    from optimizers.cli import console

    console.stderr.quiet = False  # another command of this process may have been a quiet one


COMMANDS: dict[str, Callable[..., None]] = {
    "run": run.run,
    "resume": run.resume,
    "worker": run.worker,
    "estimate": run.estimate,
    "list": studies.list_studies,
    "show": show.show,
    "frontier": studies.frontier,
    "report": studies.report,
    "compare": studies.compare,
    "advise": studies.advise,
    "export": export.export,
    "transfer": transfer.transfer,
    "models": models.models,
    "doctor": doctor.doctor,
    "init": init.init,
    "dashboard": dashboard.dashboard,
    "help": manual.manual,
}

for name, command in COMMANDS.items():
    app.command(name, context_settings={"auto_envvar_prefix": "OPTIMIZE"})(command)


def main() -> None:
    """Entry point. Errors become messages: bad input exits with 2, any other failure with 1."""
    try:
        app(prog_name="optimize")
    except ParityError as error:
        kind = "error" if isinstance(error, UserError) else "failed"
        print(f"{kind}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception:
        # A bug of ours or of a library: its message may repeat what a server or an address held.
        import traceback

        from optimizers.errors import scrubbed

        print(scrubbed(traceback.format_exc()), end="", file=sys.stderr)
        sys.exit(ParityError.exit_code)


if __name__ == "__main__":
    main()
