"""Nothing is sent into the service's own network, whatever the URL, the host name or the name server."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app.core.errors import WebhookTargetRefused
from app.webhooks.retry_policy import DeliveryResponse
from app.webhooks.sender import Sender
from app.webhooks.url_guard import Resolve, check_url, refusal_reason, resolve_host
from tests.webhooks.receiver import receiving

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.15.0.1",
    "172.32.0.1",
    "2606:4700:4700::1111",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
]
REFUSED = [
    "0.0.0.0",  # noqa: S104 - refused
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.1.2.3",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "224.0.1.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2002:808:808::",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert refusal_reason(address) is None


@pytest.mark.parametrize("address", REFUSED)
def test_refused_addresses(address: str) -> None:
    why = refusal_reason(address)
    assert why
    assert address in why


def answering(*answers: Sequence[str]) -> Resolve:
    """A name server that gives one answer after the other, and then repeats the last."""
    left = list(answers)

    async def resolve(_: str, __: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/",
        "http://a.example:8080/",
        "ftp://a.example/",
        "https://user@a.example/",
        "https://user:password@a.example/",
        "https://:@a.example/",
        "https://a.example:22/",
        "https://a.example:80/",
        "https://a.example:0/",
        "https://a.example:99999/",
        "https://a.example:x/",
        "https://[::1/",
    ],
)
async def test_refused_urls(url: str) -> None:
    with pytest.raises(WebhookTargetRefused):
        await check_url(url, allow_private=False, resolve=answering(["8.8.8.8"]))


@pytest.mark.parametrize("url", ["http://a.example:0/", "http://a.example:65536/"])
async def test_no_port_but_a_real_one_is_taken_where_private_addresses_are_allowed(url: str) -> None:
    with pytest.raises(WebhookTargetRefused, match="port from 1 to 65535"):
        await check_url(url, allow_private=True, resolve=answering(["10.0.0.1"]))


@pytest.mark.parametrize(
    "url", ["https://a.example/", "https://a.example:8443/x?y=z", "https://8.8.8.8/", "https://[2606:4700::1]/"]
)
async def test_accepted_urls(url: str) -> None:
    await check_url(url, allow_private=False, resolve=answering(["8.8.8.8"]))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:7f00:1]"]
)
async def test_every_spelling_of_localhost_is_refused(host: str) -> None:
    with pytest.raises(WebhookTargetRefused):
        await check_url(f"https://{host}/", allow_private=False, resolve=resolve_host)
    answer = await sent(f"https://{host}/", resolve=resolve_host)
    assert answer.error
    assert answer.error.startswith("Refused. ")


async def test_one_private_address_among_public_ones_is_enough() -> None:
    with pytest.raises(WebhookTargetRefused, match=r"10\.0\.0\.1"):
        await check_url("https://a.example/", allow_private=False, resolve=answering(["8.8.8.8", "10.0.0.1"]))


async def test_an_unresolvable_name_is_accepted_and_its_delivery_fails() -> None:
    async def fails(_: str, __: int) -> Sequence[str]:
        raise OSError("no such host")

    await check_url("https://a.example/", allow_private=False, resolve=fails)
    answer = await sent("https://a.example/", resolve=fails)
    assert answer.error == "No connection: The host's name can't be resolved."


async def sent(
    url: str, *, resolve: Resolve, allow_private: bool = False, tls: ssl.SSLContext | None = None
) -> DeliveryResponse:
    async with Sender(allow_private=allow_private, concurrency=1, resolve=resolve, tls=tls) as sender:
        return await sender.post(url, headers={}, body=b"{}")


async def test_a_name_that_turns_private_after_the_check_is_not_connected_to() -> None:
    async with receiving() as receiver:
        rebinding = answering(["8.8.8.8"], ["127.0.0.1"])
        url = f"https://a.example:{receiver.port}/"
        await check_url(url, allow_private=False, resolve=rebinding)
        answer = await sent(url, resolve=rebinding)
        assert answer.error == "Refused. Give a host with public addresses only: 127.0.0.1 is not a public address."
        assert answer.status_code is None
        assert receiver.connections == 0


async def test_http_is_refused_by_the_sender_too() -> None:
    answer = await sent("http://a.example/", resolve=answering(["8.8.8.8"]))
    assert answer.error
    assert "https" in answer.error


async def test_the_sender_connects_to_the_checked_address() -> None:
    asked: list[str] = []

    async def resolve(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    async with receiving() as receiver:
        answer = await sent(f"http://a.example:{receiver.port}/", resolve=resolve, allow_private=True)
        assert (answer.status_code, asked) == (200, ["a.example"])
        assert receiver.received[0].headers["host"] == f"a.example:{receiver.port}"


async def test_the_next_address_is_tried_when_one_fails(unused_port: int) -> None:
    async with receiving() as receiver:
        resolve = answering(["127.0.0.2", "127.0.0.1"])  # the receiver listens on the second alone
        answer = await sent(f"http://a.example:{receiver.port}/", resolve=resolve, allow_private=True)
        assert answer.status_code == 200
    answer = await sent(f"http://a.example:{unused_port}/", resolve=resolve, allow_private=True)
    assert answer.error
    assert answer.error.startswith("No connection")


@pytest.fixture
def unused_port() -> Iterator[int]:
    """Nothing listens on it, and no other process can take it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port}")
    async with receiving() as receiver:
        answer = await sent(receiver.url, resolve=resolve_host, allow_private=True)
        assert answer.status_code == 200


class TestTLS:
    async def test_the_host_name_is_used_for_sni_and_certificates(self, tmp_path: Path) -> None:
        server, trusting = certificate_for("a.example", tmp_path)
        names: list[str | None] = []
        server.sni_callback = lambda _, name, __: names.append(name)
        async with receiving(server) as receiver:
            resolve = answering(["127.0.0.1"])
            for host, status_code in (("a.example", 200), ("b.example", None)):
                url = f"https://{host}:{receiver.port}/"
                answer = await sent(url, resolve=resolve, allow_private=True, tls=trusting)
                assert answer.status_code == status_code, answer.error
        assert names == ["a.example", "b.example"]
        assert answer.error
        assert answer.error.startswith("The certificate is not valid")

    async def test_an_untrusted_certificate_is_refused(self, tmp_path: Path) -> None:
        server, _ = certificate_for("a.example", tmp_path)
        async with receiving(server) as receiver:
            url = f"https://a.example:{receiver.port}/"
            answer = await sent(url, resolve=answering(["127.0.0.1"]), allow_private=True)
            assert receiver.received == []
        assert answer.error
        assert answer.error.startswith("The certificate is not valid")


def certificate_for(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context with a certificate of its own, and a client's that trusts it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not there")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(  # noqa: S603 - the arguments are the test's own
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
        ],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))
