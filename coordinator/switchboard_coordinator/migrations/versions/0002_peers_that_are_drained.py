"""Peers that are drained."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "drains",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("peer"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Back from it."""
    op.drop_table("drains")
