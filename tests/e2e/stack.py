"""A service and a LiveKit server that are configured for each other."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.livekit_server import LiveKitServer
from tests.e2e.processes import free_port
from tests.e2e.service import Service, webhook_url


@dataclass(frozen=True)
class Stack:
    service: Service
    livekit: LiveKitServer
    origin: str  # of the page; the service allows it
    replicas: tuple[Service, ...] = ()  # further services on the same database, with the same webhooks

    @property
    def services(self) -> tuple[Service, ...]:
        return (self.service, *self.replicas)

    def logs(self) -> list[tuple[str, str]]:
        services = [("service", service.log_tail()) for service in self.services]
        return [*services, ("livekit-server", self.livekit.log_tail())]


@contextlib.contextmanager
def start_stack(
    binary: Path,
    folder: Path,
    *,
    database_url: str,
    origin: str,
    env: Mapping[str, str] | None = None,
    replicas: int = 0,
) -> Iterator[Stack]:
    """Start a stack with logs and configuration in `folder`, and stop it at the end.

    `env` is added to the service's environment, `replicas` are added services. Raises Missing if LiveKit cannot run.
    """
    # LiveKit needs the services' URLs before they start.
    ports = [free_port() for _ in range(replicas + 1)]
    livekit = LiveKitServer(binary, folder, webhook_urls=[webhook_url(port) for port in ports])
    services: list[Service] = []
    try:
        livekit.start()
        for number, port in enumerate(ports):
            own = folder / f"replica-{number}" if number else folder
            own.mkdir(exist_ok=True)
            service = Service(
                own, port=port, database_url=database_url, livekit=livekit, allowed_origins=origin, env=env
            )
            services.append(service)
            service.start()
        yield Stack(services[0], livekit, origin, tuple(services[1:]))
    finally:
        for service in services:
            service.stop()
        livekit.stop()
