"""The shell device, with real commands in real sandboxes."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cabinos.drivers.process_limit import limited_processes
from cabinos.drivers.shell import driver
from cabinos.kernel.capability import Capabilities, files
from cabinos.kernel.errors import Denied
from tests.drivers.support import acall, call, context, named


def sandbox_works() -> bool:
    """Asked of bwrap itself, so that a bug in the device shows as a failure and not as a skip."""
    if shutil.which("bwrap") is None:
        return False
    command = ["bwrap", "--unshare-all", "--unshare-user", "--ro-bind", "/", "/", "true"]
    return subprocess.run(command, capture_output=True).returncode == 0


needs_sandbox = pytest.mark.skipif(not sandbox_works(), reason="bubblewrap cannot run here")


class Shell:
    """Two granted folders, `in` to write and `library` to read, and commands that run there."""

    def __init__(self, path: Path, **config: Any) -> None:
        self.inside, self.library = path / "in", path / "library"
        self.inside.mkdir(exist_ok=True)
        self.library.mkdir(exist_ok=True)
        self.context = context(
            Capabilities(shell=True, files=(files(self.inside, "rw"), files(self.library)))
        )
        self.driver = driver(config)

    def run(self, command: str, *, tool: str = "shell_run", timeout: int = 20) -> str:
        answer = call(named(self.driver, tool), self.context, command=command, timeout=timeout)
        assert isinstance(answer, str)
        return answer


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_declared_effects() -> None:
    effects = {tool.name: (tool.effect, tool.label, tool.egress) for tool in driver({}).tools}
    assert effects == {
        "shell_run": ("raw", "untrusted", False),
        "shell_read": ("pure", "untrusted", False),
    }


# ---- Refusals ------------------------------------------------------------------------------------


def test_a_process_needs_the_capability() -> None:
    for tool in driver({}).tools:
        with pytest.raises(Denied, match="may not run commands"):
            call(tool, context(Capabilities()), command="true")


def script(path: Path, code: str) -> str:
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return str(path)


NO_NAMESPACE = "No permissions to create a new namespace"
OPTIONS = "--bind-fd --size --disable-userns"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, "bubblewrap \\(bwrap\\) is not installed"),
        ("echo --bind --size", "too old, it has no --bind-fd"),
        (
            f'[ "$1" = --help ] && echo {OPTIONS} && exit; echo "{NO_NAMESPACE}" >&2; exit 1',
            NO_NAMESPACE,
        ),
        (f'[ "$1" = --help ] && echo {OPTIONS} && exit; exit 7', "bwrap ended with status 7"),
    ],
)
def test_without_a_sandbox_nothing_is_run(tmp_path: Path, code: str | None, reason: str) -> None:
    bwrap = script(tmp_path / "bwrap", code) if code else str(tmp_path / "none")
    shell = Shell(tmp_path, bwrap=bwrap)
    with pytest.raises(Denied, match=f"Commands run only in a sandbox.*{reason}"):
        shell.run("touch in/ran")
    assert not (shell.inside / "ran").exists()


# ---- What a command sees and may do --------------------------------------------------------------


@needs_sandbox
def test_output_errors_and_status_are_told(shell: Shell) -> None:
    assert shell.run("echo hello") == "hello"
    assert shell.run("true") == "[no output]"
    assert shell.run("echo out; echo err >&2; exit 3") == "out\n[stderr]\nerr\n[exit status 3]"
    assert shell.run("kill -9 $$") == "[exit status 137]"
    assert shell.run("printf '\\377\\n'") == "\ufffd"
    assert "command not found" in shell.run("no-such-command")
    assert shell.run("wc -c") == "0"  # nothing is waiting on stdin


@needs_sandbox
def test_folders_are_where_all_tools_see_them(shell: Shell) -> None:
    (shell.library / "x.txt").write_text("from the library\n")
    assert shell.run("cp library/x.txt in/ && cat /files/in/x.txt") == "from the library"
    assert (shell.inside / "x.txt").read_text() == "from the library\n"
    assert (shell.inside / "x.txt").stat().st_uid == os.getuid()


@needs_sandbox
@pytest.mark.parametrize(
    "command",
    [
        "echo x > library/x",
        "echo x > /x",
        "echo x > /files/x",
        "echo x > /usr/x",
        "echo x > /etc/x",
        "echo x > /dev/x",
        "rm -rf library; ls library/kept",
        "mount -o remount,rw /files/library",
        "umount /files/library",
        "cat /proc/sys/vm/swappiness > /proc/sys/vm/swappiness",
        "unshare -U true",
    ],
)
def test_what_may_only_be_read_is_not_written(shell: Shell, command: str) -> None:
    (shell.library / "kept").touch()
    answer = shell.run(command)
    if "ls library/kept" in command:
        assert answer.startswith("library/kept\n[stderr]\n")
    else:
        assert "[exit status" in answer
    assert [path.name for path in shell.library.iterdir()] == ["kept"]


@needs_sandbox
def test_shell_read_writes_nowhere_but_in_its_own_tmp(shell: Shell) -> None:
    assert "Read-only file system" in shell.run("echo x > in/x", tool="shell_read")
    assert list(shell.inside.iterdir()) == []
    assert shell.run("echo x > /tmp/x; cat /tmp/x", tool="shell_read") == "x"
    assert shell.run("ls /tmp /dev/shm", tool="shell_read") == "/dev/shm:\n\n/tmp:"


@needs_sandbox
def test_home_and_environment_are_not_there(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    for path in ("/home", "/root", str(Path.home()), str(shell.inside), "/etc/shadow", "/var"):
        assert "No such file or directory" in shell.run(f"ls {path}")
    environment = shell.run("env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'")
    assert "s3cret" not in environment
    assert "HOME=/tmp" in environment


@needs_sandbox
def test_other_processes_are_not_there(shell: Shell) -> None:
    pids = shell.run("echo /proc/[0-9]*").split()
    assert len(pids) <= 5
    assert shell.run(f"kill -0 {os.getpid()} 2>/dev/null || echo none") == "none"


@needs_sandbox
def test_no_network_not_even_to_this_machine(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        answer = shell.run(f"exec 3<>/dev/tcp/127.0.0.1/{port}")
        assert "[exit status 1]" in answer
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert shell.run("cat /proc/net/dev | tail -n +3 | cut -d: -f1").split() == ["lo"]


@needs_sandbox
def test_a_folder_that_became_a_link_is_not_bound(tmp_path: Path, shell: Shell) -> None:
    """A command may put links into its folder; a later grant inside must not follow them."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x").write_text("SECRET")
    assert shell.run(f"ln -s {secret} in/sub && cat in/sub/x").endswith("[exit status 1]")
    parent = shell.context.capabilities
    child = parent.attenuate(Capabilities(shell=True, files=(parent.grant("in/sub", "rw"),)))
    with pytest.raises(Denied, match="symbolic links are not followed"):
        call(named(shell.driver, "shell_run"), context(child), command="cat sub/x")


