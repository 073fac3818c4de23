"""What a log line says of an error: its class and place, and nothing that a caller sent."""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core.logging import LineFormatter
from app.livekit.client import LiveKitUnavailable
from app.models import Interview
from tests.interview_driver import NEW

NAME = "Layla Al-Qahtani"


def line(message: str, *args: object, error: BaseException | None = None) -> str:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("app", logging.ERROR, __file__, 1, message, args, info)
    return LineFormatter().format(record)


def caught(work: Callable[[], object]) -> BaseException:
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - returned, whatever it is
        return error
    raise AssertionError("it did not raise")


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
    logged = line("it failed: %r %s", *[caught(work)] * 2, error=caught(work))
    assert NAME not in logged
    assert work.__name__ in logged
    assert Path(__file__).name in logged
    assert "ValueError" in logged


def test_its_causes_come_first() -> None:
    lines = line("it failed", error=caught(with_a_cause)).splitlines()
    assert lines[0].endswith(" ERROR app [-] it failed")
    assert (
        lines.index("ValueError")
        < lines.index("The above exception led to the following exception:")
        < lines.index("RuntimeError")
    )


def test_messages_of_our_own_and_of_system_errors_are_logged() -> None:
    logged = line("%s, %r", LiveKitUnavailable("it refused"), ConnectionRefusedError(111, "Connection refused"))
    assert logged.endswith("LiveKitUnavailable: it refused, ConnectionRefusedError: Connection refused")


def test_other_arguments_are_formatted_as_usual() -> None:
    assert line("%s %r %d", "a", "b", 3).endswith("a 'b' 3")
    assert line("%(one)s %(other)s", {"one": 1, "other": ValueError(NAME)}).endswith("1 ValueError")


async def test_a_database_error_is_logged_by_its_code_and_names(
    sessions: async_sessionmaker[AsyncSession],
) -> None:
    """Postgres quotes the whole row that it rejects, in asyncpg's error, which is in the traceback of SQLAlchemy's."""
    async with sessions() as session:
        session.add(Interview(participant_name=NAME, phone_number=NEW["phoneNumber"], job_title="", max_duration=1))
        with pytest.raises(DBAPIError) as rejected:
            await session.flush()
    error, quoting = rejected.value, getattr(rejected.value.orig, "__cause__", None)
    assert NAME in str(quoting)
    assert NAME in "".join(traceback.format_exception(error))
    for logged in (line("it failed: %s", quoting), line("it failed: %s", error), line("it failed", error=error)):
        assert NAME not in logged
        assert NEW["phoneNumber"] not in logged
        assert "Error (sqlstate=23502, table_name=interviews, column_name=organization_id)" in logged
