"""q: finds stored texts in any spelling, and nothing else, by the trigram index."""

import unicodedata
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.core.pagination import Page
from app.core.search_text import fold, parse_search, searchable
from app.interviews.queries import View
from app.interviews.search import Filters, Sort, find_interviews
from app.models import Interview
from tests.api.test_lists import add, get, listed
from tests.conftest import AUTHORIZED
from tests.query_plans import NOW, fill, organization_of, plan_of

Sessions = async_sessionmaker[AsyncSession]

ARABIC = {"participant_name": "أسماء بنت عبد الله الهاشميّ", "job_title": "مهندسة برمجيات أولى"}
LATIN = {"participant_name": "José Müller", "job_title": "Senior C++ Developer (100% remote_ok)"}
OTHER = {"participant_name": "Somebody Else", "job_title": "Cook", "phone_number": "+1 555 010 9999"}


@pytest.mark.parametrize(
    "typed",
    [
        "أسماء",
        "اسماء",
        "اسما",
        "إسماء",
        "أَسْمَاء",  # tashkeel
        "أســـماء",  # tatweel
        "الهاشمي",
        "الهاشمى",
        "الهاشمی",  # Persian yeh
        "مهندسه",
        "مهندسة اسماء",  # words of both, in any order
        "هاشمي",  # part of a word
        "ﺃﺳﻤﺎﺀ",  # presentation forms
        "\u200fأسماء\u200e",  # invisible directions, as pasted
        "  عبد   الله ",
    ],
)
async def test_arabic(client: httpx.AsyncClient, sessions: Sessions, typed: str) -> None:
    wanted, _, _ = await add(sessions, ARABIC, LATIN, OTHER)
    assert await listed(client, q=typed) == {wanted}


@pytest.mark.parametrize(
    "typed",
    [
        "josé",
        "JOSE",
        "jose müller",
        "MULLER c++",
        "ＪＯＳＥ",
        "100%",
        "remote_ok",
        "(100%",
        "developer senior",
        "ior c+",
    ],
)
async def test_latin(client: httpx.AsyncClient, sessions: Sessions, typed: str) -> None:
    _, wanted, _ = await add(sessions, ARABIC, LATIN, OTHER)
    assert await listed(client, q=typed) == {wanted}


NAMES = {
    "O'Brien": [
        "O'Brien",
        "O’Brien",
        "o‘brien",
        "OBrien",
        "obrien",
        "O`Brien",
        "O´Brien",
        "OʼBrien",
        "O＇Brien",
        "o brien",
    ],
    "O´Brien": ["O'Brien", "O’Brien", "OBrien"],
    "O Brien": ["O'Brien", "o brien", "O‛Brien", "O❜Brien"],
    "D Souza": ["D'Souza", "d’souza"],
    "OBrien": ["O'Brien", "O’Brien", "obrien"],
    "Al-Harbi": [
        "al-harbi",
        "al harbi",
        "alharbi",
        "AL\u2010HARBI",
        "al\u2011harbi",
        "Al–Harbi",
        "al\u2212harbi",
        "al\u2043harbi",
        "harbi",
        "al",
    ],
    "Al Harbi": ["al-harbi", "al harbi", "Al–Harbi"],
    "Alharbi": ["al-harbi", "al harbi", "alharbi"],
    "Abd-al-Rahman": ["Abd-al-Rahman", "abd al rahman", "abd al-rahman", "abdalrahman", "al rahman", "rahman", "abd-"],
    "ʿAbd al-Raḥmān": ["abd al rahman", "Abd al-Rahman", "ʻabd", "'Abd al-Raḥmān", "abd alrahman"],
    "Ka\u02bfb Al\u02be": ["kab", "ka'b", "ka’b", "ka`b", "al"],
    "Jean-Luc D’Arcy-Smith": [
        "jean luc",
        "jeanluc",
        "jean-luc darcy",
        "d'arcy",
        "smith d'arcy",
        "darcysmith",
        "d'arcy smith",
    ],
}


@pytest.mark.parametrize("name", NAMES)
async def test_apostrophes_and_hyphens_as_people_type_them(
    client: httpx.AsyncClient, sessions: Sessions, name: str
) -> None:
    wanted, _ = await add(sessions, {"participant_name": name}, {"participant_name": "Brian Harb-Rahm Luca"})
    for typed in NAMES[name]:
        assert await listed(client, q=typed) == {wanted}, typed
    for typed in ("o-x", "al-x", "x-harbi", "'x"):
        assert await listed(client, q=typed) == set(), typed


async def test_hyphens_in_titles(client: httpx.AsyncClient, sessions: Sessions) -> None:
    front, fintech = await add(
        sessions, {"job_title": "Front-end Developer 2026-11"}, {"job_title": "Developer - Fintech 'X'"}
    )
    wanted = {"front-end": {front}, "frontend": {front}, "front end": {front}, "2026-11": {front}, "2026 11": {front},
              "developer - fintech": {fintech}, "-": {fintech}, "'": {fintech}, "'x'": {fintech}}  # fmt: skip
    for typed, expected in wanted.items():
        assert await listed(client, q=typed) == expected, typed


