"""Device: native commands, only ever inside bubblewrap. Where there is no sandbox, no shell.

A command sees the system's programs read-only, the folders granted to its process at
`/files/<name>`, an empty /tmp of its own, and nothing else: no network, no other processes, no
home, no environment. It works in /files, so paths are the ones that all other tools use. It ends
with everything it started when its time is up or Cabin ends.

A shell command cannot be known to be harmless twice, so `shell_run` is `raw`. `shell_read` is the
same with every folder read-only; what is left of such a command is its output, so it is `pure`.
"""

import asyncio
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from cabinos.drivers.beneath import Place
from cabinos.drivers.process_limit import limited_processes
from cabinos.kernel.capability import FileGrant
from cabinos.kernel.driver import Context, Driver, tool
from cabinos.kernel.errors import Denied

__all__ = ["driver"]

# Links among these (/bin -> usr/bin) are made again; what does not exist is left out.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SETTINGS = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime")
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "HOME": "/tmp",  # noqa: S108 - the sandbox's own
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "USER": "cabin",
}
USER = 1000  # inside; outside it is whoever runs Cabin
ACCOUNTS = {
    "/etc/passwd": f"cabin:x:{USER}:{USER}::/tmp:/bin/sh\n",
    "/etc/group": f"cabin:x:{USER}:\n",
}
# --bind-fd binds a folder that was opened, not a path that may have become something else.
NEEDED_OPTIONS = ("--bind-fd", "--size", "--disable-userns")

HEAD, TAIL = 20_000, 10_000  # bytes of each stream that are kept
CHUNK = 1 << 16
GLANCE = 0.05  # seconds between two looks at what the command uses

