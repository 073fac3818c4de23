"""The client's address: forwarded addresses count only from trusted proxies."""

from pathlib import Path

import httpx
import pytest

from tests.serving import serving

DEMO = "/interviews/c6aec8f5-592b-4b90-b7fd-a6a6404b31f9/join"
RIGHT = {"phoneNumber": "+966 50 987 6543"}
WRONG = {"phoneNumber": "+966 50 000 0000"}


def post(url: str, said: dict[str, str] | None, forwarded_for: str) -> httpx.Response:
    return httpx.post(url + DEMO, json=said, headers={"X-Forwarded-For": forwarded_for}, timeout=60)


@pytest.mark.parametrize(("trusted", "answer"), [("127.0.0.1", 200), ("", 429), ("192.0.2.0/24", 429)])
def test_a_stranger_behind_the_same_proxy(own_database: str, tmp_path: Path, trusted: str, answer: int) -> None:
    settings = {"JOIN_POLICY": "phone", "TRUSTED_PROXIES": trusted}
    with serving(tmp_path, database_url=own_database, **settings) as url:
        for _ in range(5):
            assert post(url, WRONG, "203.0.113.1").status_code == 403
        assert post(url, RIGHT, "203.0.113.2").status_code == answer
        # the last hop's word counts, not the caller's
        assert post(url, RIGHT, "203.0.113.2, 203.0.113.1").status_code == 429


@pytest.mark.parametrize(("trusted", "answer"), [("127.0.0.1", 200), ("", 429)])
def test_rate_limits_count_the_same_address(own_database: str, tmp_path: Path, trusted: str, answer: int) -> None:
    settings = {"RATE_LIMIT_PER_ADDRESS": "2/year", "TRUSTED_PROXIES": trusted}
    with serving(tmp_path, database_url=own_database, **settings) as url:
        for _ in range(2):
            assert post(url, None, "203.0.113.1").status_code == 200
        assert post(url, None, "203.0.113.2").status_code == answer
        # the last hop's word counts, not the caller's
        assert post(url, None, "203.0.113.3, 203.0.113.1").status_code == 429
