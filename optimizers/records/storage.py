"""Where a ledger's tables are kept: a SQLite file of one study, or a database server that machines share."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from optimizers.errors import StorageError, StudyError, UsageError
from optimizers.records.tables import SCHEMA_VERSION, metadata, shared

EXAMPLE = "for example --storage postgresql+psycopg://HOST/DATABASE"
PREFIX = "parity "
LONGEST = 63
"""Bytes of a PostgreSQL identifier."""

ROWS = 1_000
"""Rows copied at a time."""

MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError, sqlite3.Error)
"""What comes of taking apart what is not as it was written."""

CONNECTIONS = 16
"""Connections that one process opens at most; each is held for milliseconds."""


def sqlite_engine(path: Path, *, of: Path | None = None) -> sa.Engine:
    """The file of a study, its tables made when missing.

    Args:
        path: The file.
        of: The ledger that the file is a copy of, if it is one: what messages name.

    Raises:
        StudyError: The file is no ledger, or one of a newer version.
    """
    engine = sa.create_engine(f"sqlite:///{path}")
    sa.event.listen(engine, "connect", _configure)
    try:
        with engine.begin() as connection:
            version = connection.execute(sa.text("PRAGMA user_version")).scalar_one()
            if version > SCHEMA_VERSION:
                raise StudyError(
                    f"The ledger has version {version}; this Parity reads version {SCHEMA_VERSION}.",
                    where=str(of or path),
                    fix="update prompt-parity",
                )
            metadata.create_all(connection)
            connection.execute(sa.text(f"PRAGMA user_version = {SCHEMA_VERSION}"))
    except (sa.exc.SQLAlchemyError, *MALFORMED) as error:
        engine.dispose()
        raise damaged(str(of or path), error) from error
    return engine


def server_engine(url: str, study: str, *, create: bool) -> sa.Engine:
    """A study's tables on a database server, in a schema of their own.

    Args:
        url: SQLAlchemy's address of a PostgreSQL database.
        study: The study's name.
        create: Whether to make what is missing.

    Raises:
        UsageError: The address is none of a PostgreSQL database, or its driver is not installed.
        StudyError: There is no such study, and it is not to be made.
        StorageError: The server does not answer, or refuses.
    """
    address = parsed(url)
    schema = schema_of(study)
    try:
        engine = sa.create_engine(
            address, pool_size=CONNECTIONS, max_overflow=0, pool_timeout=60
        ).execution_options(schema_translate_map={None: schema})
    except (ModuleNotFoundError, sa.exc.NoSuchModuleError):
        raise UsageError(
            f"The driver of {address.drivername} is not installed.",
            where="--storage",
            fix="pip install 'prompt-parity[postgres]', and begin the address with postgresql+psycopg://",
        ) from None
    # As with SQLite's write-ahead log: what a power cut may lose is the last moment, never the order.
    sa.event.listen(engine, "connect", lambda connection, _: _relax(connection))
    with writing_to(engine, shown(address)), engine.begin() as connection:
        if sa.inspect(connection).has_schema(schema):
            return engine
        if not create:
            known = studies_on(connection)
            raise StudyError(
                f"There is no study {study} in this storage.",
                where=shown(address),
                fix=f"there are {', '.join(known)}" if known else "start one: optimize PROGRAM --storage URL",
            )
        # Two machines may start the same study at the same time: one makes the tables.
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:schema))"), {"schema": schema})
        connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
        for kind in (metadata, shared):
            kind.create_all(connection)
    return engine


@contextmanager
def alone(engine: sa.Engine) -> Iterator[None]:
    """Keep other processes that ask for the same from going on until this one has."""
    key = {"key": str(engine.get_execution_options()["schema_translate_map"][None])}
    with writing_to(engine, shown(engine.url)), engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_advisory_lock(hashtext(:key))"), key)
        try:
            yield
        finally:
            connection.execute(sa.text("SELECT pg_advisory_unlock(hashtext(:key))"), key)


@contextmanager
def reading_from(engine: sa.Engine, where: str) -> Iterator[None]:
    """Say what is wrong where rows are read and taken apart: a damaged file may hold anything.

    Raises:
        StorageError: The server does not answer.
        StudyError: What was read is not as it was written.
    """
    try:
        yield
    except sa.exc.OperationalError as error:
        if engine.dialect.name == "sqlite":
            raise damaged(where, error) from error
        raise _silent(error, where) from error
    except (sa.exc.SQLAlchemyError, *MALFORMED) as error:
        raise damaged(where, error) from error


@contextmanager
def writing_to(engine: sa.Engine, where: str) -> Iterator[None]:
    """Say what is wrong where rows are written; a row that is there already is the caller's to judge.

    Raises:
        StorageError: The server does not answer.
        StudyError: The file cannot be written.
    """
    try:
        yield
    except sa.exc.IntegrityError:
        raise
    except sa.exc.DatabaseError as error:
        if engine.dialect.name != "sqlite":
            raise _silent(error, where) from error
        raise StudyError(
            f"The ledger cannot be written: {error.orig}",
            where=where,
            fix="see to the disk and the file's rights, then run the same command again",
        ) from error


def damaged(where: str, error: Exception) -> StudyError:
    """What to say of a ledger that is not as it was written."""
    said = next(iter(str(getattr(error, "orig", None) or error).splitlines()), type(error).__name__)
    return StudyError(
        f"The ledger cannot be read: {said}",
        where=where,
        fix="restore the file, or start a new study with --study NAME",
    )


def _silent(error: sa.exc.DBAPIError, where: str) -> StorageError:
    said = str(error.orig).strip().splitlines() or ["no reason given"]
    return StorageError(
        f"The storage does not answer: {said[0]}",
        where=where,
        fix="see to the server, its address and the account, then run the same command again",
    )


def copy_to_file(engine: sa.Engine, path: Path) -> None:
    """Copy a study's ledger from a server into a file, in place of what is there."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    copied = sqlite_engine(partial)
    with writing_to(engine, shown(engine.url)), engine.connect() as source, copied.begin() as target:
        for table in metadata.sorted_tables:
            for rows in source.execute(sa.select(table)).mappings().partitions(ROWS):
                target.execute(sa.insert(table), [dict(row) for row in rows])
    copied.dispose()
    partial.replace(path)


def parsed(url: str) -> sa.URL:
    """The address of a PostgreSQL database.

    Raises:
        UsageError: It is none.
    """
    try:
        address = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise UsageError("This is no address of a database.", where="--storage", fix=EXAMPLE) from None
    if address.get_backend_name() == "sqlite":
        raise UsageError(
            "SQLite is one machine's: a file that several share over a network gets damaged.",
            where="--storage",
            fix=f"leave --storage out for a study of this machine, or name a server: {EXAMPLE}",
        )
    if address.get_backend_name() != "postgresql":
        raise UsageError(f"{address.get_backend_name()} cannot hold a study.", where="--storage", fix=EXAMPLE)
    return address


def shown(address: sa.URL) -> str:
    """An address without its password."""
    return address.render_as_string(hide_password=True)


def schema_of(study: str) -> str:
    """The schema that holds a study's tables; long names are cut and told apart by a hash."""
    name = PREFIX + study
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]} {hashlib.sha256(study.encode()).hexdigest()[:8]}"


def studies_on(connection: sa.Connection) -> list[str]:
    """Names of the studies in a database."""
    names = sa.inspect(connection).get_schema_names()
    return sorted(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))


def _configure(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA busy_timeout = 10000")
    cursor.close()


def _relax(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
    connection.commit()
