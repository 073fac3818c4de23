"""Verification and parsing of webhooks, compared with livekit-api's own receiver."""

import base64
import functools
import hashlib
import hmac
import json
import operator
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from livekit.api import AccessToken, DisconnectReason, TokenVerifier, VideoGrants, WebhookReceiver

from app.core.errors import WebhookInvalid, WebhookNotSigned
from app.livekit.webhooks import Event, Participant, parse_event, verify_webhook
from tests import livekit_webhooks
from tests.conftest import LIVEKIT_KEY, LIVEKIT_SECRET

OTHER_KEY, OTHER_SECRET = "older-key", "another-secret-of-more-than-32-characters"
KEYS = {LIVEKIT_KEY: LIVEKIT_SECRET, OTHER_KEY: OTHER_SECRET}
BODY = b'{"event":"room_started"}'
ROOM = "interview-c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"


def forge(header: object, claims: object, secret: str = LIVEKIT_SECRET) -> str:
    """Return a JWT of any header and claims, signed with HMAC."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signature = hmac.digest(secret.encode(), b".".join(parts), "sha256")
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def digest(body: bytes = BODY) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def claims(**changed: object) -> dict[str, object]:
    """Return a webhook's claims; None leaves one out."""
    given = {"iss": LIVEKIT_KEY, "exp": int(time.time()) + 300, "sha256": digest()} | changed
    return {name: value for name, value in given.items() if value is not None}


def of_claims(**changed: object) -> str:
    return forge({"alg": "HS256", "typ": "JWT"}, claims(**changed))


def participants_token() -> str:
    grants = VideoGrants(room_join=True, room=ROOM)
    return AccessToken(LIVEKIT_KEY, LIVEKIT_SECRET).with_identity("candidate-1").with_grants(grants).to_jwt()


REFUSED: dict[str, Callable[[], str | None]] = {
    "missing": lambda: None,
    "empty": lambda: "",
    "no_jwt": lambda: "nonsense",
    "not_ascii": lambda: "ÿ.ÿ.ÿ",
    "bearer": lambda: "Bearer " + livekit_webhooks.sign(BODY),
    "expired": lambda: livekit_webhooks.sign(BODY, minutes=-1.2),
    "not_valid_yet": lambda: of_claims(nbf=int(time.time()) + 120),
    "wrong_secret": lambda: livekit_webhooks.sign(BODY, secret=OTHER_SECRET),
    "unknown_key": lambda: livekit_webhooks.sign(BODY, key="unknown"),
    "secret_of_the_other_key": lambda: livekit_webhooks.sign(BODY, key=OTHER_KEY),
    "other_body": lambda: livekit_webhooks.sign(BODY + b" "),
    "hex_checksum": lambda: of_claims(sha256=hashlib.sha256(BODY).hexdigest()),
    "unpadded_checksum": lambda: of_claims(sha256=digest().rstrip("=")),
    "checksum_not_ascii": lambda: of_claims(sha256="م"),
    "lone_surrogate": lambda: of_claims(sha256="\ud800"),
    "participants_token": participants_token,
    "alg_none": lambda: jwt.encode(claims(), None, algorithm="none"),
    "alg_none_signed": lambda: forge({"alg": "none", "typ": "JWT"}, claims()),
    "alg_rs256": lambda: forge({"alg": "RS256", "typ": "JWT"}, claims()),
    "alg_hs512": lambda: jwt.encode(claims(), LIVEKIT_SECRET + "x" * 32, algorithm="HS512"),
    "alg_missing": lambda: forge({"typ": "JWT"}, claims()),
    "alg_a_list": lambda: forge({"alg": ["HS256"], "typ": "JWT"}, claims()),
    "sha256_missing": lambda: of_claims(sha256=None),
    "sha256_a_number": lambda: of_claims(sha256=5),
    "sha256_a_list": lambda: of_claims(sha256=[digest()]),
    "iss_missing": lambda: of_claims(iss=None),
    "iss_a_list": lambda: of_claims(iss=[LIVEKIT_KEY]),
    "iss_an_object": lambda: of_claims(iss={LIVEKIT_KEY: 1}),
    "exp_missing": lambda: of_claims(exp=None),
    "exp_a_text": lambda: of_claims(exp="tomorrow"),
    "exp_a_list": lambda: of_claims(exp=[1]),
    "exp_infinite": lambda: of_claims(exp=float("inf")),
    "video_a_text": lambda: of_claims(video="x"),
    "sub_a_number": lambda: of_claims(sub=5),
    "room_config_odd": lambda: of_claims(roomConfig={"emptyTimeout": "x"}),
    "claims_a_list": lambda: forge({"alg": "HS256"}, [claims()]),
    "header_a_list": lambda: forge(["HS256"], claims()),
    "deep_claims": lambda: deep(claims="[" * 100_000),
    "deep_header": lambda: deep(header="[" * 100_000),
}


def deep(header: str = '{"alg":"HS256"}', claims: str = "{}") -> str:
    parts = [base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in (header, claims)]
    return ".".join([*parts, "AAAA"])


