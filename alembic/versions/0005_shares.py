"""Environments that are shared with other people."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "shares",
        sa.Column("environment_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["environment_id"], ["environments.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("environment_id", "user_id"),
    )
    op.create_index(op.f("ix_shares_user_id"), "shares", ["user_id"], unique=False)


def downgrade() -> None:

    op.drop_index(op.f("ix_shares_user_id"), table_name="shares")
    op.drop_table("shares")
