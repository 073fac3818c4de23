"""Tampered cursors, and cursors of another list or organization, show the caller's own rows or none."""

import base64

import pytest

from tests.attacks.document import MADE, Ids, Operation, Owner, operations

PAGED = [each for each in operations() if any(known["name"] == "cursor" for known in each.parameters("query"))]
WITH = {"summarizeInterviews": {"by": "jobPostId"}}  # parameters that give a list several pages
NONE_AT_ALL = [
    "0",
    "-",
    "....",
    "%00",
    "x" * 201,
    "x" * 190,
    "MA",
    "LTE",
    "MS4x",
    "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5LjAuMA",
    "é",
    "\u0660",
]


async def fill(owner: Owner) -> Ids:
    """Create enough resources for a second page of each list."""
    ids: Ids = {}
    for name, make in MADE.items():
        for _ in range(3):
            ids[name] = await make(owner, ids)
    for number in range(2):
        body = {"jobPostId": f"another-{number}-of-{owner.name}"}
        await owner.call("PATCH", f"/interviews/{await MADE['interview_id'](owner, ids)}", json=body)
        await owner.made(f"/interviews/{ids['interview_id']}/invite")
        said = {"id": f"{number}", "speaker": "agent", "text": f"of {owner.name}", "at": "2026-11-22T09:00:00Z"}
        lines = {"roomName": f"interview-{ids['interview_id']}", "agent": "agent", "lines": [said]}
        await owner.made(f"/interviews/{ids['interview_id']}/transcript", lines)
    return ids


async def cursor_of(owner: Owner, operation: Operation, ids: Ids) -> str:
    answer = await owner.ask(operation, ids, params={"limit": 1, **WITH.get(str(operation), {})})
    found = answer.json()["nextCursor"]
    assert found, f"{operation} has one page only: create more in `fill`"
    return str(found)


def flipped(cursor: str) -> list[str]:
    """Return the cursor with a bit flipped in each byte, with letters changed, and cut at each position."""
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    changed = [bytes([*raw[:n], byte ^ (1 << n % 8), *raw[n + 1 :]]) for n, byte in enumerate(raw)]
    found = [base64.urlsafe_b64encode(each).decode().rstrip("=") for each in changed]
    found += [cursor[:n] for n in range(1, len(cursor))]
    return [*found, cursor * 2, cursor[::-1], cursor.swapcase(), cursor + "=", cursor + "A", " " + cursor]


@pytest.mark.parametrize("operation", PAGED, ids=str)
async def test_a_tampered_cursor_shows_no_foreign_rows(operation: Operation, owner: Owner, other: Owner) -> None:
    mine, theirs = await fill(owner), await fill(other)
    own_ids, foreign_ids = ({name: ids[name] for name in operation.ids} for ids in (mine, theirs))
    cursor = await cursor_of(owner, operation, own_ids)
    foreign = await cursor_of(other, operation, foreign_ids)
    of_other_lists = [
        await cursor_of(owner, each, {name: mine[name] for name in each.ids}) for each in PAGED if each is not operation
    ]
    for given in (foreign, *of_other_lists, *flipped(cursor), *flipped(foreign), *NONE_AT_ALL):
        answer = await owner.ask(operation, own_ids, params={"cursor": given, **WITH.get(str(operation), {})})
        if answer.status_code != 200:
            assert answer.status_code == 422, (given, answer.text)
            assert answer.json()["code"] in ("cursor_invalid", "payload_invalid")
            continue
        for text in (*theirs.values(), "of theirs", "of-theirs"):
            assert text not in answer.text
    following = await owner.ask(operation, own_ids, params={"cursor": cursor, **WITH.get(str(operation), {})})
    assert following.status_code == 200
    assert len(following.text) > 40


async def test_all_lists_are_covered() -> None:
    assert len(PAGED) >= 5
