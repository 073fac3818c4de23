"""Tells one history step by step; who tells it knows what comes of it, and says so with `ends`."""

from dataclasses import replace
from random import Random

from simulator.history import Connection, Expected, History, Report, Role, Room, millis
from simulator.timing import NOTICE, Pace

# LiveKit's sids and ids: a prefix and twelve of these
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


def sid(rng: Random, prefix: str) -> str:
    return prefix + "".join(rng.choices(LETTERS, k=12))


class Story:
    """A history in the making. `now` is in milliseconds; pauses are given in seconds."""

    def __init__(self, rng: Random, pace: Pace) -> None:
        self.rng = rng
        self.pace = pace
        self.now = 0
        self.max_duration = 1800
        self.closes: int | None = None
        self.tokens: list[int] = []
        self.reports: list[Report] = []
        self.deletions: list[int] = []
        self.cancelled: int | None = None
        self.rooms: list[Room] = []
        self.over: list[Connection] = []
        self.present: dict[Role, Connection] = {}
        self.emptied: int | None = None  # when LiveKit noticed that the candidate's room has no candidate any more
        self.started: int | None = None
        self.expected: Expected | None = None

    # Time

    def pause(self, shortest: float, longest: float | None = None) -> None:
        self._advance(self.now + millis(self.rng.uniform(shortest, longest or shortest)))

    def talk(self) -> None:
        self.pause(self.pace.shortest_talk, self.pace.longest_talk)

    def _advance(self, to: int) -> None:
        """LiveKit closes a room some time after the last candidate, whoever else is in it."""
        closing = None if self.emptied is None else self.emptied + millis(self.pace.departure)
        if closing is not None and closing <= to:
            self.now = max(self.now, closing)
            for role in list(self.present):
                self._leave(role, "ROOM_CLOSED")
            self._finish_room(after=self.rng.randint(0, 5))
        self.now = max(self.now, to)

    # The candidate

    def asks_for_token(self) -> None:
        self.tokens.append(self.now)

    def candidate_comes(self) -> None:
        """Connects, at the first time with a fresh token. LiveKit throws an unnoticed old connection out first."""
        if not self.tokens:
            self.asks_for_token()
            self.pause(0.4, 1.5)
        self._open_room()
        self._throw_out_unnoticed()
        self.emptied = None
        self._join(Role.CANDIDATE, "")

    def _throw_out_unnoticed(self) -> None:
        for index, visit in enumerate(self.over):
            if visit.role is Role.CANDIDATE and visit.noticed is not None and visit.noticed > self.now:
                self.over[index] = replace(visit, noticed=self.now - 30, reason="DUPLICATE_IDENTITY")

    def candidate_leaves(self, reason: str = "CLIENT_INITIATED") -> None:
        self._leave(Role.CANDIDATE, reason)

    def candidate_lost(self) -> None:
        self._leave(Role.CANDIDATE, "CONNECTION_TIMEOUT")

    def second_device(self) -> None:
        """The old sid is thrown out a moment before the new one's joined."""
        self._leave(Role.CANDIDATE, "DUPLICATE_IDENTITY")
        self.emptied = None
        self.now += self.rng.randint(10, 60)
        self._join(Role.CANDIDATE, "")

    def never_gets_media(self) -> None:
        """A browser that gets no media through is given up by LiveKit after 60 s, its room after 300 s more."""
        self._open_room()
        visit = Connection(sid(self.rng, "PA_"), self.rooms[-1].sid, Role.CANDIDATE, "", self.now, media=False)
        gone = self.now + millis(60)
        self.over.append(replace(visit, left=gone, noticed=gone, reason="JOIN_FAILURE"))
        self.rooms[-1] = replace(self.rooms[-1], finished=gone + millis(300))

    # The agent

    def agent_comes(self, outcome: str | None = None, *, dispatched: bool = False) -> None:
        self._open_room()
        self._join(Role.AGENT, f"agent-{sid(self.rng, 'AJ_')}", outcome, dispatched=dispatched)

    def agent_leaves(self, outcome: str | None = None, reason: str = "CLIENT_INITIATED") -> None:
        """Leaves, having announced `outcome`, or what it had announced before."""
        if outcome:
            self.announces(outcome)
        self._leave(Role.AGENT, reason)

    def announces(self, outcome: str) -> None:
        self.present[Role.AGENT] = replace(self.present[Role.AGENT], outcome=outcome)

    def agent_killed(self) -> None:
        self._leave(Role.AGENT, "CONNECTION_TIMEOUT")

    def meet(self, outcome: str | None = None) -> None:
        """Candidate and agent come, now and then the agent first."""
        if self.rng.random() < 0.2:
            self.asks_for_token()
            self.pause(0.4, 1.5)
            self.agent_comes(outcome)
            self.pause(0.2, 4)
            self.candidate_comes()
        else:
            self.candidate_comes()
            self.pause(0.2, 4)
            self.agent_comes(outcome)

    # The others, the room, the server

    def watcher_comes(self) -> None:
        self._join(Role.WATCHER, f"recruiter-{self.rng.randint(1, 99)}")

    def watcher_leaves(self) -> None:
        self._leave(Role.WATCHER, "CLIENT_INITIATED")

    def avatar_comes(self) -> None:
        self._join(Role.AVATAR, f"avatar-{self.rng.randint(1, 99)}")

    def avatar_leaves(self) -> None:
        self._leave(Role.AVATAR, "CLIENT_INITIATED")

    def room_deleted(self) -> None:
        """Somebody else than the deployment deletes the room: all are out within 0.06 s, the candidate first."""
        self.deletions.append(self.now)
        for role in sorted(self.present, key=lambda role: role is not Role.CANDIDATE):
            self._leave(role, "ROOM_DELETED")
            self.now += self.rng.randint(5, 20)
        self._finish_room(after=self.rng.randint(0, 10))

    def server_killed(self) -> None:
        """Nothing is ever said about those who were there, nor about their room."""
        self.over += [replace(visit, left=self.now) for visit in self.present.values()]
        self.present.clear()
        self.emptied = None
        self.rooms[-1] = replace(self.rooms[-1], killed=self.now)

    def _open_room(self) -> None:
        if not self.rooms or self.rooms[-1].over is not None:
            self.rooms.append(Room(sid(self.rng, "RM_"), self.now))
            self.now += self.rng.randint(50, 250)

    def _finish_room(self, after: int = 0) -> None:
        self.rooms[-1] = replace(self.rooms[-1], finished=self.now + after)
        self.emptied = None

    # Statements

    def report(self, outcome: str) -> None:
        self.reports.append(Report(self.now, outcome))

    def cancel(self) -> None:
        self.cancelled = self.now

    # The end

    def ends(self, status: str, reason: str | None = None, *, after: float = 0, at: int | None = None) -> None:
        """Says what is true from `at` on, or from `after` seconds from now on."""
        ended = self.now + millis(after) if at is None else at
        self.expected = Expected(status, reason, self.started, ended)

    def lives(self, status: str) -> None:
        self.expected = Expected(status, None, self.started, None)

    def told(self, name: str, kind: str) -> History:
        """The finished history; whoever is still there when it is over leaves in the end."""
        if self.expected is None:
            raise ValueError(f"the story {kind} does not say how it ends")
        if self.expected.ended is not None:
            self._advance(max(self.now, self.expected.ended) + millis(self.rng.uniform(1, 5)))
            self._everybody_leaves()
        connections = sorted([*self.over, *self.present.values()], key=lambda visit: visit.joined)
        return History(
            name=name,
            kind=kind,
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

    def _everybody_leaves(self) -> None:
        if Role.CANDIDATE in self.present:
            self.candidate_leaves()
        if self.emptied is not None:
            self._advance(self.emptied + millis(self.pace.departure))

    # Connections

    def _join(self, role: Role, identity: str, outcome: str | None = None, *, dispatched: bool = False) -> None:
        room = self.rooms[-1].sid
        visit = Connection(sid(self.rng, "PA_"), room, role, identity, self.now, outcome=outcome, dispatched=dispatched)
        self.present[role] = visit
        if self.started is None and self.expected is None and {Role.CANDIDATE, Role.AGENT} <= self.present.keys():
            self.started = self.now

    def _leave(self, role: Role, reason: str) -> None:
        visit = self.present.pop(role)
        unnoticed = millis(NOTICE + self.rng.uniform(-0.7, 0.7)) if reason == "CONNECTION_TIMEOUT" else 0
        noticed = self.now + unnoticed
        self.over.append(replace(visit, left=self.now, noticed=noticed, reason=reason))
        if role is Role.CANDIDATE:
            self.emptied = noticed
