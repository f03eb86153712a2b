"""Identities of people at providers, and sign-ins on their way to one."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NEW_COLUMNS = ("email_verified", "name_chosen", "role_granted")


def upgrade() -> None:

    op.create_table(
        "identities",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider", "subject", name="uq_identities_provider_subject"),
    )
    with op.batch_alter_table("identities", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_identities_user_id"), ["user_id"], unique=False)
    op.create_table(
        "sign_in_attempts",
        sa.Column("state_sha256", sa.String(length=64), nullable=False),
        sa.Column("browser_sha256", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("next_path", sa.String(length=2000), nullable=False),
        sa.Column("link_session_id", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("state_sha256"),
    )
    with op.batch_alter_table("sign_in_attempts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sign_in_attempts_expires_at"), ["expires_at"], unique=False)
    # Not in batch mode, which on SQLite makes the table anew and drops the old one: everything
    # else refers to it. The default stays in the schema for the same reason.
    for name in NEW_COLUMNS:
        op.add_column("users", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    # Everybody so far is a test person, whose address and role are ours; who is an admin became
    # one by us or by the operator. Each has one identity, the one they came with; its key may be
    # the person's own, since keys are unique in each table alone.
    op.execute(sa.text("UPDATE users SET email_verified = true"))
    op.execute(sa.text("UPDATE users SET role_granted = true WHERE role = 'admin'"))
    op.execute(
        sa.text(
            "INSERT INTO identities (id, user_id, provider, subject, email, created_at) "
            "SELECT id, id, provider, subject, email, created_at FROM users"
        )
    )


def downgrade() -> None:

    with op.batch_alter_table("sign_in_attempts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sign_in_attempts_expires_at"))
    op.drop_table("sign_in_attempts")
    with op.batch_alter_table("identities", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_identities_user_id"))
    op.drop_table("identities")
    for name in reversed(NEW_COLUMNS):
        op.drop_column("users", name)
