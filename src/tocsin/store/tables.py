"""Tables of the state database, for SQLite and PostgreSQL alike.

Times are whole microseconds since the epoch (UTC) in 64-bit integers: exact in both databases and
the same in an export. What is searched is a column, the rest of a noun is JSON in `body`.
"""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

# A process stops claiming effects once the database was migrated past the epoch it knows, so that
# an old binary in a rolling deploy never acts on rows it misreads.
SCHEMA_EPOCH = 1

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

meta = sa.Table(
    "meta",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
)

config_version = sa.Table(
    "config_version",
    METADATA,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
)

api_document = sa.Table(
    "api_document",
    METADATA,
    sa.Column("api_version", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("updated_by", sa.Text, nullable=False),
)

# What others sent, as it came. state: new | done | refused (it cannot be read). format: how it is
# read. delivery: the sender's own id of a request and of every repetition of it.
inbox = sa.Table(
    "inbox",
    METADATA,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("format", sa.Text, nullable=False, server_default=""),
    sa.Column("delivery", sa.Text),
)
sa.Index("ux_inbox_delivery", inbox.c.source, inbox.c.delivery, unique=True)

# How dependencies fare, the latest word of each target of a source.
dependency = sa.Table(
    "dependency",
    METADATA,
    sa.Column("dependency", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("link", sa.Text, nullable=False),
)

# Who of several processes does what only one may do; see `store.leases`.
lease = sa.Table(
    "lease",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False),
)

alert = sa.Table(
    "alert",
    METADATA,
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("incident_id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
)

incident = sa.Table(
    "incident",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("group_key", sa.Text, nullable=False),
    sa.Column("episode", sa.Integer, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("tier", sa.Integer, nullable=False),
    sa.Column("opened", sa.BigInteger, nullable=False, index=True),
    sa.Column("updated", sa.BigInteger, nullable=False),
    sa.Column("resolved", sa.BigInteger),
    sa.Column("body", sa.JSON, nullable=False),
    sa.UniqueConstraint("group_key", "episode", name="uq_incident_episode"),
)

# The alerts of an incident; see `store.members`.
incident_member = sa.Table(
    "incident_member",
    METADATA,
    sa.Column("incident_id", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("tier", sa.Integer),
    sa.Column("route", sa.Text),
    sa.Column("suppressed_by", sa.Text),
    sqlite_with_rowid=False,
)

effect = sa.Table(
    "effect",
    METADATA,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("receiver", sa.Text, nullable=False),
    sa.Column("incident_id", sa.Text, nullable=False),
    sa.Column("guard", sa.JSON, nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("scheduled_at", sa.BigInteger, nullable=False),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("lane", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("lease_until", sa.BigInteger),
    sa.Column("lease_by", sa.Text),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("last_outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("remote_ref", sa.JSON),
    sa.Column("finished_at", sa.BigInteger),
)
sa.Index(
    "ix_effect_ready",
    effect.c.lane,
    effect.c.due_at,
    effect.c.id,
    sqlite_where=effect.c.state == "ready",
    postgresql_where=effect.c.state == "ready",
)
sa.Index(
    "ix_effect_leased",
    effect.c.lease_until,
    sqlite_where=effect.c.state == "leased",
    postgresql_where=effect.c.state == "leased",
)
sa.Index("ix_effect_incident", effect.c.incident_id, effect.c.receiver, effect.c.id)

attempt = sa.Table(
    "attempt",
    METADATA,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("effect_id", sa.BigInteger, nullable=False, index=True),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("remote_ref", sa.JSON),
)

ledger = sa.Table(
    "ledger",
    METADATA,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("prev", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)

# Who is named in entries of the ledger that are about several; see `store.together`.
ledger_subject = sa.Table(
    "ledger_subject",
    METADATA,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

digest_item = sa.Table(
    "digest_item",
    METADATA,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("sent_at", sa.BigInteger),
)
sa.Index(
    "ix_digest_item_waiting",
    digest_item.c.digest,
    digest_item.c.id,
    sqlite_where=digest_item.c.sent_at.is_(None),
    postgresql_where=digest_item.c.sent_at.is_(None),
)

sink_message = sa.Table(
    "sink_message",
    METADATA,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("receiver", sa.Text, nullable=False, index=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("headers", sa.JSON, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

verdict_mark = sa.Table(
    "verdict_mark",
    METADATA,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("incident_id", sa.Text, nullable=False, index=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

# What a key that is not in this database vouches for; see `store.checkpoints`.
ledger_checkpoint = sa.Table(
    "ledger_checkpoint",
    METADATA,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("signature", sa.Text, nullable=False),
)

# What a monitor found in a day (UTC, counted since 1970). hours: bit h when it could judge in hour
# h. peaks: hour -> highest -log10 p, of hours with some worth keeping.
evidence_day = sa.Table(
    "evidence_day",
    METADATA,
    sa.Column("monitor", sa.Text, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("hours", sa.Integer, nullable=False),
    sa.Column("peaks", sa.JSON, nullable=False),
)
sa.Index("ix_evidence_day_day", evidence_day.c.day)

# What a health score was at the end of a minute, and by which formula; see `store.health`.
health_sample = sa.Table(
    "health_sample",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("formula", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("score", sa.Float),
    sa.Column("body", sa.JSON, nullable=False),
)
sa.Index("ix_health_sample_minute", health_sample.c.minute)
health_formula = sa.Table(
    "health_formula",
    METADATA,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
)
# What people said of a health score at a minute: whether it was right.
health_opinion = sa.Table(
    "health_opinion",
    METADATA,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False, index=True),
    sa.Column("minute", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("opinion", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

# What people arranged for a while: silences, maintenance, stand-ins; see `store.arrangements`.
arrangement = sa.Table(
    "arrangement",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("start", sa.BigInteger, nullable=False),
    sa.Column("stop", sa.BigInteger, nullable=False, index=True),
    sa.Column("body", sa.JSON, nullable=False),
)

# Reports that were made, and their files, compressed; see `store.kept_reports`.
kept_report = sa.Table(
    "kept_report",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("made_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("body", sa.JSON, nullable=False),
)

kept_file = sa.Table(
    "kept_file",
    METADATA,
    sa.Column("report_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

# Calls that an evaluator of Tocsin's own chose and has not finished; see `store.judging`. due: when
# it is tried next. reserved_usd: set aside for a request under way. outcome: the verdict, from when
# there is one until its scores are durable.
evaluation = sa.Table(
    "evaluation",
    METADATA,
    sa.Column("series", sa.Text, primary_key=True),
    sa.Column("trace_id", sa.Text, primary_key=True),
    sa.Column("span_id", sa.Text, primary_key=True),
    sa.Column("evaluator", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("chosen", sa.BigInteger, nullable=False),
    sa.Column("due", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("propensity", sa.Float, nullable=False),
    sa.Column("reserved_usd", sa.Float, nullable=False),
    sa.Column("outcome", sa.JSON),
    sa.Column("reason", sa.Text, nullable=False),
)
sa.Index("ix_evaluation_due", evaluation.c.evaluator, evaluation.c.due)

# What an evaluator did on a day (UTC, counted since 1970). asked: requests, repeated ones included.
# unpriced: those whose cost nobody knows; usd: of the others, and what is set aside.
evaluator_day = sa.Table(
    "evaluator_day",
    METADATA,
    sa.Column("evaluator", sa.Text, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("candidates", sa.Integer, nullable=False),
    sa.Column("chosen", sa.Integer, nullable=False),
    sa.Column("judged", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("asked", sa.Integer, nullable=False),
    sa.Column("unpriced", sa.Integer, nullable=False),
    sa.Column("usd", sa.Float, nullable=False),
)

# Who wants to hear of what a status page publishes; confirmed_at: None until they said so twice.
subscriber = sa.Table(
    "subscriber",
    METADATA,
    sa.Column("page", sa.Text, primary_key=True),
    sa.Column("address", sa.Text, primary_key=True),
    sa.Column("token", sa.Text, nullable=False, unique=True),
    sa.Column("asked_at", sa.BigInteger, nullable=False),
    sa.Column("confirmed_at", sa.BigInteger),
)
