"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index("audit_by_time", ["at"], unique=False)

    op.create_table(
        "entries",
        sa.Column("turn", sa.Text(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("events", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("turn", "first"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("turns_per_minute", sa.Integer(), nullable=True),
        sa.Column("moves", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "sessions",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("home", sa.Text(), nullable=False),
        sa.Column("seen", sa.JSON(), nullable=False),
        sa.Column("used_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "session"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "turns",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("transport", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("question", sa.LargeBinary(), nullable=True),
        sa.Column("restarts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("turns", schema=None) as batch_op:
        batch_op.create_index(
            "turns_by_key", ["consumer", "key"], unique=True, sqlite_where=sa.text('"key" IS NOT NULL')
        )
        batch_op.create_index("turns_ended", ["ended_at"], unique=False)
        batch_op.create_index("turns_of_consumer", ["consumer", "id"], unique=False)
        batch_op.create_index(
            "turns_of_session", ["consumer", "session"], unique=False, sqlite_where=sa.text("session IS NOT NULL")
        )
        batch_op.create_index("turns_open", ["state"], unique=False, sqlite_where=sa.text("ended_at IS NULL"))


def downgrade() -> None:
    """Back from it."""
    with op.batch_alter_table("turns", schema=None) as batch_op:
        batch_op.drop_index("turns_open", sqlite_where=sa.text("ended_at IS NULL"))
        batch_op.drop_index("turns_of_session", sqlite_where=sa.text("session IS NOT NULL"))
        batch_op.drop_index("turns_of_consumer")
        batch_op.drop_index("turns_ended")
        batch_op.drop_index("turns_by_key", sqlite_where=sa.text('"key" IS NOT NULL'))

    op.drop_table("turns")
    op.drop_table("sessions")
    op.drop_table("keys")
    op.drop_table("entries")
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.drop_index("audit_by_time")

    op.drop_table("audit")
