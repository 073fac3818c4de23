"""LiveKit's access tokens. docs/livekit.md has the facts about LiveKit that this code relies on."""

import base64
import binascii
import hmac
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import jwt
import orjson

from app.core.settings import Settings

TOKEN_LIFE = timedelta(minutes=10)
LARGEST_TOKEN = 8000  # bytes; clients send it in a URL's query, and proxies accept some 8 KB there
EMPTY_TIMEOUT = timedelta(seconds=300)  # LiveKit's default, for a room without participants
DEPARTURE_MARGIN = timedelta(seconds=5)

_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_JWT_HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")


@dataclass(frozen=True, slots=True)
class Signer:
    """Makes this deployment's access tokens."""

    api_key: str
    api_secret: str
    agent_name: str  # to dispatch when the token creates the room; empty: LiveKit's automatic dispatch
    grace: timedelta  # for a disconnected candidate; the room, with the agent in it, stays a little longer
    client_metadata_updates: bool = False  # whether a connected candidate may replace the metadata that the agent reads
    _keyed: hmac.HMAC = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keyed", hmac.new(self.api_secret.encode(), digestmod="sha256"))

    def claims(
        self, *, identity: str, name: str, room: str, metadata: Mapping[str, object], now: datetime
    ) -> dict[str, object]:
        """Return the claims of an access token for one room and one identity."""
        issued = int(now.timestamp())
        return {
            "iss": self.api_key,
            "sub": identity,
            "name": name,
            "nbf": issued,
            "exp": issued + int(TOKEN_LIFE.total_seconds()),
            "metadata": orjson.dumps(metadata).decode(),
            "video": self._grants(room),
            "roomConfig": self._room_config(),
        }

    def sign(self, claims: Mapping[str, object]) -> str:
        """Return the claims as a LiveKit access token (JWT, HS256).

        Not by livekit-api, which escapes non-ASCII characters twice: 5,000 Arabic letters became a token of 40,900
        characters. Tests check the claims with livekit-api's own verifier.
        """
        signed = _JWT_HEADER + b"." + base64url(orjson.dumps(claims))
        signature = self._keyed.copy()  # keyed in advance: keying took a third of the time
        signature.update(signed)
        return (signed + b"." + base64url(signature.digest())).decode()

    def _grants(self, room: str) -> dict[str, object]:
        """Return every grant by name: LiveKit's defaults would decide about missing ones."""
        return {
            "roomJoin": True,
            "room": room,
            "canPublish": True,
            "canPublishData": True,
            "canPublishSources": ["microphone", "camera"],
            "canSubscribe": True,
            "canUpdateOwnMetadata": self.client_metadata_updates,
        }

    def _room_config(self) -> dict[str, object]:
        """Return the timeouts of the room, which keep the agent there while a candidate may return.

        LiveKit applies it only from the token that creates the room.
        """
        config: dict[str, object] = {
            "emptyTimeout": int(EMPTY_TIMEOUT.total_seconds()),
            "departureTimeout": int((self.grace + DEPARTURE_MARGIN).total_seconds()),
        }
        if self.agent_name:
            config["agents"] = [{"agentName": self.agent_name}]
        return config


def base64url(raw: bytes) -> bytes:
    return binascii.b2a_base64(raw, newline=False).translate(_URL_SAFE).rstrip(b"=")


def accept_secrets(settings: Settings) -> None:
    """Silence PyJWT about the short secret of `livekit-server --dev`. The settings allow it only locally."""
    if settings.is_local:
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)


def signer_of(settings: Settings) -> Signer:
    return Signer(
        api_key=settings.livekit_api_key,
        api_secret=settings.livekit_api_secret.get_secret_value(),
        agent_name=settings.agent_name,
        grace=timedelta(seconds=settings.candidate_grace),
        client_metadata_updates=settings.client_metadata_updates,
    )
