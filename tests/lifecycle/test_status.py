"""The statuses: what is stored, what callers see, and which of them are live or terminal."""

from datetime import UTC, datetime, timedelta

import pytest

from app.lifecycle import LIVE_STATUSES, PublicStatus, Status, public_status

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


def test_the_public_statuses_are_scheduled_and_every_stored_one() -> None:
    assert [status.name for status in PublicStatus] == ["SCHEDULED", *(status.name for status in Status)]
    assert [status.value for status in PublicStatus] == ["SCHEDULED", *(status.value for status in Status)]


@pytest.mark.parametrize("status", Status)
def test_each_stored_status_is_public(status: Status) -> None:
    assert public_status(status, opens_at=None, now=NOW).value == status.value


@pytest.mark.parametrize("status", Status)
def test_only_a_ready_interview_is_scheduled_and_only_before_it_opens(status: Status) -> None:
    expected = "SCHEDULED" if status is Status.READY_TO_JOIN else status.value
    assert public_status(status, opens_at=NOW + timedelta(seconds=1), now=NOW).value == expected
    assert public_status(status, opens_at=NOW, now=NOW).value == status.value


def test_each_status_is_ready_or_live_or_terminal() -> None:
    terminal = [status for status in Status if status.is_terminal]
    assert sorted([Status.READY_TO_JOIN, *LIVE_STATUSES, *terminal]) == sorted(Status)
