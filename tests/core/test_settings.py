"""Settings: where they come from, and when the service refuses to start."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.core.database import masked
from app.core.hosts import is_loopback, is_private
from app.core.settings import DatabaseSettings, Settings, faults_of
from tests.conftest import make_settings

SAFE: dict[str, str] = {
    "ENVIRONMENT": "production",
    "LIVEKIT_API_KEY": "APIkey",
    "LIVEKIT_API_SECRET": "s" * 32,
    "BOOTSTRAP_API_KEY": "ik_" + "k" * 29,
    "JOIN_POLICY": "open",
    "ALLOWED_ORIGINS": "https://hire.example",
    "LIVEKIT_URL": "wss://livekit.example",
    "DATABASE_URL": "postgresql://u@h/d",
}
RULES = tuple(name for name in SAFE if name != "ENVIRONMENT")


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings()


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    with pytest.raises(ValidationError) as refused:
        read(monkeypatch, **environment)
    return str(refused.value)


def test_a_laptop_needs_no_setting() -> None:
    settings = Settings()
    assert settings.is_local
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.database_url is None
    assert settings.livekit_keys == {"devkey": "secret"}
    assert settings.bootstrap_api_key.get_secret_value() == "ik_local"


@pytest.mark.parametrize(
    "outside",
    [{"ENVIRONMENT": "production"}, {"HOST": "0.0.0.0"}, {"HOST": "::"}, {"HOST": "a.example"}],  # noqa: S104 - refused
    ids=str,
)
def test_outside_a_laptop_all_unsafe_settings_are_reported_at_once(
    monkeypatch: pytest.MonkeyPatch, outside: dict[str, str]
) -> None:
    message = refusal(monkeypatch, **outside)
    assert all(f"{rule}: " in message for rule in RULES)
    assert all(f"{name}={value}" in message for name, value in outside.items())


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_stands_alone(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    message = refusal(monkeypatch, **{name: value for name, value in SAFE.items() if name != rule})
    assert [name for name in RULES if f"{name}: " in message] == [rule]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "interviews.example"])  # noqa: S104 - allowed here
def test_safe_settings_start(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    settings = read(monkeypatch, **SAFE, HOST=host)
    assert not settings.is_local


def test_no_secret_is_echoed(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "LIVEKIT_API_SECRET": "shortsecret",
        "BOOTSTRAP_API_KEY": "ik_shortkey",
        "DATABASE_URL": "postgresql://u:dbpassword@h/d",
        "LIVEKIT_PREVIOUS_KEYS": "oldkey:oldsecret",
    }
    message = refusal(monkeypatch, ENVIRONMENT="production", **given)
    message += refusal(monkeypatch, LIVEKIT_PREVIOUS_KEYS="oldsecret", PORT="eightthousand")
    for secret in ("shortsecret", "ik_shortkey", "dbpassword", "oldsecret", "eightthousand"):
        assert secret not in message
    monkeypatch.delenv("PORT")
    monkeypatch.setenv("LIVEKIT_PREVIOUS_KEYS", "oldkey:oldsecret")
    settings = read(monkeypatch, ENVIRONMENT="local")
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        for secret in ("shortsecret", "ik_shortkey", "dbpassword", "oldsecret"):
            assert secret not in shown


@pytest.mark.parametrize("policy", ["open", "phone", "invite"])
def test_a_join_policy_that_is_set_applies(monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    assert read(monkeypatch, **SAFE | {"JOIN_POLICY": policy}).deployment_policy == policy


def test_by_default_joins_are_open_on_a_laptop_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch).deployment_policy == "open"
    refused = refusal(monkeypatch, **{name: value for name, value in SAFE.items() if name != "JOIN_POLICY"})
    assert "JOIN_POLICY: set 'invite' or 'phone', or 'open' if anyone with an interview's id may join it" in refused


def test_links_of_invitations(monkeypatch: pytest.MonkeyPatch) -> None:
    template = "https://jobs.example/i/{interviewId}#invite={secret}"
    assert "#invite={secret}" in (read(monkeypatch).invite_link or "")  # a laptop has one
    assert read(monkeypatch, **SAFE).invite_link is None
    assert read(monkeypatch, INVITE_URL=template).invite_link == template


@pytest.mark.parametrize(
    "template",
    [
        "https://jobs.example/i/{interviewId}?invite={secret}",
        "https://jobs.example/i/{interviewId}/{secret}#",
        "https://jobs.example/i/{interviewId}?s={secret}#{secret}",
        "https://jobs.example/i#{secret}",
        "https://jobs.example/i/{interviewId}",
    ],
)
def test_a_link_whose_secret_would_be_logged_is_refused(monkeypatch: pytest.MonkeyPatch, template: str) -> None:
    assert "INVITE_URL: must have {interviewId} before the # and {secret} only after it, as in https://" in refusal(
        monkeypatch, INVITE_URL=template
    )


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        ("", {}),
        ("a:b", {"a": "b"}),
        ("a:b,c:d", {"a": "b", "c": "d"}),
        (" a:b , c:d ,", {"a": "b", "c": "d"}),
        ("a:b:c", {"a": "b:c"}),
        ("a:b;c", {"a": "b;c"}),  # a secret may hold any character but a comma
    ],
)
def test_previous_keys(monkeypatch: pytest.MonkeyPatch, given: str, parsed: dict[str, str]) -> None:
    settings = read(monkeypatch, LIVEKIT_PREVIOUS_KEYS=given)
    assert {key: secret.get_secret_value() for key, secret in settings.livekit_previous_keys.items()} == parsed
    assert settings.livekit_keys == {"devkey": "secret"} | parsed
    assert next(iter(settings.livekit_keys)) == "devkey"


@pytest.mark.parametrize("given", ["a", "a:", ":b", "a:b,c"])
def test_previous_keys_that_are_not_pairs(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    assert "must be key:secret pairs, separated by commas" in refusal(monkeypatch, LIVEKIT_PREVIOUS_KEYS=given)


def test_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, ALLOWED_ORIGINS="https://a.example/, https://b.example:8443 ,")
    assert settings.allowed_origins == ("https://a.example", "https://b.example:8443")
    assert read(monkeypatch, ALLOWED_ORIGINS="").allowed_origins == ()


@pytest.mark.parametrize(
    "origin",
    [
        "*", "null", "https://*.a.example", "https://a.example/x", "https://a.example?x", "https://a.example#x",
        "https://A.example", "https://a.example:443", "http://a.example:80", "https://a.example:x", "a.example",
        "https://", "wss://a.example", "https://user@a.example", "https://é.example", "https://a.example:", "https://[::1",
        "https://a.example\\.b", "HTTPS://a.example", "https://a.example:08443",
    ],
)  # fmt: skip
def test_what_no_browser_sends_is_not_an_origin(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    message = refusal(monkeypatch, ALLOWED_ORIGINS=f"https://b.example,{origin}")
    assert "ALLOWED_ORIGINS: number 2 is not an origin" in message


def test_origins_of_all_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("http://localhost:5173", "http://[::1]:8080", "https://xn--bcher-kva.example", "http://10.0.0.1")
    assert read(monkeypatch, ALLOWED_ORIGINS=",".join(given)).allowed_origins == given


@pytest.mark.parametrize(
    ("name", "url", "allowed"),
    [
        ("LIVEKIT_URL", "wss://livekit.example", True),
        ("LIVEKIT_URL", "ws://127.0.0.1:7880", True),
        ("LIVEKIT_URL", "ws://[::1]:7880", True),
        ("LIVEKIT_URL", "ws://localhost:7880", True),
        ("LIVEKIT_URL", "ws://livekit.example", False),
        ("LIVEKIT_URL", "ws://10.0.0.1", False),
        ("LIVEKIT_URL", "ws://127.0.0.1.nip.io", False),
        ("LIVEKIT_URL", "ws://127.0.0.1@livekit.example", False),
        ("LIVEKIT_URL", "https://livekit.example", False),
        ("LIVEKIT_URL", "livekit.example", False),
        ("LIVEKIT_URL", "wss://", False),
        ("LIVEKIT_URL", "wss://[", False),
        ("LIVEKIT_API_URL", "https://livekit.example", True),
        ("LIVEKIT_API_URL", "wss://livekit.example", True),
        ("LIVEKIT_API_URL", "http://livekit:7880", True),
        ("LIVEKIT_API_URL", "http://livekit.default.svc:7880", True),
        ("LIVEKIT_API_URL", "http://livekit.default.svc.cluster.local", True),
        ("LIVEKIT_API_URL", "http://10.1.2.3:7880", True),
        ("LIVEKIT_API_URL", "ws://[fd00::1]:7880", True),
        ("LIVEKIT_API_URL", "http://livekit.example", False),
        ("LIVEKIT_API_URL", "http://8.8.8.8", False),
        ("LIVEKIT_API_URL", "http://", False),
        ("LIVEKIT_API_URL", "livekit:7880", False),
    ],
)
def test_livekit_urls(monkeypatch: pytest.MonkeyPatch, name: str, url: str, allowed: bool) -> None:
    if allowed:
        assert not read(monkeypatch, **SAFE | {name: url}).is_local
    else:
        assert f"{name}: " in refusal(monkeypatch, **SAFE | {name: url})


def test_a_loopback_livekit_that_was_set_is_not_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default would send candidates to their own machines; for one machine it can be named."""
    missing = refusal(monkeypatch, **{name: value for name, value in SAFE.items() if name != "LIVEKIT_URL"})
    assert "LIVEKIT_URL: set the wss:// URL of your LiveKit server, as browsers reach it (required because" in missing
    default = Settings.model_fields["livekit_url"].default
    assert read(monkeypatch, **SAFE | {"LIVEKIT_URL": default}).livekit_url == default