@pytest.mark.parametrize("name", REFUSED)
def test_a_webhook_is_refused(name: str) -> None:
    with pytest.raises(WebhookNotSigned):
        verify_webhook(BODY, REFUSED[name](), KEYS)


def test_a_webhook_of_the_current_or_a_previous_key_is_accepted() -> None:
    verify_webhook(BODY, of_claims(), KEYS)
    verify_webhook(BODY, livekit_webhooks.sign(BODY), KEYS)
    verify_webhook(BODY, livekit_webhooks.sign(BODY, OTHER_KEY, OTHER_SECRET), KEYS)
    verify_webhook(BODY, livekit_webhooks.sign(BODY, minutes=-0.5), KEYS)  # within LiveKit's leeway


def test_a_removed_key_is_unknown() -> None:
    with pytest.raises(WebhookNotSigned):
        verify_webhook(BODY, livekit_webhooks.sign(BODY, OTHER_KEY, OTHER_SECRET), {LIVEKIT_KEY: LIVEKIT_SECRET})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"null",
        b'"text"',
        b"5",
        b"{",
        b'{"id":"\xff"}',
        b'{"id":"\\ud800"}',
        b'{"createdAt":1e999}',
    ],
)
def test_a_body_must_be_a_json_object(body: bytes) -> None:
    with pytest.raises(WebhookInvalid):
        parse_event(body)


@pytest.mark.parametrize("nested", [b"[" * 100_000 + b"]" * 100_000, b'{"room":' * 100_000 + b"1" + b"}" * 100_000])
def test_deep_nesting_is_refused(nested: bytes) -> None:
    with pytest.raises(WebhookInvalid):
        parse_event(b'{"x":' + nested + b"}")


def test_nul_is_removed_because_postgres_can_not_store_it() -> None:
    who = {"sid": "P\0A", "identity": "a\0", "attributes": {"interview.outcome": "com\0pleted"}}
    event = parse_event(
        json.dumps({"event": "e\0", "id": "\0EV", "room": {"name": "r\0"}, "participant": who}).encode()
    )
    assert "\0" not in repr(event).replace("\\x00", "\0")


@pytest.mark.parametrize(
    "instant",
    [
        -1,
        0,
        10**30,
        1.5,
        True,
        None,
        [],
        {},
        "",
        "-5",
        "x",
        "9" * 5000,
        "0" * 15 + "1" + "9" * 20,
        "١٢٣",
        4_102_444_800,
    ],
)
def test_an_invalid_instant_counts_as_missing(instant: object) -> None:
    before = datetime.now(UTC)
    body = {"createdAt": instant, "room": {"creationTime": instant, "creationTimeMs": instant}}
    if instant == 4_102_444_800:
        body["room"] = {"creationTime": instant}
    event = parse_event(json.dumps(body).encode())
    assert before <= event.created_at <= datetime.now(UTC)
    assert event.room_created_at is None


def test_an_empty_object_is_an_event_without_anything() -> None:
    event = parse_event(b"{}")
    assert event == Event("", "", event.created_at, "", "", None, None)


def test_missing_and_odd_fields_of_a_participant() -> None:
    assert parse_event(b'{"participant":{}}').participant is None
    odd = {"sid": 5, "identity": [], "permission": {"hidden": "yes"}, "attributes": {"b": "x"}, "kind": None}
    found = parse_event(json.dumps({"room": 5, "participant": odd}).encode()).participant
    assert found == Participant("", "", "STANDARD", False, None, {"b": "x"}, "")


@pytest.mark.parametrize("kind", ["CONNECTOR", "BRIDGE", "NEVER_HEARD_OF", "standard"])
def test_an_unknown_kind_is_not_standard(kind: str) -> None:
    found = parse_event(json.dumps({"participant": {"sid": "PA", "kind": kind}}).encode()).participant
    assert found is not None
    assert found.kind == kind


def test_an_ordinary_event_reads_as_livekits_own_receiver_reads_it() -> None:
    at = datetime(2026, 7, 1, 12, 0, 1, 234_000, tzinfo=UTC)
    who = livekit_webhooks.participant(
        "PA_1", "agent-AJ_1", joined_at=at, kind="AGENT", reason="ROOM_DELETED", attributes={"interview.outcome": "ok"}
    )
    body = livekit_webhooks.encode(
        livekit_webhooks.event("participant_left", room=ROOM, at=at, room_sid="RM_7", participant=who)
    )
    theirs = WebhookReceiver(TokenVerifier(LIVEKIT_KEY, LIVEKIT_SECRET)).receive(
        body.decode(), livekit_webhooks.sign(body)
    )
    mine = parse_event(body)
    assert (mine.id, mine.name, mine.room_name) == (theirs.id, theirs.event, theirs.room.name)
    assert mine.room_sid == theirs.room.sid
    assert mine.created_at == datetime.fromtimestamp(theirs.created_at, UTC) == at.replace(microsecond=0)
    assert mine.room_created_at == datetime.fromtimestamp(theirs.room.creation_time_ms / 1000, UTC) == at
    found, other = mine.participant, theirs.participant
    assert found is not None
    assert (found.sid, found.identity, found.hidden) == (other.sid, other.identity, other.permission.hidden)
    assert found.kind == other.Kind.Name(other.kind) == "AGENT"
    assert found.joined_at == datetime.fromtimestamp(other.joined_at_ms / 1000, UTC) == at
    assert found.attributes == dict(other.attributes) == {"interview.outcome": "ok"}
    assert found.disconnect_reason == DisconnectReason.Name(other.disconnect_reason) == "ROOM_DELETED"


