"""The bus of one process keeps the contract."""

from __future__ import annotations

import pytest

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.bus.port import Bus
from tests.contracts.bus_contract import BusContract


class TestMemoryBus(BusContract):
    @pytest.fixture
    def bus(self) -> Bus:
        return MemoryBus()

    @pytest.fixture
    def other(self, bus: Bus) -> Bus:
        return bus

    async def test_nothing_stays_of_those_who_left(self, bus: Bus) -> None:
        assert isinstance(bus, MemoryBus)
        for number in range(1000):
            async with bus.subscribe(f"user:{number}", "gate"):
                pass
        assert not bus._subscribers
