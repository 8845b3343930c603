"""The project's checks: `nox --list` shows them, `nox` runs all but the benchmarks."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["lint", "typing", "tests", "wheel"]
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def build(session: nox.Session) -> Path:
    """Build the wheel and return its path."""
    session.install("build>=1.3")
    out = Path(session.create_tmp()) / "dist"
    for old in out.glob("*.whl"):
        old.unlink()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(out), silent=True)
    return next(out.glob("*.whl"))


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Style, formatting and the one direction of imports."""
    session.install("-e", ".[test,dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session(python=PYTHONS[0])
def typing(session: nox.Session) -> None:
    """mypy, strictly."""
    session.install("-e", ".[test,dev]")
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests, on the built wheel. Arguments go to pytest: `nox -s tests-3.11 -- -m "not model"`."""
    session.install(f"{build(session)}[test]")
    session.run("pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session(python=PYTHONS[0])
def wheel(session: nox.Session) -> None:
    """The wheel alone in a clean environment: the command starts, and a workspace can be made."""
    session.install(str(build(session)))
    folder = Path(session.create_tmp()) / "workspace"
    session.run("rm", "-rf", str(folder), external=True)
    session.run("optimize", "--help")
    session.run("optimize", "init", str(folder))
    session.run("optimize", "models")


@nox.session(python=PYTHONS[0])
def bench(session: nox.Session) -> None:
    """The benchmarks on the embedded models; keep what they print in tests/benchmarks/RESULTS.md."""
    session.install("-e", ".[test]")
    session.run("python", "tests/benchmarks/throughput.py", *session.posargs)
    session.run("python", "tests/benchmarks/concurrency.py")
    session.run("python", "tests/benchmarks/overhead.py")


@nox.session(name="bench-techniques", python=PYTHONS[0])
def bench_techniques(session: nox.Session) -> None:
    """Every technique on four models and three tasks, into tests/benchmarks/RESULTS.md; hours, resumable.

    Pulls 1.6 GB of weights. Arguments are passed on: `nox -s bench-techniques -- --task classify`.
    """
    session.install("-e", ".[test]")
    session.run("python", "tests/benchmarks/techniques.py", *session.posargs)


@nox.session(name="bench-ablations", python=PYTHONS[0])
def bench_ablations(session: nox.Session) -> None:
    """Studies without each part of the space against the full one, into tests/benchmarks/RESULTS.md.

    Hours, resumable. Arguments are passed on: `nox -s bench-ablations -- --task classify --seeds 2`.
    """
    session.install("-e", ".[test]")
    session.run("python", "tests/benchmarks/ablations.py", *session.posargs)


@nox.session(name="bench-tables", python=PYTHONS[0])
def bench_tables(session: nox.Session) -> None:
    """Tables of real rollouts that searches are replayed on, into tests/benchmarks/tables; hours, resumable.

    Arguments are passed on, for a table of your own:
    `nox -s bench-tables -- --program programs/rules.py --model local/gemma-3-270m`.
    """
    session.install("-e", ".[test]")
    session.run("python", "tests/benchmarks/tables.py", *session.posargs)


@nox.session(name="bench-race", python=PYTHONS[0])
def bench_race(session: nox.Session) -> None:
    """Parity's search against its peers on the tables, into tests/benchmarks/RESULTS.md; an hour or two."""
    session.install("-e", ".[test]")
    session.run("python", "tests/benchmarks/race.py", *session.posargs)


@nox.session(name="bench-advice", python=PYTHONS[0])
def bench_advice(session: nox.Session) -> None:
    """How often `optimize advise` was right, replayed on the tables, into RESULTS.md; an hour or two."""
    session.install("-e", ".[test]")
    session.run("python", "tests/benchmarks/advice.py", *session.posargs)


@nox.session(name="bench-peers", python=PYTHONS[0])
def bench_peers(session: nox.Session) -> None:
    """Parity against DSPy's own optimizers at equal calls, into RESULTS.md; hours, resumable."""
    session.install("-e", ".[test]")
    session.run("python", "tests/benchmarks/peers.py", *session.posargs)


@nox.session(name="bench-exports", python=PYTHONS[0])
def bench_exports(session: nox.Session) -> None:
    """Every export of finished studies in its own tool, into RESULTS.md; half an hour.

    Installs each tool in an environment of its own, promptfoo through npm. Takes the studies' names:
    `nox -s bench-exports -- classify-448c10 coarse_to_fine-cab503`.
    """
    session.install("-e", ".[test]")
    session.run("python", "tests/benchmarks/exports.py", *session.posargs)


@nox.session(python=PYTHONS[0], name="bench-workers")
def bench_workers(session: nox.Session) -> None:
    """Several processes on one study: speed, and what killing them does. Needs PostgreSQL installed."""
    session.install("-e", ".[test]")
    session.run("python", "tests/benchmarks/workers.py", *session.posargs)


@nox.session(python=PYTHONS[0])
def fuzz(session: nox.Session) -> None:
    """What the suite tries on a hundred made-up inputs each, on 10,000."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "fuzz", "--hypothesis-profile=fuzz", *session.posargs)


@nox.session(python=PYTHONS[0])
def interop(session: nox.Session) -> None:
    """Metrics of Ragas, DeepEval, autoevals and Inspect, `inspect eval`, Langfuse, each of them installed."""
    session.install("-e", ".[test,ragas,deepeval,autoevals,inspect]", "langfuse>=4.7,<5")
    # Inspect's own OpenAI provider asks for a release of the client that LiteLLM does not take.
    apart = Path(session.create_tmp()) / "inspect"
    session.run("python", "-m", "venv", str(apart))
    wanted = ["inspect-ai>=0.3.285,<0.4", "openai>=3.4"]
    session.run(str(apart / "bin" / "pip"), "install", "-q", *wanted, external=True)
    session.env["INSPECT_COMMAND"] = str(apart / "bin" / "inspect")
    # DeepEval brings plugins for pytest that change how it runs.
    session.env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    metrics = [f"tests/test_metrics_{name}.py" for name in ("ragas", "deepeval", "autoevals", "inspect")]
    others = ["tests/export/test_inspect_task.py", "tests/models/test_langfuse.py"]
    session.run("pytest", *metrics, *others, *session.posargs)


@nox.session(python=PYTHONS[0])
def ray(session: nox.Session) -> None:
    """Workers on a Ray cluster of two nodes on this machine; needs PostgreSQL installed."""
    session.install("-e", ".[test,ray]")
    session.run("pytest", "tests/search/test_ray_workers.py", *session.posargs)


@nox.session(python=PYTHONS[0])
def torture(session: nox.Session) -> None:
    """Kill studies at random moments; what they leave must be what an undisturbed study leaves."""
    session.install("-e", ".[test]")
    session.run("python", "tests/benchmarks/torture.py", *session.posargs)
