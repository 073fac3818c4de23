"""The history of an interview and its webhooks: a candidate joins, meets an agent, drops once and finishes."""

from collections.abc import Iterator, Sequence

from benchmarks.interviews import Candidate
from benchmarks.servers import LIVEKIT_KEY, LIVEKIT_SECRET
from benchmarks.wrk import http_request
from simulator.events import Event, Placement, events_of, sign
from simulator.history import Connection, History, Result, Role, Room, millis

RELOAD = 1.0  # seconds between a candidate's leave, when it reloads its page, and its return
BY_CHOICE = "CLIENT_INITIATED"


def story(name: str, talk: float) -> History:
    """Return an interview in which candidate and agent talk twice for `talk` seconds, and the agent reports the end."""
    met = 0.5
    dropped = met + talk
    back = dropped + RELOAD
    over = back + talk
    room = f"RM_{name}"

    def visit(sid: str, role: Role, joined: float, left: float, outcome: str | None = None) -> Connection:
        identity = f"agent-{name}" if role is Role.AGENT else ""
        at = millis(left)
        return Connection(f"PA_{sid}{name}", room, role, identity, millis(joined), at, at, BY_CHOICE, outcome)

    return History(
        name=name,
        scenario="benchmark",
        expected=Result("COMPLETED", "AGENT_REPORTED", millis(met), millis(over)),
        max_duration=1800,
        connections=(
            visit("first", Role.CANDIDATE, 0.1, dropped),
            visit("agent", Role.AGENT, met, over, "completed"),
            visit("second", Role.CANDIDATE, back, over + 0.2),
        ),
        rooms=(Room(room, 0, millis(over + 0.4)),),
    )


def place_of(candidate: Candidate, origin: int) -> Placement:
    """Return the room of this candidate's story; `origin` is its start in milliseconds since 1970."""
    return Placement(f"interview-{candidate.interview_id}", f"candidate-{candidate.candidate_id}", origin)


def interleaved(histories: Sequence[tuple[History, Placement]], concurrency: int) -> Iterator[Event]:
    """Yield all events, in order per room, alternating between `concurrency` rooms."""
    for first in range(0, len(histories), concurrency):
        rooms = [events_of(history, place) for history, place in histories[first : first + concurrency]]
        for number in range(max(map(len, rooms))):
            yield from (events[number] for events in rooms if number < len(events))


def webhook_headers(raw: bytes, now: float) -> dict[str, str]:
    """Return the headers of a webhook that LiveKit would sign at `now`, in seconds since 1970."""
    signature = sign(raw, key=LIVEKIT_KEY, secret=LIVEKIT_SECRET, now=now)
    return {"Authorization": signature, "Content-Type": "application/webhook+json"}


def webhook_request(event: Event, now: float) -> bytes:
    """Return a signed webhook as it goes over the wire."""
    return http_request("POST", "/webhooks/livekit", webhook_headers(event.raw, now), event.raw)
