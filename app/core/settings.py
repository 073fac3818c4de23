"""Settings: read once from the environment and .env, frozen, and refused if they are unsafe."""

import ipaddress
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.core.hosts import MAX_PORT, is_exact_origin, is_loopback, is_private, split_url
from app.core.limit_notation import is_shared, parse_limit
from app.core.validation_messages import message_of
from app.lifecycle import Timeouts

# The defaults on a laptop. `livekit-server --dev` uses the same key pair.
LOCAL_LIVEKIT_KEY = "devkey"
LOCAL_LIVEKIT_SECRET = "secret"  # noqa: S105 - public, and refused outside a laptop
LOCAL_API_KEY = "ik_local"
LOCAL_INVITE_URL = "http://localhost:3000/interview/{interviewId}#invite={secret}"

MIN_SECRET_LENGTH = 32  # characters; LiveKit itself warns below that
MIN_GRACE = 20  # seconds; LiveKit notices a crash only then, and the room must outlive it

ENV_FILE = Path(".env")  # in the working directory


class JoinPolicy(StrEnum):
    """From the least strict to the strictest. PHONE accepts a valid invite too, as that is harder to guess."""

    OPEN = "open"
    PHONE = "phone"
    INVITE = "invite"


STRICTNESS = tuple(JoinPolicy)


def stricter(deployment: JoinPolicy, organization: JoinPolicy | None) -> JoinPolicy:
    """Return the stricter policy: an organization can tighten the deployment's policy, never loosen it."""
    return deployment if organization is None else max(deployment, organization, key=STRICTNESS.index)


def _parse_keys(value: object) -> object:
    """Read `key:secret,key:secret`."""
    if not isinstance(value, str):
        return value
    pairs = [pair.partition(":") for pair in _split_list(value)]
    if not all(key and secret for key, _, secret in pairs):
        raise ValueError("must be key:secret pairs, separated by commas")
    return {key: secret for key, _, secret in pairs}


def _parse_origins(value: object) -> object:
    """Read `https://a.example,https://b.example`."""
    return tuple(origin.rstrip("/") for origin in _split_list(value)) if isinstance(value, str) else value


def _parse_proxies(value: object) -> object:
    """Read `10.0.0.0/8,192.0.2.7`."""
    if not isinstance(value, str):
        return value
    networks = tuple(_split_list(value))
    try:
        for network in networks:
            ipaddress.ip_network(network, strict=False)
    except ValueError as error:  # its text contains the value
        raise ValueError("must be IP addresses or networks, separated by commas: 10.0.0.0/8,192.0.2.7") from error
    return networks


def _split_list(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _check_limit(value: str) -> str:
    parse_limit(value)
    return value


def _check_storage(value: SecretStr) -> SecretStr:
    is_shared(value.get_secret_value())
    return value


def _check_database_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if not url.startswith(("postgresql://", "postgres://")):  # asyncpg guesses what is missing
        raise ValueError("must begin with postgresql://, as in postgresql://user:password@host:5432/name")
    return value


Seconds = Annotated[int, Field(gt=0)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_check_database_url)]
Limit = Annotated[str, AfterValidator(_check_limit)]


