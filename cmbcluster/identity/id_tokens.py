"""Whether an ID token is true: its signature first, then every claim.

The library checks formats and hashes; what it lets pass by default is refused here. A token
must never be believed because of what it says about itself: the algorithms, the issuer and
the audience are ours to say.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Iterable, Mapping
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError

from cmbcluster.identity.documents import PublicKey
from cmbcluster.provider_settings import ProviderSettings

LEEWAY_SECONDS = 60
TOKEN_LIMIT = 64 * 1024
SUBJECT_LIMIT = 255


class Unbelievable(Exception):
    """The token is not to be believed; the text says why, for the log, without any of its values."""


class WrongTime(Unbelievable):
    """Its times do not fit ours: it is old, or one of the two clocks is wrong."""


def read_header(token: object, allowed: Iterable[str]) -> Mapping[str, Any]:
    """The header of a token that is signed in an allowed way."""
    if not isinstance(token, str) or len(token) > TOKEN_LIMIT or token.count(".") != 2:
        raise Unbelievable("there is no ID token of a usable form")
    first = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except (binascii.Error, ValueError, RecursionError) as wrong:
        raise Unbelievable("the ID token has no header") from wrong
    if not isinstance(header, dict) or header.get("alg") not in tuple(allowed):
        raise Unbelievable("the ID token is signed with an algorithm that is not allowed")
    if "crit" in header or str(header.get("typ", "JWT")).upper() != "JWT":
        # An access token may carry the same claims, but says of itself what it is.
        raise Unbelievable("this is another kind of token than an ID token")
    if not isinstance(header.get("kid", ""), str):
        raise Unbelievable("the key id of the ID token is no text")
    return header


def checked_claims(token: str, algorithm: str, keys: Iterable[PublicKey]) -> dict[str, Any]:
    """The claims, if one of the keys signed them."""
    for key in keys:
        try:
            return dict(jwt.decode(token, key, algorithms=[algorithm]).claims)
        except (JoseError, ValueError, TypeError, RecursionError):
            continue
    raise Unbelievable("no key of the provider made the signature of the ID token")


def check_claims(
    claims: Mapping[str, Any],
    header: Mapping[str, Any],
    provider: ProviderSettings,
    *,
    nonce: str,
    access_token: str,
    now: float,
) -> None:
    """Raise Unbelievable unless the claims were made for us, for this sign-in, and now."""
    if claims.get("iss") != provider.issuer:
        raise Unbelievable("the ID token is of another issuer")
    _check_audience(claims, provider.client_id)
    _check_times(claims, now)
    found = claims.get("nonce")
    if not isinstance(found, str) or not hmac.compare_digest(found.encode(), nonce.encode()):
        raise Unbelievable("the nonce of the ID token is not that of this sign-in")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.strip() or len(subject) > SUBJECT_LIMIT or not subject.isprintable():
        raise Unbelievable("the ID token names nobody")
    rules = CodeIDToken(
        dict(claims),
        dict(header),
        options={"iss": {"essential": True, "value": provider.issuer}},
        params={"nonce": nonce, "client_id": provider.client_id, "access_token": access_token},
    )
    try:
        rules.validate(now=int(now), leeway=LEEWAY_SECONDS)
    except (JoseError, ValueError, TypeError) as wrong:
        raise Unbelievable(f"the ID token is not well formed: {type(wrong).__name__}") from wrong


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    party = claims.get("azp")
    if client_id not in named:
        raise Unbelievable("the ID token is for another client")
    if party is not None and party != client_id:
        raise Unbelievable("the ID token was given to another client")
    if len(named) > 1 and party != client_id:
        raise Unbelievable("the ID token is for others too, and does not say that it was given to us")


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    times = {name: claims[name] for name in ("exp", "iat", "nbf") if name in claims}
    if not {"exp", "iat"} <= times.keys():
        raise Unbelievable("the ID token does not say when it was made and until when it holds")
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in times.values()):
        raise Unbelievable("a time of the ID token is no number")
    if times["exp"] <= now - LEEWAY_SECONDS:
        raise WrongTime("the ID token has expired")
    if max(times["iat"], times.get("nbf", 0)) > now + LEEWAY_SECONDS:
        raise WrongTime("the ID token is of the future")
