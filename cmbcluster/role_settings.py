"""Settings of the platform as separate processes, each a role; ``cmbcluster up`` needs none of them.

This module must never import another of ours.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings

_ADDRESS = re.compile(r"(\[?[0-9a-fA-F]*:[0-9a-fA-F:]*\]?|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?):([0-9]{1,5})")
_LAST_PORT = 65535


def _address(value: str) -> str:
    found = _ADDRESS.fullmatch(value)
    if found is None or not 0 < int(found[3]) <= _LAST_PORT:
        raise ValueError("This is no name or address with a port. Write one, such as 0.0.0.0:8201 or [::]:8201.")
    # What a cluster tells a pod of its address has no brackets.
    host = found[1].strip("[]")
    return f"[{host}]:{found[3]}" if ":" in host else value


def _address_or_nothing(value: str) -> str:
    return _address(value) if value else value


Address = Annotated[str, AfterValidator(_address)]
AddressOrNothing = Annotated[str, AfterValidator(_address_or_nothing)]


class RoleSettings(BaseSettings):
    """Where each role listens, where the edge finds the others, and how they end."""

    web_bind: Address = Field("127.0.0.1:8201", description="Where the role web listens for the edge.")
    gate_bind: Address = Field("127.0.0.1:8202", description="Where the role gate listens for the edge's questions.")
    relay_bind: Address = Field(
        "127.0.0.1:8203",
        description="Where the role gate listens for the WebSockets of environments, which pass through it.",
    )
    relay_upstream: AddressOrNothing = Field(
        "",
        description="How the edge reaches the relay of this very replica, such as the address of its pod with the "
        "port; empty means where it listens.",
    )
    health_bind: Address = Field(
        "127.0.0.1:8204",
        description="Where each role answers /health/live and /health/ready. The edge leads nobody there.",
    )
    web_upstream: Address = Field("127.0.0.1:8201", description="Where the role edge finds the role web.")
    gate_upstream: Address = Field("127.0.0.1:8202", description="Where the role edge finds the role gate.")
    linger_seconds: int = Field(
        0,
        ge=0,
        le=300,
        description="How long a role that is told to end still takes requests, until whoever leads them to it has "
        "noticed that it is ready no more.",
    )
    drain_seconds: int = Field(
        20, ge=0, le=3600, description="How long a role that is told to end lets what is under way finish."
    )
