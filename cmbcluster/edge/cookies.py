"""What an application must never do with cookies, said once for the edge and for the relay.

The rules are regular expressions that Caddy and Python read alike. They must never let a
cookie of an application reach beyond its own host, nor stand under a name of ours.
"""

from __future__ import annotations

import re

DOMAIN_ATTRIBUTE = r"(?i);\s*domain\s*=[^;]*"
# Equals signs in front make a cookie without a name, whose value a browser then sends back as
# if it were a name.
OF_OURS = r"(?i)^[\s=]*(__host-|__secure-)?cmb_(session|sign_in|environment|return)\s*=.*"

_DOMAIN_ATTRIBUTE = re.compile(DOMAIN_ATTRIBUTE)
_OF_OURS = re.compile(OF_OURS)


def kept_set_cookie(value: str) -> str:
    """The value of a Set-Cookie header as it may go on, or nothing when it may not."""
    return "" if _OF_OURS.match(value) else _DOMAIN_ATTRIBUTE.sub("", value)
