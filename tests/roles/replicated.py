"""Two replicas of each role behind Services, and people who come by one address."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tests.edge.stand_ins import free_port
from tests.roles.pairs import Pairs
from tests.roles.service import Replica, Service, rolled

REPLICAS = 2


@dataclass
class Replicated(Pairs):
    """Two replicas of each role behind Services."""

    services: dict[str, Service] = field(default_factory=dict)
    numbers: int = 0

    async def start(self, **changes: str) -> None:
        """Migrate, and return when every replica gets requests."""
        made = {"edge": self.roles.port} | {role: free_port() for role in ("web", "gate", "controller")}
        self.services = {role: Service(role, port) for role, port in made.items()}
        self.roles.settings |= changes | {
            "CMB_PUBLIC_URL": self.roles.url,
            "CMB_WEB_UPSTREAM": f"127.0.0.1:{made['web']}",
            "CMB_GATE_UPSTREAM": f"127.0.0.1:{made['gate']}",
        }
        await asyncio.to_thread(self.roles.migrate)
        for service in self.services.values():
            service.replicas += [self.replica(service.role) for _ in range(REPLICAS)]
            await service.open()
        await asyncio.gather(
            *(service.until_led_to(each) for service in self.services.values() for each in service.replicas)
        )
        for service in self.services.values():
            # Edges that were there first have knocked until then.
            service.refused = 0

    def replica(self, role: str) -> Replica:
        """One more, on ports of its own."""
        port = free_port()
        self.numbers += 1
        binds = {
            "CMB_PORT": str(port),
            "CMB_WEB_BIND": f"127.0.0.1:{port}",
            "CMB_GATE_BIND": f"127.0.0.1:{port}",
            "CMB_RELAY_BIND": f"127.0.0.1:{free_port()}",
            "CMB_DATA_DIR": f"{self.roles.settings['CMB_DATA_DIR']}-{self.numbers}",
        }
        return Replica(self.roles.start(role, **binds), port)

    def said_by(self, role: str) -> str:
        """The last lines of every process of a role, those that have ended too."""
        logs = [each.log.read_text() for each in self.roles.started if each.role == role]
        return "\n\n".join("\n".join(log.splitlines()[-40:]) for log in logs)

    def port_of(self, _which: int) -> int:
        """All browsers come by the one address."""
        return self.roles.port

    async def roll(self) -> None:
        """Replace every replica of every role, all roles at once, as ``helm upgrade`` does."""
        await asyncio.gather(*(self._rolled(service) for service in self.services.values()))

    async def _rolled(self, service: Service) -> None:
        await rolled(service, lambda: self.replica(service.role))

    async def close(self) -> None:
        """Close the Services."""
        for service in self.services.values():
            await service.close()
