"""Builds the history of one interview step by step."""

from dataclasses import replace
from random import Random

from simulator.history import AgentReport, Connection, History, Result, Role, Room, millis
from simulator.timing import DETECTION_TIME, MARGIN, Timing

# LiveKit's sids and ids: a prefix and twelve of these
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


def make_sid(rng: Random, prefix: str) -> str:
    return prefix + "".join(rng.choices(LETTERS, k=12))


class HistoryBuilder:
    """Each method adds what happens at `now`, in milliseconds. Pauses are given in seconds.

    A scenario calls `expect_end` or `expect_running` once to state the correct result.
    """

    def __init__(self, rng: Random, timing: Timing) -> None:
        self.rng = rng
        self.timing = timing
        self.now = 0
        self.max_duration = 1800
        self.closes: int | None = None
        self.tokens: list[int] = []
        self.reports: list[AgentReport] = []
        self.deletions: list[int] = []
        self.cancelled: int | None = None
        self.rooms: list[Room] = []
        self.closed: list[Connection] = []
        self.open: dict[Role, Connection] = {}
        self.candidate_missing_since: int | None = None  # when LiveKit noticed that the candidate left the room
        self.started: int | None = None
        self.expected: Result | None = None

    # Time

    def pause(self, shortest: float, longest: float | None = None) -> None:
        self._advance(self.now + millis(self.rng.uniform(shortest, longest or shortest)))

    def talk(self) -> None:
        self.pause(self.timing.shortest_talk, self.timing.longest_talk)

    def _advance(self, to: int) -> None:
        """Set the clock. LiveKit closes a room some time after the candidate left, even if others are in it."""
        missing_since = self.candidate_missing_since
        closing = None if missing_since is None else missing_since + millis(self.timing.departure_timeout)
        if closing is not None and closing <= to:
            self.now = max(self.now, closing)
            for role in list(self.open):
                self._leave(role, "ROOM_CLOSED")
            self._finish_room(after=self.rng.randint(0, 5))
        self.now = max(self.now, to)

    # The candidate

    def request_token(self) -> None:
        self.tokens.append(self.now)

    def candidate_joins(self) -> None:
        """Join, the first time with a new token. LiveKit ends an old connection that it still believes to be open."""
        if not self.tokens:
            self.request_token()
            self.pause(0.4, 1.5)
        self._open_room()
        self._replace_undetected()
        self.candidate_missing_since = None
        self._join(Role.CANDIDATE, "")

    def _replace_undetected(self) -> None:
        for index, connection in enumerate(self.closed):
            if connection.role is Role.CANDIDATE and connection.noticed is not None and connection.noticed > self.now:
                self.closed[index] = replace(connection, noticed=self.now - 30, reason="DUPLICATE_IDENTITY")

    def candidate_leaves(self, reason: str = "CLIENT_INITIATED") -> None:
        self._leave(Role.CANDIDATE, reason)

    def candidate_disconnects(self) -> None:
        self._leave(Role.CANDIDATE, "CONNECTION_TIMEOUT")

    def second_device_joins(self) -> None:
        """LiveKit removes the old sid just before it reports the new one as joined."""
        self._leave(Role.CANDIDATE, "DUPLICATE_IDENTITY")
        self.candidate_missing_since = None
        self.now += self.rng.randint(10, 60)
        self._join(Role.CANDIDATE, "")

    def candidate_gets_no_media(self) -> None:
        """LiveKit gives up after 60 s on a browser whose media does not connect, and closes its room 300 s later."""
        self._open_room()
        sid = make_sid(self.rng, "PA_")
        left = self.now + millis(60)
        self.closed.append(
            Connection(
                sid, self.rooms[-1].sid, Role.CANDIDATE, "", self.now, left, left, reason="JOIN_FAILURE", media=False
            )
        )
        self.rooms[-1] = replace(self.rooms[-1], finished=left + millis(300))

    # The agent

    def agent_joins(self, outcome: str | None = None, *, dispatched: bool = False) -> None:
        self._open_room()
        self._join(Role.AGENT, f"agent-{make_sid(self.rng, 'AJ_')}", outcome, dispatched=dispatched)

    def agent_leaves(self, outcome: str | None = None, reason: str = "CLIENT_INITIATED") -> None:
        """Leave after announcing `outcome`; without it, the announcement made before stays."""
        if outcome:
            self.agent_announces(outcome)
        self._leave(Role.AGENT, reason)

    def agent_announces(self, outcome: str) -> None:
        """Set the attribute interview.outcome."""
        self.open[Role.AGENT] = replace(self.open[Role.AGENT], outcome=outcome)

    def agent_crashes(self) -> None:
        self._leave(Role.AGENT, "CONNECTION_TIMEOUT")

    def agent_reports(self, outcome: str) -> None:
        """Call POST .../complete."""
        self.reports.append(AgentReport(self.now, outcome))

    def meet(self, outcome: str | None = None) -> None:
        """Candidate and agent join; in one of five interviews the agent is first."""
        if self.rng.random() < 0.2:
            self.request_token()
            self.pause(0.4, 1.5)
            self.agent_joins(outcome)
            self.pause(0.2, 4)
            self.candidate_joins()
        else:
            self.candidate_joins()
            self.pause(0.2, 4)
            self.agent_joins(outcome)

    # Others, the room, the server

    def recruiter_joins(self) -> None:
        self._join(Role.RECRUITER, f"recruiter-{self.rng.randint(1, 99)}")

    def recruiter_leaves(self) -> None:
        self._leave(Role.RECRUITER, "CLIENT_INITIATED")

    def avatar_joins(self) -> None:
        self._join(Role.AVATAR, f"avatar-{self.rng.randint(1, 99)}")

    def avatar_leaves(self) -> None:
        self._leave(Role.AVATAR, "CLIENT_INITIATED")

    def listener_joins(self) -> None:
        """A hidden agent joins and stays. It is not the agent that the candidate waits for."""
        self._open_room()
        self._join(Role.LISTENER, f"listener-{self.rng.randint(1, 99)}")

    def cancel(self) -> None:
        self.cancelled = self.now

    def delete_room(self) -> None:
        """Delete the room, but not as the deployment: all leave within 0.06 s, the candidate first."""
        self.deletions.append(self.now)
        for role in sorted(self.open, key=lambda role: role is not Role.CANDIDATE):
            self._leave(role, "ROOM_DELETED")
            self.now += self.rng.randint(5, 20)
        self._finish_room(after=self.rng.randint(0, 10))

    def kill_server(self) -> None:
        """LiveKit sends no more events about the room and the participants in it."""
        self.closed += [replace(connection, left=self.now) for connection in self.open.values()]
        self.open.clear()
        self.candidate_missing_since = None
        self.rooms[-1] = replace(self.rooms[-1], killed=self.now)

    def _open_room(self) -> None:
        if not self.rooms or self.rooms[-1].ended is not None:
            self.rooms.append(Room(make_sid(self.rng, "RM_"), self.now))
            self.now += self.rng.randint(50, 250)

    def _finish_room(self, after: int = 0) -> None:
        self.rooms[-1] = replace(self.rooms[-1], finished=self.now + after)
        self.candidate_missing_since = None

    # The result

    def expect_end(self, status: str, reason: str | None = None, *, after: float = 0, at: int | None = None) -> None:
        """State the correct result: the interview ends `after` seconds from now, or at the instant `at`."""
        ended = self.now + millis(after) if at is None else at
        self.expected = Result(status, reason, self.started, ended)

    def expect_running(self, status: str) -> None:
        """State the correct result of an interview that is still running when the simulation ends."""
        self.expected = Result(status, None, self.started, None)

    def build(self, name: str, scenario: str) -> History:
        """Return the history. Participants that are still in the room leave after the end."""
        if self.expected is None:
            raise ValueError(f"the scenario {scenario} states no result")
        if self.expected.ended is not None:
            self._advance(max(self.now, self.expected.ended) + millis(self.rng.uniform(MARGIN, 2 * MARGIN)))
            self._close_room()
        connections = sorted([*self.closed, *self.open.values()], key=lambda connection: connection.joined)
        return History(
            name=name,
            scenario=scenario,
            expected=self.expected,
            max_duration=self.max_duration,
            closes=self.closes,
            tokens=tuple(self.tokens),
            connections=tuple(connections),
            rooms=tuple(self.rooms),
            deletions=tuple(self.deletions),
            reports=tuple(self.reports),
            cancelled=self.cancelled,
        )

    def _close_room(self) -> None:
        if Role.CANDIDATE in self.open:
            self.candidate_leaves()
        if self.candidate_missing_since is not None:
            self._advance(self.candidate_missing_since + millis(self.timing.departure_timeout))

    # Connections

    def _join(self, role: Role, identity: str, outcome: str | None = None, *, dispatched: bool = False) -> None:
        sid, room_sid = make_sid(self.rng, "PA_"), self.rooms[-1].sid
        self.open[role] = Connection(sid, room_sid, role, identity, self.now, outcome=outcome, dispatched=dispatched)
        if self.started is None and self.expected is None and {Role.CANDIDATE, Role.AGENT} <= self.open.keys():
            self.started = self.now

    def _leave(self, role: Role, reason: str) -> None:
        connection = self.open.pop(role)
        delay = millis(DETECTION_TIME + self.rng.uniform(-0.7, 0.7)) if reason == "CONNECTION_TIMEOUT" else 0
        noticed = self.now + delay
        self.closed.append(replace(connection, left=self.now, noticed=noticed, reason=reason))
        if role is Role.CANDIDATE:
            self.candidate_missing_since = noticed
