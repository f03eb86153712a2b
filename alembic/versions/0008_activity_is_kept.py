"""What happened stays as it was written: the database itself refuses to change or delete an entry of activity."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

REFUSAL = "entries of activity are never changed or deleted"
ACTS = ("UPDATE", "DELETE")


def upgrade() -> None:

    if op.get_bind().dialect.name == "sqlite":
        for act in ACTS:
            op.execute(
                f"CREATE TRIGGER activity_is_kept_{act.lower()} BEFORE {act} ON activity "
                f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION activity_is_kept() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'restrict_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER activity_is_kept BEFORE {' OR '.join(ACTS)} ON activity "
        "FOR EACH ROW EXECUTE FUNCTION activity_is_kept()"
    )


def downgrade() -> None:

    if op.get_bind().dialect.name == "sqlite":
        for act in ACTS:
            op.execute(f"DROP TRIGGER activity_is_kept_{act.lower()}")
        return
    op.execute("DROP TRIGGER activity_is_kept ON activity")
    op.execute("DROP FUNCTION activity_is_kept()")
