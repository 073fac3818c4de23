"""What the log says of an error: where it was and of which kind, and nothing that somebody sent."""

import logging
import traceback
from collections.abc import Callable

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.livekit_server import LiveKitUnavailable
from app.logs import _Line
from app.models import Interview
from tests.stage import NEW

NAME = "Layla Al-Qahtani"


def line(message: str, *args: object, error: BaseException | None = None) -> str:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("app", logging.ERROR, __file__, 1, message, args, info)
    return _Line().format(record)


def caught(work: Callable[[], object]) -> BaseException:
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("it raised nothing")


def with_a_cause() -> None:
    try:
        int(NAME)
    except ValueError as error:
        raise RuntimeError(f"no number: {NAME}") from error


def while_handling() -> None:
    try:
        int(NAME)
    except ValueError:
        raise KeyError(NAME)  # noqa: B904 - that is the case


def several() -> None:
    raise ExceptionGroup(NAME, [ValueError(NAME), OSError(2, "No such file", NAME)])


@pytest.mark.parametrize("work", [with_a_cause, while_handling, several])
def test_an_error_is_told_by_its_place(work: Callable[[], object]) -> None:
    told = line("it failed: %r %s", *[caught(work)] * 2, error=caught(work))
    assert NAME not in told
    assert work.__name__ in told
    assert "test_logs.py" in told
    assert "ValueError" in told


def test_its_causes_come_first() -> None:
    lines = line("it failed", error=caught(with_a_cause)).splitlines()
    assert lines[0].endswith(" ERROR app [-] it failed")
    assert lines.index("ValueError") < lines.index("and from there:") < lines.index("RuntimeError")


def test_our_own_errors_and_those_of_the_system_say_what_they_have_to_say() -> None:
    said = line("%s, %r", LiveKitUnavailable("it refused"), ConnectionRefusedError(111, "Connection refused"))
    assert said.endswith("LiveKitUnavailable: it refused, ConnectionRefusedError: Connection refused")


def test_what_is_no_error_is_printed_as_ever() -> None:
    assert line("%s %r %d", "a", "b", 3).endswith("a 'b' 3")
    assert line("%(one)s %(other)s", {"one": 1, "other": ValueError(NAME)}).endswith("1 ValueError")


async def test_an_error_of_the_database_is_told_by_its_code_and_names(
    sessions: async_sessionmaker[AsyncSession],
) -> None:
    """Postgres quotes the whole row that it refused: asyncpg's error says it, and is in the trace of SQLAlchemy's."""
    async with sessions() as session:
        session.add(Interview(participant_name=NAME, phone_number=NEW["phoneNumber"], job_title="", max_duration=1))
        with pytest.raises(DBAPIError) as refused:
            await session.flush()
    error, quoting = refused.value, getattr(refused.value.orig, "__cause__", None)
    assert NAME in str(quoting)
    assert NAME in "".join(traceback.format_exception(error))
    for told in (line("it failed: %s", quoting), line("it failed: %s", error), line("it failed", error=error)):
        assert NAME not in told
        assert NEW["phoneNumber"] not in told
        assert "Error (sqlstate=23502, table_name=interviews, column_name=organization_id)" in told
