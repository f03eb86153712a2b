"""The gate's question and answer: may this request reach this environment, and where is it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from cmbcluster.domain.views import EnvironmentView
from cmbcluster.settings import SESSION_COOKIE

__all__ = ["ENVIRONMENT_COOKIE", "SESSION_COOKIE", "SIGN_IN_COOKIE", "GateAnswer", "Verdict"]
ENVIRONMENT_COOKIE = "cmb_environment"
SIGN_IN_COOKIE = "cmb_sign_in"


class Verdict(StrEnum):
    """What the gate found. Only PASS lets a request through."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    SIGN_IN = "sign_in"  # no cookie, or its session has ended: go through ``open_url``
    NO_SCOPE = "no_scope"  # a token that may not reach environments, whichever it asks for
    NOT_YOURS = "not_yours"  # missing and somebody else's look the same
    AT_REST = "at_rest"  # stopped or failed; ``environment`` says why
    LAUNCHING = "launching"
    UNSEEN = "unseen"  # running as far as known, but no address is recorded


@dataclass(frozen=True)
class GateAnswer:
    """``host`` and ``port`` are set with PASS only; they come from the reconciler's record.

    ``guest``: the environment is somebody else's who shares it, so nothing is said of it but
    its name and whether it runs.
    """

    verdict: Verdict
    host: str = ""
    port: int = 0
    open_url: str = ""
    environment: EnvironmentView | None = None
    guest: bool = False


def named_cookies(header: str) -> Iterator[tuple[str, str]]:
    """Name and whole text of each cookie of a Cookie header, as browsers write it.

    Split at semicolons alone, quoted or not: what looks for our cookie and what takes it out
    of the request must never see different cookies in one header.
    """
    for part in header.split(";"):
        text = part.strip()
        if text:
            yield text.partition("=")[0].strip(), text


def cookie_value(header: str, wanted: str) -> str:
    """The value of a cookie, or nothing; of several, the first, whose path is the longest."""
    for name, text in named_cookies(header):
        if name == wanted:
            return text.partition("=")[2].strip()
    return ""
