"""What the addresses in settings may look like, and where they lead.

Errors are sentences for the person who wrote the setting, and must never repeat what was
written: passwords are in it.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

USUAL_PORTS = {"http": 80, "https": 443}


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_local(host: str) -> bool:
    """Whether a name leads to this machine alone, in every browser."""
    return host == "localhost" or host.endswith(".localhost") or is_loopback(host)


def public_address(url: str) -> tuple[str, str]:
    """The address as browsers write it in ``Origin``, and its host; ValueError for anything else."""
    try:
        parts = urlsplit(url.lower())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    plain = f"{parts.scheme}://{host}"
    if parts.scheme not in USUAL_PORTS or not host or url.lower() not in (plain, f"{plain}:{port}"):
        raise ValueError("CMB_PUBLIC_URL must be scheme and host alone. Write it like https://cmb.example.org.")
    return (plain if port in (None, USUAL_PORTS[parts.scheme]) else f"{plain}:{port}"), host


def redis_address(url: str) -> str:
    """The address when a client can use it; ValueError, without the password in it, for anything else."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    database = parts.path.strip("/") if usable else ""
    if not usable or parts.query or parts.fragment or not (database.isdecimal() or not database):
        raise ValueError(
            "This is no address of a Redis. Write it like redis://:password@host:6379/0, or rediss:// over TLS."
        )
    return url
