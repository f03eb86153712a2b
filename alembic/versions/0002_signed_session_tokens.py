"""Sessions are named by signed tokens: the hash of an opaque one goes, the count of tokens comes.

Whoever was signed in signs in again: the browser holds a token that means nothing any more.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ENDED = "UPDATE sessions SET ended_at = created_at WHERE ended_at IS NULL"
# They refer to sessions, and SQLite drops no table, not even to make it anew, that others refer
# to. A code lives a minute and is worth nothing without its session.
_NO_CODES = "DELETE FROM gate_codes"


def upgrade() -> None:
    op.execute(_ENDED)
    op.execute(_NO_CODES)
    with op.batch_alter_table("sessions") as table:
        table.drop_column("token_prefix")
        table.drop_column("token_sha256")
        table.add_column(sa.Column("serial", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(sa.Column("serial_seen", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("serial_made_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE sessions SET serial_made_at = created_at")
    with op.batch_alter_table("sessions") as table:
        table.alter_column("serial", server_default=None)
        table.alter_column("serial_seen", server_default=None)
        table.alter_column("serial_made_at", existing_type=sa.DateTime(timezone=True), nullable=False)


def downgrade() -> None:
    op.execute(_ENDED)
    op.execute(_NO_CODES)
    with op.batch_alter_table("sessions") as table:
        table.drop_column("serial_made_at")
        table.drop_column("serial_seen")
        table.drop_column("serial")
        table.add_column(sa.Column("token_prefix", sa.String(length=16), nullable=False, server_default=""))
        table.add_column(sa.Column("token_sha256", sa.String(length=64), nullable=True))
    # No token has this hash, so none opens anything.
    op.execute("UPDATE sessions SET token_sha256 = CAST(id AS VARCHAR(64))")
    with op.batch_alter_table("sessions") as table:
        table.alter_column("token_prefix", server_default=None)
        table.alter_column("token_sha256", existing_type=sa.String(length=64), nullable=False)
        table.create_unique_constraint("uq_sessions_token_sha256", ["token_sha256"])