def test_the_database_alone_needs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    with pytest.raises(ValidationError) as refused:
        DatabaseSettings()
    (fault,) = faults_of(refused.value, DatabaseSettings)
    assert fault.startswith("DATABASE_URL: set the URL of a Postgres server")
    monkeypatch.setenv("DATABASE_URL", SAFE["DATABASE_URL"])
    assert DatabaseSettings().database_url


def test_a_private_host_is_recognized_by_its_name_alone() -> None:
    assert not is_private("")
    assert is_private("169.254.1.1")
    assert not is_private("local.example")


def test_one_message_has_the_faults_of_single_values_and_of_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"PORT": "eightthousand", "ENVIRONMENT": "staging", "LIVEKIT_PREVIOUS_KEYS": "oldsecret"}
    with pytest.raises(ValidationError) as refused:
        read(monkeypatch, **given, ALLOWED_ORIGINS="https://user:hush@a.example")
    lines = faults_of(refused.value)
    names = [line.partition(":")[0] for line in lines]
    assert set(names) == {*given, *RULES}
    assert len(names) == len(set(names))
    assert not [each for each in ("eightthousand", "staging", "oldsecret", "hush") if each in str(lines)]


def test_env_file_of_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = "PORT=9001\nAGENT_NAME=interviewer\nLIVEKIT_PREVIOUS_KEYS=a:b\nSOMEBODY_ELSES=1\n"
    (tmp_path / ".env").write_text(lines)
    settings = Settings()
    assert (settings.port, settings.agent_name) == (9001, "interviewer")
    assert settings.livekit_keys["a"] == "b"
    assert read(monkeypatch, PORT="9002").port == 9002  # the environment wins
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Settings().agent_name == ""