async def test_phone_numbers_with_and_without_the_mobile_digit(client: httpx.AsyncClient, sessions: Sessions) -> None:
    pairs = [("+54 9 11 2345-6789", "+54 11 2345 6789"), ("+52 1 55 1234 5678", "+52 55 1234 5678"),
             ("+55 11 96123-4567", "+55 11 6123 4567")]  # fmt: skip
    for pair in pairs:
        for stored, typed in (pair, pair[::-1]):
            (wanted,) = await add(sessions, {"phone_number": stored})
            assert wanted in await listed(client, q=typed), (stored, typed)


@pytest.mark.parametrize("typed", ["jose_", "10_%", "r_mote", "se%ior", "jose cook", "\\", "/", "müllerx", "'; --"])
async def test_there_are_no_wildcards_and_every_word_must_match(
    client: httpx.AsyncClient, sessions: Sessions, typed: str
) -> None:
    await add(sessions, ARABIC, LATIN, OTHER)
    assert await listed(client, q=typed) == set()


async def test_one_or_two_letters_begin_a_word(client: httpx.AsyncClient, sessions: Sessions) -> None:
    """Digits do not: 47 matches anywhere in a number."""
    ann, bo, dan = await add(
        sessions,
        {"participant_name": "Ann Lee", "job_title": "Chef", "phone_number": "+1 555 010 4711"},
        {"participant_name": "Bo", "job_title": "Ann's 7_ help"},
        {"participant_name": "Dan", "job_title": "Long-haul driver"},
    )
    found = {"an": {ann, bo}, "l": {ann, dan}, "ee": set(), "bo": {bo}, "7_": {bo}, "_ ": set(), "47": {ann}}
    for typed, expected in found.items():
        assert await listed(client, q=typed) == expected, typed


async def test_wildcards_of_like_are_found_literally(client: httpx.AsyncClient, sessions: Sessions) -> None:
    titles = ["50% x", "a_b", "c\\d", "e/f", "plain 50 ab cd ef"]
    ids = await add(sessions, *({"job_title": title} for title in titles))
    for word, key in zip(["50%", "a_b", "c\\d", "e/f"], ids, strict=False):
        assert await listed(client, q=word) == {key}


@pytest.mark.parametrize(
    "stored", ["966509876543", "+966 50 987 6543", "00966-50-9876543", "+966 (0) 50/987.6543", "٩٦٦٥٠٩٨٧٦٥٤٣"]
)
@pytest.mark.parametrize(
    "typed",
    [
        "+966 50-987",
        "966509876543",
        "00966 50 987 65 43",
        "050 987",
        "0509876543",
        "٠٥٠٩٨٧",
        "6543",
        "+ 966 (50) 987",
        "+966 (0) 50 987",
    ],
)
async def test_a_phone_number_in_any_spelling(
    client: httpx.AsyncClient, sessions: Sessions, stored: str, typed: str
) -> None:
    wanted, _ = await add(sessions, {"phone_number": stored}, OTHER)
    assert await listed(client, q=typed) == {wanted}


async def test_every_digit_of_a_phone_number_must_match(client: httpx.AsyncClient, sessions: Sessions) -> None:
    """Only the last seven use the index."""
    saudi, _ = await add(sessions, {"phone_number": "966501234567"}, {"phone_number": "971501234567"})
    for typed in ("966501234567", "+966 50 1234567", "00966-50-1234567", "966 50 123 4567"):
        assert await listed(client, q=typed) == {saudi}, typed
    assert await listed(client, q="967501234567") == set()
    assert await listed(client, q="+966 51 1234567") == set()


async def test_numbers_are_found_in_titles_too(client: httpx.AsyncClient, sessions: Sessions) -> None:
    wanted, _ = await add(sessions, {"job_title": "Intern 2026 007 (3-5 days)"}, OTHER)
    for typed in ("2026", "2026 007", "007 2026", "3-5", "intern 2026", "(3-5"):
        assert await listed(client, q=typed) == {wanted}, typed


async def test_words_do_not_match_across_fields(client: httpx.AsyncClient, sessions: Sessions) -> None:
    await add(sessions, {"participant_name": "Ann", "job_title": "Ex 12", "phone_number": "34567"})
    for typed in ("annex", "1234567", "ann\nex12"):
        assert await listed(client, q=typed) == set()


async def test_an_empty_search_finds_all(client: httpx.AsyncClient, sessions: Sessions) -> None:
    ids = await add(sessions, LATIN, OTHER)
    for typed in ("", "  ", "\u200e", "ـ"):
        assert await listed(client, q=typed) == set(ids)


