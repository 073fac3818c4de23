"""PgBouncer in transaction mode in front of the tests' Postgres."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.e2e.processes import Process, clean_environment, free_port
from tests.e2e.toolchain import Missing, missing

SERVER_CONNECTIONS = 3
NOBODY = 65534

CONFIGURATION = """
[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
"""


@contextmanager
def pooler(postgres_url: str, **options: str) -> Iterator[str]:
    """Yield the URL of a pooler for the database of this URL. `options` are settings of pgbouncer.ini."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        missing(Missing("there is no PgBouncer: install the Debian package pgbouncer"))
    port = free_port()
    given = CONFIGURATION.format(server=_server(postgres_url), port=port, size=SERVER_CONNECTIONS)
    given += "".join(f"{name} = {value}\n" for name, value in options.items())
    with tempfile.TemporaryDirectory() as folder:  # PgBouncer's account cannot enter pytest's folders
        os.chmod(folder, 0o755)  # noqa: S103
        configuration = Path(folder, "pgbouncer.ini")
        configuration.write_text(given)
        process = Process(
            [*_account(postgres_url), program, str(configuration)],
            env=clean_environment(),
            cwd=Path(folder),
            log=Path(folder, "log"),
        )
        process.start()
        try:
            process.wait_until(lambda: "process up" in process.output, within=60)
            yield f"postgresql://{urlsplit(postgres_url).username}@127.0.0.1:{port}{urlsplit(postgres_url).path}"
        finally:
            process.kill()


def _server(postgres_url: str) -> str:
    """Return the URL as a connection string of PgBouncer, which logs in itself: its clients need no password."""
    url = urlsplit(postgres_url)
    query = parse_qs(url.query)
    host, port = url.hostname or query["host"][0], url.port or query.get("port", ["5432"])[0]
    password = f" password={url.password}" if url.password else ""
    return f"host={host} port={port} user={url.username}{password}"


def _account(postgres_url: str) -> list[str]:
    """Return a command prefix for the account that may enter the folder of the server's socket, but not root.

    PgBouncer refuses to run as root, as Postgres does; a user namespace then disguises root as another account.
    """
    if os.geteuid() != 0:
        return []
    folder = parse_qs(urlsplit(postgres_url).query).get("host", [""])[0]
    owner = os.stat(folder).st_uid if folder.startswith("/") else NOBODY
    if owner == 0:
        return ["unshare", "--user", f"--map-user={NOBODY}"]
    return ["setpriv", f"--reuid={owner}", f"--regid={owner}", "--clear-groups"]