def test_settings_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc] # what mypy refuses as well


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - only a question, nothing listens
        ("::", False),
        ("", False),
        ("192.168.1.2", False),
        ("interviews.example", False),
        ("localhost.example", False),
        ("127.0.0.1.nip.io", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    if loopback:
        assert make_settings(host=host).is_local


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"), ("PORT", "-1"), ("CANDIDATE_GRACE", "0"), ("AGENT_WAIT", "-1"), ("TOKEN_WAIT", "soon"),
        ("ENVIRONMENT", "staging"), ("JOIN_POLICY", "everybody"), ("RUN_WORKER", "perhaps"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_names_its_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    assert name.lower() in refusal(monkeypatch, **{name: value})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:hush@host:5432/d", "postgresql://user:***@host:5432/d"),
        ("postgres://user:h@u:s/h@host/d?sslmode=require", "postgres://user:***@host/d?sslmode=require"),
        ("postgresql://:hush@host/d", "postgresql://:***@host/d"),
        (
            "postgresql://user@host/d?password=hush&sslmode=require",
            "postgresql://user@host/d?password=***&sslmode=require",
        ),
        ("postgresql://user:hush@a:1,b:2/d", "postgresql://user:***@a:1,b:2/d"),
        ("postgresql://user@host:5432/d", "postgresql://user@host:5432/d"),
        ("postgresql://user@/d?host=/run/postgres&port=5432", "postgresql://user@/d?host=/run/postgres&port=5432"),
        ("postgresql://[user:hush@host", "postgresql://[user:***@host"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_database_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize("rule", RULES)
def test_a_variable_that_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    assert f"{rule}: " in refusal(monkeypatch, **SAFE | {rule: ""})


@pytest.mark.parametrize("given", ["10.0.0.0/8", " 192.0.2.7 , ::1", ""])
def test_proxies_that_are_trusted(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    expected = tuple(each.strip() for each in given.split(",") if each.strip())
    assert read(monkeypatch, TRUSTED_PROXIES=given).trusted_proxies == expected


@pytest.mark.parametrize("given", ["*", "proxy.example", "10.0.0.0/40", "10.0.0.1;10.0.0.2"])
def test_what_is_not_a_proxys_address_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    assert "trusted_proxies" in refusal(monkeypatch, TRUSTED_PROXIES=given)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "65536", "must be 65535 or less"),
        ("PORT", "eightthousand", "must be an integer"),
        ("CANDIDATE_GRACE", "0", "must be more than 0"),
        ("DATABASE_POOL_SIZE", "1", "must be more than 1"),
        ("PERSONAL_DATA_RETENTION_DAYS", "36501", "must be 36500 or less"),
        ("ENVIRONMENT", "staging", "must be 'local' or 'production'"),
        ("JOIN_POLICY", "everybody", "must be 'open', 'phone' or 'invite'"),
        ("RUN_WORKER", "perhaps", "must be true or false"),
        ("TRUSTED_PROXIES", "hush.example", "must be IP addresses or networks, separated by commas"),
        ("RATE_LIMIT_PER_KEY", "often", "must be one limit, such as 600/minute"),
        ("DATABASE_URL", "mysql://u:hush@h/d", "must begin with postgresql://, as in postgresql://user:password@host:"),
        ("DATABASE_URL", "postgres:/d", "must begin with postgresql://"),
        ("DATABASE_LISTEN_URL", "hush.example/d", "must begin with postgresql://"),
        ("DATABASE_URL", "postgresql+asyncpg://u:hush@h/d", "must begin with postgresql://"),
        ("RATE_LIMIT_STORAGE_URL", "ftp://u:hush@h", "must be memory://, or a URL that begins with redis"),
    ],
)
def test_a_bad_value_names_its_setting_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        read(monkeypatch, **{name: value})
    lines = faults_of(refused.value)
    assert lines[0].startswith(f"{name}: {message}")
    assert "hush" not in str(lines)
    assert not [line for line in lines if "Input" in line or "should" in line]


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({"ENVIRONMENT": "production"}, "(required because ENVIRONMENT=production)"),
        ({"ENVIRONMENT": "production", "HOST": "127.0.0.1"}, "(required because ENVIRONMENT=production)"),
        ({"HOST": "0.0.0.0"}, "(required because HOST=0.0.0.0)"),  # noqa: S104 - refused
        (
            {"ENVIRONMENT": "production", "HOST": "0.0.0.0"},  # noqa: S104 - refused
            "(required because ENVIRONMENT=production and HOST=0.0.0.0)",
        ),
    ],
    ids=str,
)
def test_a_rule_names_its_cause_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], cause: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        read(monkeypatch, **given)
    lines = faults_of(refused.value)
    assert len(lines) == len(RULES)
    assert [line for line in lines if not line.endswith(cause)] == []