@needs_sandbox
def test_a_single_file_can_be_granted(tmp_path: Path, shell: Shell) -> None:
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "other.txt").write_text("other")
    shell.context = context(Capabilities(shell=True, files=(files(tmp_path / "one.txt"),)))
    assert shell.run("ls; cat one.txt") == "one.txt\none"


@needs_sandbox
def test_no_open_file_leaks_in(shell: Shell) -> None:
    with Path("/etc/passwd").open() as leaked:
        os.set_inheritable(leaked.fileno(), True)
        assert shell.run("echo /proc/self/fd/*") in (
            "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/255 /proc/self/fd/3",
            "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3",
        )


# ---- Limits --------------------------------------------------------------------------------------


@needs_sandbox
def test_a_hundred_megabytes_of_output(shell: Shell) -> None:
    answer = shell.run("echo begin; head -c 100000000 /dev/zero | tr '\\0' x; echo end")
    assert answer.startswith("begin\nxxx")
    assert answer.endswith("xxxend")
    assert "\n[… 99,970,010 bytes left out …]\n" in answer
    assert len(answer) < 31_000


@needs_sandbox
def test_time_is_up_for_everything_it_started(shell: Shell) -> None:
    os.mkfifo(shell.inside / "alive")
    started = time.monotonic()
    keeper = "setsid sh -c 'exec 9>in/alive; echo started; trap \"\" TERM INT HUP; sleep 60' &"
    reader = subprocess.Popen(["cat", str(shell.inside / "alive")])
    assert shell.run(f"{keeper} sleep 60", timeout=1) == (
        "started\n[killed: it ran for more than 1 s]"
    )
    assert reader.wait(10) == 0  # the pipe has no writer any more
    assert time.monotonic() - started < 30


