"""Environments made of a container image, and people's accounts at registries."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.add_column("environments", sa.Column("image", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("applications", sa.Column("image", sa.String(length=500), nullable=False, server_default=""))
    op.create_table(
        "registry_accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "host", name="uq_registry_accounts_user_host"),
    )


def downgrade() -> None:

    op.drop_table("registry_accounts")
    op.drop_column("applications", "image")
    op.drop_column("environments", "image")
