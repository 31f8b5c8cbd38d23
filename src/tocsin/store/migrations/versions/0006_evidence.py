"""The evidence of detectors hour by hour, which page budgets are calibrated from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "evidence_day",
        sa.Column("monitor", sa.Text, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hours", sa.Integer, nullable=False),
        sa.Column("peaks", sa.JSON, nullable=False),
    )
    op.create_index("ix_evidence_day_day", "evidence_day", ["day"])