def test_without_milliseconds_the_whole_second_counts() -> None:
    body = b'{"createdAt":"1782000000","room":{"creationTime":1782000001,"creationTimeMs":"0"}}'
    event = parse_event(body)
    assert event.created_at == datetime.fromtimestamp(1_782_000_000, UTC)
    assert event.room_created_at == datetime.fromtimestamp(1_782_000_001, UTC)


def theirs(body: bytes, token: str) -> bool:
    """Return whether livekit-api's own verifier accepts the token for the body."""
    issuer = jwt.decode(token, options={"verify_signature": False})["iss"]
    found = TokenVerifier(issuer, KEYS[issuer]).verify(token)
    return found.sha256 is not None and hmac.compare_digest(found.sha256.encode(), digest(body).encode())


def accepts(verify: Callable[[], bool | None]) -> bool:
    try:
        return verify() is not False
    except Exception:  # noqa: BLE001 - livekit-api refuses by any exception
        return False


def times(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw an instant within an hour of now, but not close to the limits of validity."""
    around = st.integers(-3600, 3600).filter(lambda seconds: abs(abs(seconds) - 60) > 30)
    odd: st.SearchStrategy[Any] = st.sampled_from([None, "tomorrow", True, [1], {}, -1, 0, 10**30, 1e300, "5"])
    return st.one_of(
        st.just({}), around.map(lambda seconds: {name: time.time() + seconds}), odd.map(lambda v: {name: v})
    )


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=3,
)
OF_LIVEKIT = ("sub", "jti", "aud", "video", "sip", "agent", "roomConfig", "roomPreset", "attributes", "kind", "name")
heads = st.one_of(
    st.just({"alg": "HS256", "typ": "JWT"}),
    st.fixed_dictionaries(
        {"alg": st.sampled_from(["HS256", "HS512", "none", "hs256", None, ["HS256"]])},
        optional={"typ": anything, "kid": st.text(max_size=3), "crit": st.just(["b64"]), "b64": st.booleans()},
    ),
)
more = st.dictionaries(st.sampled_from(OF_LIVEKIT), anything, max_size=2)
checksums = st.one_of(st.just({}), anything.map(lambda odd: {"sha256": odd}))
tokens = st.builds(
    lambda head, secret, *given: forge(head, functools.reduce(operator.or_, given, claims(iat=None)), secret),
    heads,
    st.sampled_from([LIVEKIT_SECRET, LIVEKIT_SECRET, LIVEKIT_SECRET, OTHER_SECRET, ""]),
    times("exp"),
    times("nbf"),
    times("iat"),
    more,
    checksums,
)


def broken(token: str, index: int, by: str) -> str:
    index %= len(token) + 1
    return token[:index] + by + token[index + 1 :]


@given(tokens)
@settings(max_examples=1000, deadline=None)
def test_what_livekits_verifier_refuses_is_refused(token: str) -> None:
    """Ours is stricter: LiveKit never sends an instant as text, or a grant of null."""
    if accepts(lambda: verify_webhook(BODY, token, KEYS)):
        assert accepts(lambda: theirs(BODY, token))


@given(tokens, st.integers(min_value=0), st.sampled_from(["", ".", "=", "A", "-", "é", "\n", " "]))
@settings(max_examples=500, deadline=None)
def test_a_broken_token_that_livekits_verifier_refuses_is_refused(token: str, index: int, by: str) -> None:
    token = broken(token, index, by)
    if accepts(lambda: verify_webhook(BODY, token, KEYS)):
        assert accepts(lambda: theirs(BODY, token))


@given(
    st.fixed_dictionaries(
        {"exp": st.integers(-3600, 3600)}, optional={"nbf": st.integers(-3600, 3600), "iat": st.integers(-3600, 3600)}
    ),
    st.booleans(),
    st.sampled_from([LIVEKIT_SECRET, OTHER_SECRET]),
)
@settings(max_examples=500, deadline=None)
def test_for_tokens_as_livekit_makes_them_both_verifiers_agree(
    offsets: dict[str, int], as_float: bool, secret: str
) -> None:
    assume(all(abs(abs(seconds) - 60) > 30 for seconds in offsets.values()))
    instants = {name: time.time() + seconds for name, seconds in offsets.items()}
    given = claims(**{name: at if as_float else int(at) for name, at in instants.items()})
    token = forge({"alg": "HS256", "typ": "JWT"}, given, secret)
    assert accepts(lambda: verify_webhook(BODY, token, KEYS)) == accepts(lambda: theirs(BODY, token))
