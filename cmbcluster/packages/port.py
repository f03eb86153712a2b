"""The contract of the resolver: a source in, a lock out.

The control plane resolves once; every runtime then installs the same files. A resolver
must never install anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cmbcluster.domain.sources import Lock, PythonSource


@dataclass(frozen=True)
class Interpreter:
    """A Python found on this machine. ``version`` is like ``3.12.1``."""

    version: str
    path: str


class Resolver(Protocol):
    """Resolves sources. Safe to call many times at once; equal sources resolve once."""

    async def resolve(self, source: PythonSource) -> Lock:
        """The newest lock of the source (as of its date).

        Raises BuildFailed for what the source's author can mend (an unknown package, a
        conflict, a missing Python version) and PackagesUnavailable when the index does
        not answer.
        """

    async def interpreters(self) -> tuple[Interpreter, ...]:
        """The Python versions environments can be built with here, newest first."""
