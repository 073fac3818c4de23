"""Stream: the time and CPU from a change until the last of many subscribers has received it."""

import asyncio
import statistics
from contextlib import AsyncExitStack

import aiohttp

from benchmarks.interviews import Candidate, add_interviews, drop_database, make_database
from benchmarks.options import Bench
from benchmarks.results import Section, megabytes, microseconds, milliseconds
from benchmarks.servers import AUTHORIZED, RunningServer, ours, run_server
from benchmarks.tools import BenchmarkFailed
from benchmarks.wrk import http_request

CHANGES = 20  # per round
APART = 0.2  # seconds between two changes
TIMEOUT = 10.0  # seconds until all must have received the change


class Subscriber(asyncio.Protocol):
    """An open stream, read with minimal work, that records when it receives a text."""

    def __init__(self) -> None:
        self.wanted = b"event: ready"
        self.received: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._heard = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.write(http_request("GET", "/interviews/stream", AUTHORIZED))

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self.wanted in self._heard and not self.received.done():
            self.received.set_result(asyncio.get_running_loop().time())

    def expect(self, wanted: bytes) -> None:
        """Reset the buffer; `received` becomes the loop's time at which that text arrives."""
        self._heard.clear()
        self.wanted, self.received = wanted, asyncio.get_running_loop().create_future()


def measure(bench: Bench) -> Section:
    """Cancel one interview after the other, with many subscribers."""
    url = make_database(bench.postgres, "stream")
    try:
        cancelled = add_interviews(url, CHANGES * bench.options.rounds)
        with run_server(ours(), url, bench.folder) as server:
            before = server.cpu_seconds()
            took = asyncio.run(_listen(server, cancelled, bench.options.listeners))
            used = server.cpu_seconds() - before
            return _section(took, used, server.peak(), bench.options.listeners)
    finally:
        drop_database(bench.postgres, "stream")


async def _listen(server: RunningServer, cancelled: list[Candidate], count: int) -> list[tuple[float, float]]:
    """Return for each change the seconds from the call until the first and the last subscriber received it."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as open_streams:
        listeners = []
        for _ in range(count):
            transport, listener = await loop.create_connection(Subscriber, "127.0.0.1", server.port)
            open_streams.callback(transport.close)
            listeners.append(listener)
        await _all_received(listeners)
        async with aiohttp.ClientSession(server.url, headers=AUTHORIZED) as session:
            return [await _change(session, candidate, listeners) for candidate in cancelled]


async def _change(
    session: aiohttp.ClientSession, candidate: Candidate, listeners: list[Subscriber]
) -> tuple[float, float]:
    await asyncio.sleep(APART)
    for listener in listeners:
        listener.expect(str(candidate.interview_id).encode())
    began = asyncio.get_running_loop().time()
    async with session.post(f"/interviews/{candidate.interview_id}/cancel", json={}) as answer:
        if answer.status != 200:
            raise BenchmarkFailed(f"a cancel was answered {answer.status}: {await answer.text()}")
    received = await _all_received(listeners)
    return min(received) - began, max(received) - began


async def _all_received(listeners: list[Subscriber]) -> list[float]:
    try:
        async with asyncio.timeout(TIMEOUT):
            return await asyncio.gather(*(listener.received for listener in listeners))
    except TimeoutError:
        raise BenchmarkFailed(f"Not all of {len(listeners)} listeners had heard within {TIMEOUT:g} s.") from None


def _section(took: list[tuple[float, float]], used: float, peak: int, listeners: int) -> Section:
    first, last = (sorted(each) for each in zip(*took, strict=True))
    return Section(
        title="Stream",
        about=f"{listeners} listeners of one organization, {len(took)} cancels, {APART * 1e3:.0f} ms apart: the time "
        "from the call, which commits first, until a listener has the change. There is no goal for it.",
        header=("", "p50", "slowest"),
        rows=[
            ["the first listener", milliseconds(statistics.median(first)), milliseconds(first[-1])],
            ["the last listener", milliseconds(statistics.median(last)), milliseconds(last[-1])],
        ],
        notes=[
            f"CPU a change and listener {microseconds(used / len(took) / listeners)}, peak memory {megabytes(peak)}."
        ],
        goals=[],
        raw={"first": first, "last": last, "cpu": used, "peak": peak},
    )
