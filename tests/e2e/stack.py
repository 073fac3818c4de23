"""Service and LiveKit server, each knowing the other."""

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
    origin: str  # of the page, which the service allows

    def logs(self) -> list[tuple[str, str]]:
        return [("service", self.service.log_tail()), ("livekit-server", self.livekit.log_tail())]


@contextlib.contextmanager
def start_stack(
    binary: Path, folder: Path, *, database_url: str, origin: str, env: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """Both running, with their logs and configuration in `folder`; ended in the end, whatever a test did to them.

    `env` is more environment for the service. Missing where LiveKit can't run.
    """
    # LiveKit must know where the service will be, and the service, which starts after it, where LiveKit is.
    port = free_port()
    livekit = LiveKitServer(binary, folder, webhook_urls=[webhook_url(port)])
    service: Service | None = None
    try:
        livekit.start()
        service = Service(
            folder, port=port, database_url=database_url, livekit=livekit, allowed_origins=origin, env=env
        )
        service.start()
        yield Stack(service, livekit, origin)
    finally:
        if service is not None:
            service.stop()
        livekit.stop()