Command = Annotated[
    str,
    Field(
        min_length=1,
        max_length=20_000,
        description="for bash",
        json_schema_extra={"x-free": True},
    ),
]
Timeout = Annotated[int, Field(ge=1, le=3_600, description="seconds")]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one command may use."""

    memory: int = 2 << 30  # bytes: of one process by the system's limit, of all by watching
    processes: int = 256
    file: int = 1 << 30  # bytes of one file
    scratch: int = 256 << 20  # bytes of /tmp, and of /dev/shm

    def prologue(self, seconds: int) -> str:
        """The shell's words for the limits; ulimit counts in KiB, and files in blocks of 512.

        `nice` keeps Cabin able to watch and to kill, whatever is started.
        """
        return (
            f"{{ ulimit -c 0; ulimit -d {self.memory >> 10}; ulimit -f {self.file >> 9}; "
            f"ulimit -t {seconds + 1}; ulimit -u {self.processes} || "
            f'ulimit -p {self.processes}; }} 2>/dev/null; exec nice -n 10 "$@"'
        )


def driver(config: Mapping[str, Any]) -> Driver:
    """The shell device. `config`: bwrap (its path), memory and file (bytes), processes."""
    fields = {k: int(config[k]) for k in ("memory", "file", "processes", "scratch") if k in config}
    sandbox = Sandbox(str(config.get("bwrap", "bwrap")), Limits(**fields))

    @tool(
        effect="raw",
        authority=["command"],
        needs="shell",
        hints="run execute a shell command terminal bash script program compile build test install "
        "git make rename move delete files",
    )
    async def shell_run(command: Command, timeout: Timeout = 60, *, context: Context) -> str:
        """Runs a command. Granted folders are at /files/<folder>, where it starts. No network."""
        return await sandbox.run(command, timeout, _grants(context), writing=True)

    @tool(
        effect="pure",
        authority=["command"],
        needs="shell",
        hints="run a command that only looks shell terminal grep count lines words du disk space "
        "ls show git log status wc",
    )
    async def shell_read(command: Command, timeout: Timeout = 60, *, context: Context) -> str:
        """Runs a command that only looks: like shell_run, but every folder is read-only."""
        return await sandbox.run(command, timeout, _grants(context), writing=False)

    return Driver("shell", tools=[shell_run, shell_read])


def _grants(context: Context) -> Sequence[FileGrant]:
    if not context.capabilities.shell:
        raise Denied("this process may not run commands.")
    return context.capabilities.files


class Sandbox:
    """bubblewrap, found and tried once."""

    def __init__(self, bwrap: str, limits: Limits) -> None:
        self._bwrap = bwrap
        self._limits = limits
        self._works = False

    async def run(
        self, command: str, seconds: int, grants: Sequence[FileGrant], *, writing: bool
    ) -> str:
        """Runs `command` and tells what it said and how it ended. Raises Denied if it cannot."""
        if not self._works:
            await self._try()
        with ExitStack() as opened:
            options, descriptors = _folders(grants, writing, opened)
            return (await self._execute(command, seconds, options, descriptors)).told()

    async def _try(self) -> None:
        """Whether a sandbox can be had here; raises Denied with the reason if not."""
        refusal = "Commands run only in a sandbox, and none can be had here: "
        path = shutil.which(self._bwrap)
        if path is None:
            raise Denied(f"{refusal}bubblewrap (bwrap) is not installed. It exists for Linux only.")
        self._bwrap = path
        process = await asyncio.create_subprocess_exec(
            path, "--help", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        offered = (await process.communicate())[0].decode("utf-8", "replace").split()
        if missing := [option for option in NEEDED_OPTIONS if option not in offered]:
            raise Denied(f"{refusal}this bubblewrap is too old, it has no {missing[0]}.")
        tried = await self._execute("exit 0", 10, [], [])
        if tried.status != 0:
            reason = tried.stderr.text().strip() or f"bwrap ended with status {tried.status}"
            raise Denied(f"{refusal}{reason}.")
        self._works = True

    async def _execute(
        self, command: str, seconds: int, folders: Sequence[str], descriptors: Sequence[int]
    ) -> "Ending":
        async with limited_processes(self._limits.processes) as joining:
            with ExitStack() as opened:
                accounts, more = _accounts(opened)
                options = [*self._options(), *accounts, *folders, "--remount-ro", "/"]
                prologue = ("/bin/sh", "-c", self._limits.prologue(seconds), "sh")
                process = await asyncio.create_subprocess_exec(
                    *(*joining, self._bwrap, *options, "--chdir", "/files", "--"),
                    *(*prologue, _shell(), "-c", command),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env={},
                    pass_fds=(*descriptors, *more),
                    start_new_session=True,  # the terminal's Ctrl-C is for Cabin to understand
                )
            return await _attend(process, seconds, self._limits)

    def _options(self) -> Iterator[str]:
        yield from ("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent")
        yield from ("--new-session", "--cap-drop", "ALL", "--hostname", "cabin")
        yield from ("--uid", str(USER), "--gid", str(USER), "--clearenv")
        for name, value in ENVIRONMENT.items():
            yield from ("--setenv", name, value)
        for path in SYSTEM:
            if Path(path).is_symlink():
                yield from ("--symlink", str(Path(path).readlink()), path)
            elif Path(path).is_dir():
                yield from ("--ro-bind", path, path)
        for name in SETTINGS:
            yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
        size = str(self._limits.scratch)
        yield from ("--proc", "/proc", "--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm")  # noqa: S108
        # Where root runs Cabin, all of /proc/sys would be its own to change, namespaces or not.
        yield from ("--remount-ro", "/proc", "--remount-ro", "/dev")
        yield from ("--size", size, "--tmpfs", "/tmp", "--dir", "/files")  # noqa: S108


def _shell() -> str:
    return "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"


def _accounts(opened: ExitStack) -> tuple[list[str], list[int]]:
    """Options that give the sandbox a user list with one user in it."""
    options, descriptors = [], []
    for path, content in ACCOUNTS.items():
        reading, writing = os.pipe()
        opened.callback(os.close, reading)
        with os.fdopen(writing, "w") as pipe:
            pipe.write(content)
        options += ["--ro-bind-data", str(reading), path]
        descriptors.append(reading)
    return options, descriptors


def _folders(
    grants: Sequence[FileGrant], writing: bool, opened: ExitStack
) -> tuple[list[str], list[int]]:
    """Options that bind the granted folders, each opened without following a link."""
    options, descriptors = [], []
    for grant in grants:
        descriptor = Place(grant, ()).open_path()
        opened.callback(os.close, descriptor)
        option = "--bind-fd" if writing and grant.writable else "--ro-bind-fd"
        options += [option, str(descriptor), f"/files/{grant.name}"]
        descriptors.append(descriptor)
    return options, descriptors


# ---- Attending to a running command --------------------------------------------------------------


class Output:
    """The beginning and the end of a stream, however long it is."""

    def __init__(self) -> None:
        self._head, self._tail = bytearray(), bytearray()
        self._left_out = 0

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Reads to the end of the stream."""
        while data := await stream.read(CHUNK):
            room = HEAD - len(self._head)
            self._head += data[:room]
            self._tail += data[room:]
            if (excess := len(self._tail) - TAIL) > 0:
                self._left_out += excess
                del self._tail[:excess]

    def text(self) -> str:
        """What is kept, and how much is not."""
        if not self._left_out:
            return (self._head + self._tail).decode("utf-8", "replace")
        head, tail = (part.decode("utf-8", "replace") for part in (self._head, self._tail))
        return f"{head}\n[… {self._left_out:,} bytes left out …]\n{tail}"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended, and what it said."""

    status: int
    killed: str  # why, or nothing
    stdout: Output
    stderr: Output

    def told(self) -> str:
        """As text for a model."""
        parts = [self.stdout.text().rstrip("\n")]
        if errors := self.stderr.text().strip("\n"):
            parts.append(f"[stderr]\n{errors}")
        if self.killed:
            parts.append(f"[killed: {self.killed}]")
        elif self.status != 0:
            parts.append(f"[exit status {self.status}]")
        return "\n".join(part for part in parts if part) or "[no output]"


async def _attend(process: asyncio.subprocess.Process, seconds: int, limits: Limits) -> Ending:
    """Waits for the end of the command, and brings it about if it takes too long or too much.

    Killing bwrap kills the first process inside, and with that the kernel kills all others there.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    stdout, stderr, killed = Output(), Output(), ""
    running = asyncio.gather(
        stdout.read(process.stdout), stderr.read(process.stderr), process.wait()
    )
    deadline = asyncio.get_running_loop().time() + seconds
    try:
        while not killed:
            await asyncio.wait([running], timeout=GLANCE)
            if running.done():
                break
            if asyncio.get_running_loop().time() > deadline:
                killed = f"it ran for more than {seconds} s"
            else:
                killed = _excess(process.pid, limits)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await running
    return Ending(process.returncode or 0, killed, stdout, stderr)


def _excess(pid: int, limits: Limits) -> str:
    """What all processes below `pid` use too much of, or nothing.

    The system's own limit of memory holds for one process, and that of processes not for root.
    """
    count, pages = 0, 0
    waiting = [pid]
    while waiting and count <= limits.processes + 2:  # bwrap itself, outside and inside
        current = waiting.pop()
        count += 1
        with suppress(OSError, ValueError):
            _, resident, shared, *_ = Path(f"/proc/{current}/statm").read_text().split()
            pages += max(0, int(resident) - int(shared))
            for task in Path(f"/proc/{current}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    if count > limits.processes + 2:
        return f"it started more than {limits.processes} processes"
    if pages * os.sysconf("SC_PAGESIZE") > limits.memory:
        return f"it used more than {limits.memory >> 20} MB of memory"
    return ""
