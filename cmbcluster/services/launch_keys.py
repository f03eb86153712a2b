"""A launch that may be asked for twice: the key a script chose makes the second one the first.

Kept in the transaction of the launch itself, so that there is never one without the other.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import datetime, timedelta
from uuid import UUID

from cmbcluster.db.database import Work
from cmbcluster.db.models import Environment, LaunchKey
from cmbcluster.domain.orders import LaunchOrder
from cmbcluster.errors import Conflict, InvalidInput

KEPT_HOURS = 24
KEY_LIMIT = 200
FIELD = "Idempotency-Key"


def check_key(key: str) -> str:
    """The key as it is kept; raises InvalidInput for one that a header should not carry."""
    if len(key) > KEY_LIMIT or not all(" " < character <= "~" for character in key):
        raise InvalidInput(
            FIELD, "That idempotency key cannot be used.", f"Use 1 to {KEY_LIMIT} visible ASCII characters."
        )
    return key


async def launched_before(
    work: Work, owner_id: UUID, key: str, order: LaunchOrder, now: datetime
) -> Environment | None:
    """What the person launched with this key in the last day, or None for the first time.

    Raises InvalidInput when the key was used for another order, and Conflict when what it
    launched is gone.
    """
    await work.launch_keys.forget(owner_id, now - timedelta(hours=KEPT_HOURS))
    kept = await work.launch_keys.find(owner_id, key)
    if kept is None:
        return None
    if kept.order_sha256 != _digest(order):
        raise InvalidInput(FIELD, "This idempotency key was used for another launch.", "Use a new key for each launch.")
    row = await work.environments.owned(kept.environment_id, owner_id)
    if row is None:
        raise Conflict("What this idempotency key launched has been deleted.", "Use a new key to launch again.")
    return row


def keep_key(work: Work, owner_id: UUID, key: str, order: LaunchOrder, environment_id: UUID, now: datetime) -> None:
    """Remember what the key launched."""
    work.launch_keys.add(
        LaunchKey(user_id=owner_id, key=key, order_sha256=_digest(order), environment_id=environment_id, created_at=now)
    )


def _digest(order: LaunchOrder) -> str:
    said = asdict(order)
    if order.custom is not None and not order.custom.image:
        # Digests are kept in databases: orders that do not use the younger word keep theirs.
        del said["custom"]["image"]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