@pytest.mark.parametrize("q", ["x" * 201, "a\0b"])
async def test_refused(client: httpx.AsyncClient, q: str) -> None:
    answer = await client.get("/interviews", headers=AUTHORIZED, params={"q": q})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "q")


async def test_the_search_text_is_kept_up_to_date(sessions: Sessions) -> None:
    """For inserts by the session and by statements, and for changes of a text."""
    (key,) = await add(sessions, LATIN)
    async with sessions.begin() as session:
        interview = (await session.scalars(select(Interview).where(Interview.id == key))).one()
        interview.participant_name = "Ｎew Näme"
        await session.flush()
        interview.phone_number = "+44 20 7946 0000"
        interview.sequence += 1
    async with sessions() as session:
        stored = await session.scalar(select(Interview.search_text).where(Interview.id == key))
    assert stored == "new name\n" + fold(LATIN["job_title"]) + "\n442079460000"


async def test_other_changes_leave_the_search_text_alone(sessions: Sessions) -> None:
    (key,) = await add(sessions, LATIN)
    async with sessions.begin() as session:
        await session.execute(text("UPDATE interviews SET search_text = 'mark' WHERE id = :id"), {"id": key})
    async with sessions.begin() as session:
        interview = (await session.scalars(select(Interview).where(Interview.id == key))).one()
        interview.sequence += 1
        interview.job_title = str(LATIN["job_title"])
    async with sessions() as session:
        assert await session.scalar(select(Interview.search_text).where(Interview.id == key)) == "mark"


@pytest.mark.parametrize(("near", "far"), [(1, 1), (2, 9), (7, 7), (10, 1_000), (1_000, 1_000)])
@pytest.mark.parametrize("sort", list(Sort))
async def test_pages_of_common_and_rare_words(
    client: httpx.AsyncClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, near: int, far: int, sort: Sort
) -> None:
    """For any lengths of the scans before the trigram index is used."""
    monkeypatch.setattr("app.interviews.search.SHORT_SCAN", near)
    monkeypatch.setattr("app.interviews.search.LONG_SCAN", far)
    words = {"all": 1, "half": 2, "few": 7, "one": 29}
    rows = [" ".join(word for word, every in words.items() if number % every == 0) for number in range(30)]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [start + timedelta(minutes=number) for number in range(30)]
    made = await add(
        sessions,
        *({"participant_name": name, "created_at": at, "updated_at": at} for name, at in zip(rows, times, strict=True)),
    )
    for word, every in words.items():
        found: list[str] = []
        cursor = None
        while not found or cursor:
            page = await get(client, q=word, sort=sort.value, limit=3, **({"cursor": cursor} if cursor else {}))
            found += [row["interviewId"] for row in page["data"]]
            cursor = page["nextCursor"]
        wanted = made[::every]
        assert found == (wanted[::-1] if sort.is_descending else wanted), word


async def test_a_word_that_all_have_does_not_use_the_trigram_index(own_engine: AsyncEngine) -> None:
    await fill(own_engine, 20_000)
    organization_id = await organization_of(own_engine)

    async def find(session: AsyncSession) -> Page[View]:
        filters = Filters(q="name")
        return await find_interviews(
            session, organization_id=organization_id, filters=filters, sort=Sort.NEWEST, cursor=None, limit=50, now=NOW
        )

    plan, page = await plan_of(own_engine, find)
    assert len(page.items) == 50
    assert "ix_interviews_search_text" not in plan
    assert "Seq Scan" not in plan


async def test_the_search_uses_the_trigram_index(own_engine: AsyncEngine) -> None:
    await fill(own_engine, 20_000)
    organization_id = await organization_of(own_engine)
    for q, is_there in (
        ("name 4711", True),
        ("+9665 4711", True),
        ("0054711", True),
        ("4711", True),
        ("xq", False),
        ("na-me 4711", True),
    ):

        async def find(session: AsyncSession) -> Page[View]:
            return await find_interviews(
                session,
                organization_id=organization_id,
                filters=Filters(q=q),  # noqa: B023 - called at once
                sort=Sort.NEWEST,
                cursor=None,
                limit=50,
                now=NOW,
            )

        plan, page = await plan_of(own_engine, find)
        assert "ix_interviews_search_text" in plan, q
        assert "Seq Scan" not in plan, q
        assert bool(page.items) == is_there, q


@given(st.text())
def test_folding_again_changes_nothing(given_text: str) -> None:
    folded = fold(given_text)
    assert fold(folded) == folded
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold(unicodedata.normalize(form, given_text)) == folded


NUMBER = st.from_regex(r"[+(]?[0-9٠-٩][0-9٠-٩ ().-]{0,18}", fullmatch=True)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=30), NUMBER)
def test_an_interview_is_found_by_its_own_texts(name: str, number: str) -> None:
    row = searchable(participant_name=name, job_title="", phone_number=number)
    for typed in (name, name.upper(), number):
        for spellings in parse_search(typed):
            assert any(all(word in row for word in spelling) for spelling in spellings), (typed, row)
