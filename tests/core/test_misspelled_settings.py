"""A name that is nearly one of our settings is found; the names of other programs are left alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.misspelled_settings import LONG, SETTINGS, SHORT, find_misspellings, nearest_setting

# What a shell, a desktop, a container, Kubernetes, a CI server, Postgres and LiveKit set, or people keep in .env.
NAMES = """
    PATH HOME HOSTNAME HOSTTYPE LANG LANGUAGE LC_ALL SHELL USER LOGNAME PWD OLDPWD SHLVL TERM TMPDIR TZ EDITOR PAGER
    DISPLAY XDG_DATA_DIRS XDG_DATA_HOME XDG_RUNTIME_DIR SSH_AUTH_SOCK VIRTUAL_ENV PYTHONPATH DEBUG LOG_LEVEL NODE_ENV CI
    POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB POSTGRES_HOST POSTGRES_PORT PGHOST PGPORT PGDATA PGUSER PGPASSWORD
    DB_HOST DB_PORT DATABASE_HOST DATABASE_PORT DATABASE_NAME DATABASE_USER DATABASE_PASSWORD TEST_DATABASE_URL
    DEV_DATABASE_URL MY_DATABASE_URL DATABASE_URL_2 REDIS_URL REDIS_HOST REDIS_PORT SMTP_HOST SMTP_PORT API_URL API_KEY
    KUBERNETES_PORT KUBERNETES_SERVICE_HOST KUBERNETES_PORT_443_TCP INTERVIEWS_PORT INTERVIEWS_SERVICE_HOST
    LIVEKIT_PORT LIVEKIT_SERVICE_HOST LIVEKIT_PORT_7880_TCP LIVEKIT_CONFIG LIVEKIT_KEYS LIVEKIT_KEY LIVEKIT_SERVER
    LIVEKIT_INGRESS_URL LIVEKIT_INGRESS_CONFIG_BODY LIVEKIT_EGRESS_URL LIVEKIT_SIP_URL LIVEKIT_LOG_LEVEL LIVEKIT_UI
    NEXT_PUBLIC_LIVEKIT_URL VITE_LIVEKIT_URL AGENT_ID AGENT_NAMESPACE AGENT_WORKFOLDER OPENAI_API_KEY DEEPGRAM_API_KEY
    SECRET_KEY JWT_SECRET CORS_ORIGINS WEB_CONCURRENCY GUNICORN_CMD_ARGS UVICORN_PORT FORWARDED_ALLOW_IPS HTTP_PROXY
    NO_PROXY NGROK_AUTHTOKEN SENTRY_DSN SENTRY_ENVIRONMENT AWS_REGION COMPOSE_PROJECT_NAME ENV APP_ENV RAILS_ENV TOKEN
    JOIN_URL INVITE POLICY WAIT WORKER_ID WORKDIR HISTFILE MAKEFLAGS MAKELEVEL INVOCATION_ID JOURNAL_STREAM _