class Settings(BaseSettings):
    """The settings of one process. docs/configuration.md lists all of them."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_ignore_empty=True,  # compose files and charts set unused variables to nothing
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    environment: Literal["local", "production"] = "local"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=MAX_PORT)] = 8000
    workers: Annotated[int, Field(gt=0)] = 1
    data_dir: Path = Path(".data")
    database_url: DatabaseUrl | None = None
    database_listen_url: DatabaseUrl | None = None
    database_pool_size: Annotated[int, Field(gt=1)] = 5
    livekit_url: str = "ws://127.0.0.1:7880"
    livekit_api_url: str | None = None
    livekit_api_key: str = LOCAL_LIVEKIT_KEY
    livekit_api_secret: SecretStr = SecretStr(LOCAL_LIVEKIT_SECRET)
    livekit_previous_keys: Annotated[dict[str, SecretStr], NoDecode, BeforeValidator(_parse_keys)] = {}
    agent_name: str = ""
    join_policy: JoinPolicy | None = None
    invite_url: str = ""
    client_metadata_updates: bool = False  # with true, a connection's own request may replace the token's metadata too
    allowed_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_origins)] = ()
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_proxies)] = ()
    bootstrap_api_key: SecretStr = SecretStr(LOCAL_API_KEY)
    rate_limit_per_address: Limit = "60000/minute"
    rate_limit_per_key: Limit = "30000/minute"
    rate_limit_storage_url: Annotated[SecretStr, AfterValidator(_check_storage)] = SecretStr("memory://")
    run_worker: bool = True
    candidate_grace: Seconds = 120
    agent_wait: Seconds = 90
    dispatch_after: Seconds = 30
    token_wait: Seconds = 120
    candidate_waited: Seconds = 30
    goodbye: Seconds = 10
    reconcile_every: Seconds = 30
    webhook_allow_private: bool | None = None
    personal_data_retention_days: Annotated[int, Field(gt=0, le=36_500)] | None = None

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        if faults := self._faults():
            raise ValueError("\n".join(faults))
        return self

    def _faults(self) -> list[str]:
        faults = [*self._leaking_links(), *self._inexact_origins(), *([] if self.is_local else self._unsafe_defaults())]
        if self.agent_name and self.dispatch_after >= self.agent_wait:
            faults.insert(0, "DISPATCH_AFTER: must be less than AGENT_WAIT, or no agent is ever dispatched")
        return faults

    def _leaking_links(self) -> list[str]:
        """The secret must be in the link's fragment: browsers don't send that to servers, so no server logs it."""
        before, _, fragment = self.invite_url.partition("#")
        if not self.invite_url or ("{secret}" in fragment and "{secret}" not in before and "{interviewId}" in before):
            return []
        return [
            "INVITE_URL: must have {interviewId} before the # and {secret} only after it, as in "
            "https://jobs.example/interview/{interviewId}#invite={secret}"
        ]

    def _inexact_origins(self) -> list[str]:
        return [
            f"ALLOWED_ORIGINS: number {number} is not an origin as browsers send it: write https://host or "
            "https://host:port, in lower case, without a path, a default port or *"
            for number, origin in enumerate(self.allowed_origins, 1)
            if not is_exact_origin(origin)
        ]

    def _unsafe_defaults(self) -> list[str]:
        """Return a line for each default that is safe on a laptop only."""
        faults = []
        if self.livekit_api_key == LOCAL_LIVEKIT_KEY:
            faults.append("LIVEKIT_API_KEY: set your LiveKit server's API key")
        secrets = {
            "LIVEKIT_API_SECRET: set a secret of": self.livekit_api_secret,
            "BOOTSTRAP_API_KEY: set a key of": self.bootstrap_api_key,
            **{f"LIVEKIT_PREVIOUS_KEYS: the secret of {k} must have": v for k, v in self.livekit_previous_keys.items()},
        }
        faults += [
            f"{fault} {MIN_SECRET_LENGTH} characters or more"
            for fault, secret in secrets.items()
            if len(secret.get_secret_value()) < MIN_SECRET_LENGTH
        ]
        if self.candidate_grace < MIN_GRACE:
            faults.append(
                f"CANDIDATE_GRACE: set {MIN_GRACE} seconds or more, or a crashed agent looks like a closed room"
            )
        if self.join_policy is None:
            faults.append(
                "JOIN_POLICY: set 'invite' or 'phone', or 'open' if anyone with an interview's id may join it"
            )
        if not self.allowed_origins:
            faults.append("ALLOWED_ORIGINS: set the origins of the candidates' and recruiters' pages")
        return [self._with_cause(fault) for fault in faults + self._unsafe_livekit_urls()] + self._missing_database()

    def _missing_database(self) -> list[str]:
        if self.is_local or self.database_url is not None:
            return []
        return [self._with_cause("DATABASE_URL: set the URL of a Postgres server; the embedded one is for laptops")]

    def _with_cause(self, fault: str) -> str:
        """Return the fault with the settings that make this more than a laptop."""
        causes = [] if self.environment == "local" else [f"ENVIRONMENT={self.environment}"]
        causes += [] if is_loopback(self.host) else [f"HOST={self.host}"]
        return f"{fault} (required because {' and '.join(causes)})"

    def _unsafe_livekit_urls(self) -> list[str]:
        faults = []
        url = split_url(self.livekit_url)
        if "livekit_url" not in self.model_fields_set:  # its default would send candidates to their own machines
            faults.append("LIVEKIT_URL: set the wss:// URL of your LiveKit server, as browsers reach it")
        elif not (url.hostname and (url.scheme == "wss" or (url.scheme == "ws" and is_loopback(url.hostname)))):
            faults.append("LIVEKIT_URL: set a wss:// URL; ws:// is allowed for loopback addresses only")
        url = split_url(self.livekit_api_url or self.livekit_url)
        plain = url.scheme in ("http", "ws") and is_private(url.hostname or "")
        if self.livekit_api_url is not None and not (url.hostname and (url.scheme in ("https", "wss") or plain)):
            faults.append(
                "LIVEKIT_API_URL: set an https:// or wss:// URL; http:// and ws:// are allowed in private networks "
                "only: a loopback or private address, or a name without a dot"
            )
        return faults

    @property
    def timeouts(self) -> Timeouts:
        """The timeouts of the status rules."""
        return Timeouts(
            candidate_grace=timedelta(seconds=self.candidate_grace),
            agent_wait=timedelta(seconds=self.agent_wait),
            dispatch_after=timedelta(seconds=self.dispatch_after) if self.agent_name else None,
            token_wait=timedelta(seconds=self.token_wait),
            candidate_waited=timedelta(seconds=self.candidate_waited),
            delete_room_after=timedelta(seconds=self.goodbye),
        )

    @property
    def is_local(self) -> bool:
        """Whether this is a laptop: ENVIRONMENT=local, and only local clients can connect."""
        return self.environment == "local" and is_loopback(self.host)

    @property
    def webhooks_to_private(self) -> bool:
        """Whether webhooks may go to private addresses and over http: on a laptop, or if the operator allows it."""
        return self.is_local if self.webhook_allow_private is None else self.webhook_allow_private

    @property
    def retention(self) -> timedelta | None:
        """How long an interview's personal data is kept after its end; None: forever."""
        days = self.personal_data_retention_days
        return None if days is None else timedelta(days=days)

    @property
    def deployment_policy(self) -> JoinPolicy:
        """The least strict join policy of any organization. The default is open, on a laptop only."""
        return self.join_policy or JoinPolicy.OPEN

    @property
    def invite_link(self) -> str | None:
        """The template of invitation links. The default is a local page on a laptop, and None elsewhere."""
        return self.invite_url or (LOCAL_INVITE_URL if self.is_local else None)

    @cached_property
    def livekit_keys(self) -> dict[str, str]:
        """All key pairs that may sign a webhook, the current one first."""
        previous = {key: secret.get_secret_value() for key, secret in self.livekit_previous_keys.items()}
        current = {self.livekit_api_key: self.livekit_api_secret.get_secret_value()}
        return {**current, **previous, **current}  # the current one also wins over a previous one of the same name


class DatabaseSettings(Settings):
    """For a command that uses the database alone: no other setting need be there, or be safe."""

    def _faults(self) -> list[str]:
        return self._missing_database()


def faults_of(error: ValidationError, kind: type[Settings] = Settings) -> list[str]:
    """Return a line for each fault of the settings of that kind, without its value.

    If single values are invalid, pydantic has not checked the rules: they are checked with defaults for those values.
    """
    faults = error.errors(include_input=False, include_url=False)
    invalid = {str(fault["loc"][0]): message_of(fault) for fault in faults if fault["loc"]}
    rules = [line for fault in faults if not fault["loc"] for line in message_of(fault).splitlines()]
    if invalid:
        defaults: dict[str, Any] = {name: Settings.model_fields[name].default for name in invalid}
        if "environment" in invalid:
            defaults["environment"] = "production"  # which has more rules
        try:
            kind(**defaults)
        except ValidationError as further:
            rules = faults_of(further, kind)
    lines = [f"{name.upper()}: {message}" for name, message in invalid.items()]
    return lines + [line for line in rules if line.partition(":")[0].lower() not in invalid]
