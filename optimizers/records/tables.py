"""The ledger's tables."""

from __future__ import annotations

import sqlalchemy as sa

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