"""
OTHERS = NAMES.split()


def misspellings_of(setting: str) -> Iterator[str]:
    """Yield the name with a letter dropped, one doubled, two swapped, another separator."""
    for at in range(len(setting)):
        yield setting[:at] + setting[at + 1 :]
        yield setting[: at + 1] + setting[at:]
        yield setting[:at] + setting[at : at + 2][::-1] + setting[at + 2 :]
    for separator in ("", "-", ".", "__"):
        yield setting.replace("_", separator)


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_misspelling_of_each_setting_is_found(setting: str) -> None:
    wrong = {name for name in misspellings_of(setting) if name != setting}
    assert len(wrong) > 8
    assert {name: nearest_setting(name) for name in wrong} == dict.fromkeys(wrong, setting)
    assert nearest_setting(next(iter(wrong)).lower()) == setting


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ENVIROMENT", "ENVIRONMENT"),
        ("ALLOWED_ORIGN", "ALLOWED_ORIGINS"),
        ("TRUSTED_PROXYS", "TRUSTED_PROXIES"),
        ("RATE_LIMIT_PER_ADRES", "RATE_LIMIT_PER_ADDRESS"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
        ("JOIN_POLICIES", "JOIN_POLICY"),
    ],
)
def test_what_people_write(name: str, meant: str) -> None:
    assert nearest_setting(name) == meant


@pytest.mark.parametrize("name", [*OTHERS, *SETTINGS, *map(str.lower, SETTINGS)])
def test_names_of_others_and_our_own_are_left_alone(name: str) -> None:
    assert nearest_setting(name) is None


def found_in(folder: Path, text: str) -> list[str]:
    file = folder / ".env"
    file.write_text(text, encoding="utf-8")
    return find_misspellings({}, file).faults


def test_a_file_is_refused_with_the_setting_that_was_meant(tmp_path: Path) -> None:
    assert found_in(tmp_path, "JOIN_POLCY=phone\n") == [
        "JOIN_POLCY (in .env): not a setting; did you mean JOIN_POLICY?"
    ]
    assert len(found_in(tmp_path, "PRT=8001\nexport JOIN-POLICY=phone\n\ufeffJOINPOLICY='phone'\n# JOIN_POLCY=\n")) == 3


@pytest.mark.parametrize(
    "line",
    [
        *("JOIN_POLICY:phone", "JOIN_POLICY: phone", "JOIN_POLICY;phone", "JOIN_POLICY,phone", "JOIN_POLICY phone"),
        *(
            "export JOIN_POLICY:phone",
            "set JOIN_POLICY=phone",
            '$env:JOIN_POLICY="phone"',
            "JOIN_POLICY",
            "JOIN POLICY=phone",
        ),
    ],
)
def test_a_line_that_sets_nothing_is_refused(tmp_path: Path, line: str) -> None:
    (fault,) = found_in(tmp_path, f"PORT=8001\n{line}\n")
    assert "JOIN_POLICY" in fault


def test_other_names_of_a_shared_file_are_left_alone(tmp_path: Path) -> None:
    assert found_in(tmp_path, "\n".join(f"{name}=1" for name in [*OTHERS, *SETTINGS])) == []
    assert found_in(tmp_path, "something else\n-----\n") == []
    assert find_misspellings({}, tmp_path / "missing").faults == []
    assert find_misspellings({}, tmp_path).faults == []


@pytest.mark.parametrize(
    "line", ["JOIN_POLICY: phone", "JOIN_POLICY phone", "JOIN_POLICY", "export JOIN_POLICY: phone"]
)
def test_a_line_of_ours_that_sets_nothing_is_refused(tmp_path: Path, line: str) -> None:
    assert found_in(tmp_path, f"PORT=1\n\n{line}\nHOST=a") == [
        "JOIN_POLICY: its line in .env can't be read; write JOIN_POLICY=value"
    ]


@pytest.mark.parametrize("line", ["JOIN POLICY=phone", "JOIN POLICY: phone", "JOIN_POLCY: phone", "JOIN_POLCY phone"])
def test_a_misspelling_in_a_line_that_cannot_be_read(tmp_path: Path, line: str) -> None:
    (fault,) = found_in(tmp_path, line)
    assert fault.endswith("did you mean JOIN_POLICY?")


def test_no_value_is_shown(tmp_path: Path) -> None:
    text = "LIVEKIT_API_SECERT=hush\nLIVEKIT_API_SECRET: hush\nBOOTSTRAP_API_KEY hush\n"
    found = found_in(tmp_path, text)
    assert len(found) == 3
    assert "hush" not in str(found)


def test_the_environment_is_shared_with_other_programs(tmp_path: Path) -> None:
    """A name near a long setting is ours. One near a short setting may be another's, as is one beside the setting."""
    none = tmp_path / "missing"
    for setting in SETTINGS:
        letters = len(setting.replace("_", ""))
        found = find_misspellings({f"{setting}S": "1"}, none)
        assert (len(found.faults), len(found.warnings)) == ((0, 1) if letters < SHORT else (1, 0)), setting
        assert find_misspellings({f"{setting}S": "1", setting: "1"}, none) == ([], [])
    assert SHORT < LONG
    assert find_misspellings(dict.fromkeys(OTHERS, "1"), none) == ([], [])