@needs_sandbox
def test_what_runs_on_in_the_background_ends_with_the_command(shell: Shell) -> None:
    started = time.monotonic()
    assert shell.run("sleep 60 & echo done") == "done"
    assert time.monotonic() - started < 30


@needs_sandbox
def test_too_many_processes(tmp_path: Path) -> None:
    shell = Shell(tmp_path, processes=50)
    answer = shell.run(
        "i=0; while [ $i -lt 3000 ]; do sleep 60 & i=$((i+1)); done; wait", timeout=3
    )
    assert "more than 50 processes" in answer or "Resource temporarily unavailable" in answer


def test_a_control_group_is_there_for_one_command_only() -> None:
    """Where one can be made at all: it counts what joins it, and goes with its last process."""

    async def run() -> None:
        async with limited_processes(1) as joining:
            if not joining:
                return
            group = Path(joining[-1])
            command = "sleep 0; echo forked"
            process = await asyncio.create_subprocess_exec(
                *joining, "/bin/sh", "-c", command, stdout=-1, stderr=-1
            )
            output, errors = await process.communicate()
            assert output == b""
            assert b"fork" in errors
            assert group.exists()
        assert not group.exists()

    asyncio.run(run())


@needs_sandbox
def test_too_much_memory_in_one_process(tmp_path: Path) -> None:
    shell = Shell(tmp_path, memory=100 << 20)
    answer = shell.run("head -c 300000000 /dev/zero | tail -c 290000000 | wc -c")
    assert "memory exhausted" in answer or "more than 100 MB of memory" in answer


@needs_sandbox
def test_too_much_memory_in_many_processes(tmp_path: Path) -> None:
    shell = Shell(tmp_path, memory=100 << 20)
    hold = "{ head -c 60000000 /dev/zero; sleep 60; } | tail -c 50000000"
    answer = shell.run(" & ".join([hold] * 4) + " & wait")
    assert answer == "[killed: it used more than 100 MB of memory]"


@needs_sandbox
def test_too_large_a_file(tmp_path: Path) -> None:
    shell = Shell(tmp_path, file=1 << 20, scratch=1 << 20)
    assert "[exit status" in shell.run("head -c 2000000 /dev/zero > in/big")
    assert (shell.inside / "big").stat().st_size == 1 << 20
    assert "No space left" in shell.run(
        "for i in 1 2 3; do head -c 500000 /dev/zero > /tmp/$i; done"
    )


@needs_sandbox
def test_a_cancelled_call_ends_the_command(shell: Shell) -> None:
    os.mkfifo(shell.inside / "alive")

    async def cancelled() -> None:
        command = "exec 9>in/alive; echo started >&9; sleep 60"
        task = asyncio.create_task(
            acall(named(shell.driver, "shell_run"), shell.context, command=command)
        )
        reader = await asyncio.create_subprocess_exec(
            "cat", str(shell.inside / "alive"), stdout=asyncio.subprocess.PIPE
        )
        assert reader.stdout is not None
        assert await reader.stdout.readline() == b"started\n"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.wait_for(reader.wait(), 10) == 0

    asyncio.run(cancelled())


@needs_sandbox
def test_the_command_dies_with_cabin(tmp_path: Path, shell: Shell) -> None:
    """kill -9 of the process that called leaves nothing running."""
    os.mkfifo(shell.inside / "alive")
    code = (
        "import sys; from pathlib import Path; from tests.drivers.test_shell import Shell\n"
        "Shell(Path(sys.argv[1])).run('exec 9>in/alive; echo started >&9; sleep 60')"
    )
    kernel = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    with (shell.inside / "alive").open() as alive:
        assert alive.readline() == "started\n"
        kernel.send_signal(signal.SIGKILL)
        kernel.wait()
        assert alive.read() == ""  # waits until the last writer is gone
