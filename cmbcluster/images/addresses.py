"""Which addresses the platform may connect to when somebody else chose the name.

A name is looked up once, what it leads to is judged here, and the connection goes to that
very address: a name that changes its mind in between changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = Callable[[str, int], Awaitable[tuple[str, ...]]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Of clouds whose services for machines are at an address that is neither link-local nor private.
_METADATA = frozenset(
    ipaddress.ip_address(each) for each in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)


async def look_up(host: str, port: int) -> tuple[str, ...]:
    """The addresses of a name, the best first; raises OSError when there are none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet."""
    bare = _bare(address)
    # Python calls the addresses of a site, which nobody has used since 2004, global.
    of_a_site = isinstance(bare, ipaddress.IPv6Address) and bare.is_site_local
    return bare is not None and bare.is_global and not of_a_site and not _never(bare)


def is_possible(address: str) -> bool:
    """Whether an address may belong to a registry that the operator calls internal.

    Never those of clouds' metadata services and of other link-local things.
    """
    bare = _bare(address)
    return bare is not None and not _never(bare)


def _never(address: IPAddress) -> bool:
    return (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.is_reserved and not address.is_loopback)
        or address in _METADATA
    )


def _bare(address: str) -> IPAddress | None:
    """The address that is really meant by one that wraps another; None for what is no address."""
    try:
        found: IPAddress = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None or found.teredo is not None:
            return None
        wrapped = found.ipv4_mapped or found.sixtofour
        if wrapped is None and found in _NAT64:
            wrapped = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        # Forms that nobody uses any more, such as ::127.0.0.1, are no way around either.
        if wrapped is None and int(found) >> 32 == 0 and not found.is_loopback:
            wrapped = ipaddress.IPv4Address(int(found))
        return wrapped or found
    return found
