"""Every error this package raises on purpose, as one tree.

    CMBClusterError
    ├── UserError            its text may be shown to a user as it stands
    │   ├── NotFound         also what another person's object answers
    │   ├── Forbidden
    │   ├── NotSignedIn
    │   ├── QuotaExceeded
    │   ├── Conflict         somebody or something was there first
    │   ├── TooManyRequests  more often than the platform takes; carries the seconds to wait
    │   ├── InvalidInput     carries the field it is about
    │   ├── Unstorable       a value that no database column takes
    │   └── SignInFailed     a sign-in at a provider that cannot be completed
    ├── DependencyError      something we rely on did not answer; retryable or not
    │   ├── RuntimeUnavailable
    │   ├── PackagesUnavailable
    │   ├── RegistryUnavailable
    │   ├── IdentityUnavailable
    │   └── DatabaseUnavailable
    ├── BuildFailed          packages or an image could not be had; text may be shown
    └── StartRefused         the platform itself cannot start; text goes to the terminal

A sentence here says what happened and what to do next. Adapters translate what their
libraries raise into this tree and chain the original; nobody above an adapter sees a
client library's exception. This module must never import another of ours.
"""

from __future__ import annotations


class CMBClusterError(Exception):
    """Base of everything raised on purpose."""


class UserError(CMBClusterError):
    """An error whose text is written for the person who caused it.

    ``what`` says what happened, ``then`` what to do next; ``str()`` joins them.
    """

    status = 400

    def __init__(self, what: str, then: str = "") -> None:
        self.what = what
        self.then = then
        super().__init__(f"{what} {then}".strip())


class NotFound(UserError):
    """The object does not exist, or belongs to somebody else: the words are the same."""

    status = 404


class Forbidden(UserError):
    """The actor is known and may not do this."""

    status = 403


class NotSignedIn(UserError):
    """There is no session, or it has ended."""

    status = 401

    def __init__(self, what: str = "You are not signed in.", then: str = "Sign in and try again.") -> None:
        super().__init__(what, then)


class QuotaExceeded(UserError):
    """A limit of the person's tier would be passed."""

    status = 409


class Conflict(UserError):
    """The object changed, or something else holds what was asked for."""

    status = 409


class TooManyRequests(UserError):
    """Asked more often than the platform takes. ``retry_after_seconds`` says how long to wait."""

    status = 429

    def __init__(self, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        wait = f"{retry_after_seconds} s" if retry_after_seconds < 120 else f"{-(-retry_after_seconds // 60)} min"
        super().__init__("That was too often in a short time.", f"Try again in {wait}.")


class InvalidInput(UserError):
    """A value cannot be used. ``field`` names the form field it belongs to."""

    status = 422

    def __init__(self, field: str, what: str, then: str = "") -> None:
        self.field = field
        super().__init__(what, then)


class Unstorable(UserError):
    """A value is too long, too large, or has characters that are none; a check before should have said so."""

    status = 422

    def __init__(self) -> None:
        super().__init__(
            "Something given is too long, or has characters that cannot be kept.", "Shorten it, or type it again."
        )


class SignInFailed(UserError):
    """A sign-in at a provider cannot be completed. ``why`` is for the log, without secrets."""

    def __init__(self, what: str, then: str = "", *, why: str = "") -> None:
        self.why = why
        super().__init__(what, then)


class DependencyError(CMBClusterError):
    """Something we rely on failed. ``retryable`` says whether trying again can help."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        self.retryable = retryable
        super().__init__(message)


class RuntimeUnavailable(DependencyError):
    """The runtime could not be asked, so nothing is known about environments."""


class PackagesUnavailable(DependencyError):
    """The package index did not answer."""


class RegistryUnavailable(DependencyError):
    """A registry of container images did not answer."""


class IdentityUnavailable(DependencyError):
    """An identity provider did not answer, or not in a way that makes sense."""


class DatabaseUnavailable(DependencyError):
    """The database did not answer."""


class BuildFailed(CMBClusterError):
    """Packages could not be resolved or installed, or an image cannot be used.

    ``what`` and ``then`` are shown to the user; ``log_tail`` holds the last lines of the tool.
    """

    def __init__(self, what: str, then: str, log_tail: str = "") -> None:
        self.what = what
        self.then = then
        self.log_tail = log_tail
        super().__init__(f"{what} {then}".strip())


class StartRefused(CMBClusterError):
    """The platform cannot start; the text says why and how to mend it."""
