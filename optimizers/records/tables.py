"""The tables of a ledger."""

from __future__ import annotations

import sqlalchemy as sa

SCHEMA_VERSION = 1

metadata = sa.MetaData()
candidates = sa.Table(
    "candidates",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
)
rollouts = sa.Table(
    "rollouts",
    metadata,
    sa.Column("candidate", sa.String, primary_key=True),
    sa.Column("example", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("split", sa.String, nullable=False),
    sa.Column("score", sa.Float),
    sa.Column("failure", sa.String),
    sa.Column("parsed", sa.Boolean, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("output", sa.Text, nullable=False),
    sa.Column("calls", sa.Integer, nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("cached_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("cost", sa.Float, nullable=False),
    sa.Column("latency", sa.Float, nullable=False),
    sa.Column("created", sa.String, nullable=False),
)
traces = sa.Table(
    "traces",
    metadata,
    sa.Column("candidate", sa.String, primary_key=True),
    sa.Column("example", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
)
trials = sa.Table(
    "trials",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
)
kept = sa.Table(
    "kept",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
)
openings = sa.Table(
    "openings",
    metadata,
    sa.Column("split", sa.String, primary_key=True),
    sa.Column("opened", sa.String, nullable=False),
    sa.Column("roles", sa.Text, nullable=False),
)
examples = sa.Table(
    "examples",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("split", sa.String, nullable=False),
    sa.Column("group", sa.String),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("gold", sa.Text, nullable=False),
)
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("began", sa.Float, nullable=False),
    sa.Column("last", sa.Float, nullable=False),
)
calls = sa.Table(
    "calls",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("phase", sa.String, nullable=False),
    sa.Column("candidate", sa.String),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("cached_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("cost", sa.Float, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("ended", sa.Float),
)

shared = sa.MetaData()
"""What a study has in addition to its ledger if several processes work on it."""

workers = sa.Table(
    "workers",
    shared,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("last", sa.Float, nullable=False),
)
leads = sa.Table(
    "leads",
    shared,
    sa.Column("study", sa.Integer, primary_key=True),
    sa.Column("worker", sa.Integer, nullable=False),
)
jobs = sa.Table(
    "jobs",
    shared,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("candidate", sa.String, nullable=False),
    sa.Column("example", sa.String, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("split", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("limits", sa.Text, nullable=False),
    sa.Column("state", sa.String, nullable=False, index=True),
    sa.Column("worker", sa.Integer),
    sa.Column("error", sa.Text),
    sa.UniqueConstraint("candidate", "example", "number"),
)
purses = sa.Table(
    "purses",
    shared,
    sa.Column("study", sa.Integer, primary_key=True),
    sa.Column("calls", sa.Integer, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("dollars", sa.Float, nullable=False),
)
flights = sa.Table(
    "flights",
    shared,
    sa.Column("call", sa.Integer, primary_key=True),
    sa.Column("worker", sa.Integer, nullable=False, index=True),
)
