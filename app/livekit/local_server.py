"""The configuration of a LiveKit server on this machine that fits a local start, written to DATA_DIR/livekit.yaml."""

import hashlib
import json
import shlex
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple
from urllib.parse import SplitResult

from app.core.hosts import is_loopback, split_url
from app.core.settings import Settings

FILE = "livekit.yaml"
MARK = "# Checksum, by which an edit is noticed: "
DEFAULT_PORT = 80  # of ws://

TEMPLATE = """\
# LiveKit on this machine, for the local start whose settings it was written from:
#
#   {command}
#
# It is written again when the settings change. If you edit it, it stays as you leave it until you delete it.
development: true # allows the short secret of the default key pair
logging: {{level: info}}
port: {port}
bind_addresses: [{address}] # the key pair is public: this machine only
keys:
{keys}
webhook:
  api_key: {webhook_key} # signs the webhooks
  urls: [{webhook_url}]
rtc:
  tcp_port: {tcp_port}
  udp_port: {udp_port}
  use_external_ip: false
  node_ip: 127.0.0.1 # media stays on this machine too, and works without a network
  enable_loopback_candidate: true
"""


class LocalServer(NamedTuple):
    """Where the configuration is, how to start LiveKit with it, and why it was not written (empty: it was)."""

    file: Path
    command: str
    problem: str


def address_of(settings: Settings) -> str:
    """Return the service's own address, as programs on this machine reach it."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not listened on
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def start_command(settings: Settings) -> str | None:
    """Return the command that starts a LiveKit for these settings; None if it is not for us to start."""
    return None if _local_url(settings) is None else f"livekit-server --config {shlex.quote(str(_file(settings)))}"


def write_config(settings: Settings) -> LocalServer | None:
    """Write the configuration, unless somebody edited it. None if LIVEKIT_URL is not of this machine, or we are not."""
    url, command = _local_url(settings), start_command(settings)
    if url is None or command is None:
        return None
    file = _file(settings)
    try:
        return LocalServer(file, command, _write(file, _config(settings, url, command)))
    except OSError as error:
        return LocalServer(file, command, f"{file} could not be written: {error.strerror}")


def _file(settings: Settings) -> Path:
    return settings.data_dir / FILE


def _local_url(settings: Settings) -> SplitResult | None:
    url = split_url(settings.livekit_url)
    is_ours = settings.is_local and url.scheme in ("ws", "http") and is_loopback(url.hostname or "")
    return url if is_ours else None


def _config(settings: Settings, url: SplitResult, command: str) -> str:
    port = url.port or DEFAULT_PORT
    host = str(url.hostname)
    pairs = settings.livekit_keys.items()
    return TEMPLATE.format(
        command=command,
        port=port,
        address=json.dumps("127.0.0.1" if host == "localhost" else host),
        keys="\n".join(f"  {json.dumps(key)}: {json.dumps(secret)}" for key, secret in pairs),  # JSON is YAML
        webhook_key=json.dumps(settings.livekit_api_key),
        webhook_url=json.dumps(f"{address_of(settings)}/webhooks/livekit"),
        tcp_port=port + 1,
        udp_port=port + 2,
    )


def _write(file: Path, config: str) -> str:
    """Write the file for its owner alone. Return why it was not written, "" if it was."""
    if file.exists() and not _is_as_written(file.read_text(encoding="utf-8", errors="replace")):
        return f"{file} was edited, so it is kept. Delete it to have it written from the settings"
    file.parent.mkdir(parents=True, exist_ok=True)
    # a temporary file is for its owner alone
    with NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, prefix=file.name, delete=False) as new:
        new.write(f"{MARK}{_digest(config)}\n{config}")
    Path(new.name).replace(file)
    return ""


def _is_as_written(text: str) -> bool:
    first, _, config = text.partition("\n")
    return first == MARK + _digest(config)


def _digest(config: str) -> str:
    return hashlib.sha256(config.encode()).hexdigest()[:16]
