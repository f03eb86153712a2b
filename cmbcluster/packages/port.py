"""The contract of the resolver: a source in, a lock out.

The control plane resolves once; every runtime then installs the same files. A resolver
must never install anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import Lock, PythonSource
from cmbcluster.errors import BuildFailed


class PackagesFailed(BuildFailed):
    """A BuildFailed that also says which StopReason it is for an environment's row."""

    def __init__(self, reason: StopReason, what: str, then: str, log_tail: str = "") -> None:
        self.reason = reason
        super().__init__(what, then, log_tail)


@dataclass(frozen=True)
class Interpreter:
    """A Python found on this machine. ``version`` is like ``3.12.1``."""

    version: str
    path: str


class Resolver(Protocol):
    """Resolves sources. Safe to call many times at once; equal sources resolve once."""

    async def resolve(self, source: PythonSource) -> Lock:
        """The newest lock of the source (as of its date).

        Raises PackagesFailed (a BuildFailed) for what the source's author or the machine's
        owner can mend: an unknown package, a conflict, a missing Python version, a full
        disk. Raises PackagesUnavailable when the index does not answer.
        """

    async def interpreters(self) -> tuple[Interpreter, ...]:
        """The Python versions environments can be built with here, newest first."""
