"""How often the platform began an environment again since its owner did."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.add_column("environments", sa.Column("restarts", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:

    op.drop_column("environments", "restarts")
