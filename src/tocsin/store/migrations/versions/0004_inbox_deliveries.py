"""How a request of the inbox is read, and by which id its sender knows it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inbox", sa.Column("format", sa.Text, nullable=False, server_default=""))
    op.add_column("inbox", sa.Column("delivery", sa.Text))
    op.create_index("ux_inbox_delivery", "inbox", ["source", "delivery"], unique=True)
