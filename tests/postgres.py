"""A PostgreSQL server for tests: on loopback, with a data folder of its own, stopped at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa

DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
BIN = DEBIAN[-1] if DEBIAN else Path(shutil.which("initdb") or "/missing/initdb").parent
LACKING = None if (BIN / "initdb").exists() else "PostgreSQL is not installed"


@contextmanager
def server() -> Iterator[str]:
    """The address of a running server."""
    # It refuses to run as root; Debian's package makes a user for it.
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg") as made:
        folder = Path(made)
        if user:
            shutil.chown(folder, user)
        name = user or pwd.getpwuid(os.geteuid()).pw_name
        data, port = folder / "data", _free_port()
        _run([BIN / "initdb", "-D", data, "-A", "trust", "-U", name, "-E", "UTF8", "--no-sync"], user)
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c max_connections=200"
        _run([BIN / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"], user)
        try:
            yield f"postgresql+psycopg://{name}@127.0.0.1:{port}/postgres"
        finally:
            _run([BIN / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop"], user)


def new_database(server: str) -> str:
    """The address of a new, empty database."""
    name = f"t{uuid4().hex}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


def _run(command: list[str | Path], user: str | None) -> None:
    subprocess.run(command, check=True, user=user, stdout=subprocess.DEVNULL, cwd="/", timeout=120)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
