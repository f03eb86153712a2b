"""The local runtime keeps the contract at the levels this machine has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cmbcluster.domain.sources import Lock
from cmbcluster.runtime.local.runtime import LocalRuntime
from cmbcluster.runtime.port import Spec
from tests.contracts.runtime_contract import OpenRuntime, RuntimeContract
from tests.runtime.place import PYTHON, make_spec, python, server, settings_for

COMMANDS = {
    "serves": server(),
    "slow": python("import time; time.sleep(60)"),
    "exits": python("import sys; print('going'); sys.exit(3)"),
    "never_ready": python("import time; print('waiting', flush=True); time.sleep(60)"),
    "broken_build": server(),
}


class LocalContract(RuntimeContract):
    level: str | None = None

    @pytest.fixture
    async def runtime(self, data: Path) -> AsyncIterator[OpenRuntime]:
        opened = LocalRuntime(settings_for(data), at_level=self.level)
        await opened.open()
        assert opened.isolation.level == (self.level or "own-network")
        yield opened
        await opened.close()

    def spec(self, runtime: OpenRuntime, slug: str, kind: str, generation: int = 1) -> Spec:
        broken = Lock(text="this is not a lock\n", python=PYTHON, packages=1)
        return make_spec(
            slug,
            COMMANDS[kind],
            generation=generation,
            ready_within_seconds=1 if kind == "never_ready" else 30,
            **({"lock": broken} if kind == "broken_build" else {}),  # type: ignore[arg-type]
        )


@pytest.mark.sandbox
class TestOwnNetwork(LocalContract):
    level = None


class TestNone(LocalContract):
    level = "none"
