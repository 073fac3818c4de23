"""Settings, read once from the environment and .env, frozen, and refused when they are not safe."""

import ipaddress
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.policy import JoinPolicy

# What a laptop gets without any setting. `livekit-server --dev` uses the same pair.
LOCAL_LIVEKIT_KEY = "devkey"
LOCAL_LIVEKIT_SECRET = "secret"  # noqa: S105 - known to everybody, and refused outside a laptop
LOCAL_API_KEY = "ik_local"
LOCAL_INVITE_URL = "http://localhost:3000/interview/{interviewId}#invite={secret}"

SHORTEST_SECRET = 32  # characters; LiveKit itself warns below that

SHORTEST_GRACE = 20  # seconds; LiveKit notices a crash only then, and the room must outlive it

Seconds = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    """The settings of one process. The README lists all of them."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True)

    environment: Literal["local", "production"] = "local"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    data_dir: Path = Path(".data")
    database_url: SecretStr | None = None
    database_listen_url: SecretStr | None = None
    livekit_url: str = "ws://127.0.0.1:7880"
    livekit_api_url: str | None = None
    livekit_api_key: str = LOCAL_LIVEKIT_KEY
    livekit_api_secret: SecretStr = SecretStr(LOCAL_LIVEKIT_SECRET)
    livekit_previous_keys: Annotated[dict[str, SecretStr], NoDecode] = Field(default_factory=dict)
    agent_name: str = ""
    join_policy: JoinPolicy | None = None
    invite_url: str = ""
    client_metadata_updates: bool = False
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    bootstrap_api_key: SecretStr = SecretStr(LOCAL_API_KEY)
    run_worker: bool = True
    candidate_grace: Seconds = 120
    agent_wait: Seconds = 90
    dispatch_after: Seconds = 30
    token_wait: Seconds = 120
    candidate_waited: Seconds = 30
    goodbye: Seconds = 10
    reconcile_every: Seconds = 30
    webhook_allow_private: bool | None = None

    @field_validator("livekit_previous_keys", mode="before")
    @classmethod
    def _parse_keys(cls, value: object) -> object:
        """Read `key:secret,key:secret`."""
        if not isinstance(value, str):
            return value
        pairs = [pair.strip().partition(":") for pair in value.split(",") if pair.strip()]
        if not all(key and secret for key, _, secret in pairs):
            raise ValueError("write key:secret pairs, separated by commas")
        return {key: secret for key, _, secret in pairs}

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _parse_origins(cls, value: object) -> object:
        """Read `https://a.example,https://b.example`."""
        if not isinstance(value, str):
            return value
        return tuple(origin.strip().rstrip("/") for origin in value.split(",") if origin.strip())

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        faults = [
            *self._contradictions(),
            *self._leaking_links(),
            *([] if self.is_local else self._unsafe_outside_a_laptop()),
        ]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _contradictions(self) -> list[str]:
        if self.agent_name and self.dispatch_after >= self.agent_wait:
            return ["DISPATCH_AFTER: set less than AGENT_WAIT, or no agent is ever dispatched"]
        return []

    def _leaking_links(self) -> list[str]:
        """An invitation's secret stands in the link's fragment: browsers send that to no server, so none logs it."""
        before, _, fragment = self.invite_url.partition("#")
        if not self.invite_url or ("{secret}" in fragment and "{secret}" not in before and "{interviewId}" in before):
            return []
        return ["INVITE_URL: write it as https://jobs.example/interview/{interviewId}#invite={secret}"]

    def _unsafe_outside_a_laptop(self) -> list[str]:
        """Return a line for each built-in that must not leave a loopback address."""
        why = f"needed because ENVIRONMENT={self.environment} and HOST={self.host}"
        faults = []
        if self.livekit_api_key == LOCAL_LIVEKIT_KEY:
            faults.append(f"LIVEKIT_API_KEY: set your LiveKit server's API key ({why})")
        if len(self.livekit_api_secret.get_secret_value()) < SHORTEST_SECRET:
            faults.append(f"LIVEKIT_API_SECRET: set a secret of {SHORTEST_SECRET} characters or more ({why})")
        if len(self.bootstrap_api_key.get_secret_value()) < SHORTEST_SECRET:
            faults.append(f"BOOTSTRAP_API_KEY: set a key of {SHORTEST_SECRET} characters or more ({why})")
        faults += [
            f"LIVEKIT_PREVIOUS_KEYS: the secret of {key} must have {SHORTEST_SECRET} characters or more ({why})"
            for key, secret in self.livekit_previous_keys.items()
            if len(secret.get_secret_value()) < SHORTEST_SECRET
        ]
        if self.candidate_grace < SHORTEST_GRACE:
            faults.append(
                f"CANDIDATE_GRACE: set {SHORTEST_GRACE} seconds or more, or a crashed agent looks like a closed room"
            )
        if self.join_policy is None:
            faults.append(
                "JOIN_POLICY: set 'invite' or 'phone', or say 'open' in so many words, "
                f"if whoever knows an interview's id may join it ({why})"
            )
        return faults

    @property
    def is_local(self) -> bool:
        """True on a laptop: ENVIRONMENT=local and nobody from outside can connect."""
        return self.environment == "local" and is_loopback(self.host)

    @property
    def webhooks_to_private(self) -> bool:
        """Whether webhooks may go to private addresses, and by http: on a laptop, or where the operator says so."""
        return self.is_local if self.webhook_allow_private is None else self.webhook_allow_private

    @property
    def deployment_policy(self) -> JoinPolicy:
        """The join policy that no organization can fall short of; open only where nobody said otherwise on a laptop."""
        return self.join_policy or JoinPolicy.OPEN

    @property
    def invite_link(self) -> str | None:
        """The template of invitation links; without one on a laptop a page of this machine, elsewhere none."""
        return self.invite_url or (LOCAL_INVITE_URL if self.is_local else None)

    @cached_property
    def livekit_keys(self) -> dict[str, str]:
        """Every key pair whose signature on a webhook is accepted, the current one first."""
        previous = {key: secret.get_secret_value() for key, secret in self.livekit_previous_keys.items()}
        current = {self.livekit_api_key: self.livekit_api_secret.get_secret_value()}
        return {**current, **previous, **current}  # one name has one secret: the current one


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
