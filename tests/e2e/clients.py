"""The interface of agents and candidates."""

from typing import Protocol, TypeVar


class Client(Protocol):
    async def join(self) -> None: ...

    async def leave(self) -> None: ...


C = TypeVar("C", bound=Client)


class Join(Protocol):
    """The type of the fixture `join`."""

    async def __call__(self, client: C) -> C: ...
