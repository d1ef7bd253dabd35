"""At most so many processes, also for root.

The system's own limit (RLIMIT_NPROC) does not bind root, and in a container people are root. There
a control group does it, of version 1 or 2, where one may be made. In most containers that is not
allowed, and then the container's own limit is what there is, and being watched.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

__all__ = ["limited_processes"]

ROOTS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))  # version 1, version 2
JOIN = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
PATIENCE = 2.0  # seconds for the last process to leave


@asynccontextmanager
async def limited_processes(limit: int) -> AsyncIterator[tuple[str, ...]]:
    """Words to put before a command, so that it and all it starts are at most `limit` processes.

    There are none for an ordinary user, and none where no control group can be made.
    """
    group = _make(limit) if os.geteuid() == 0 else None
    try:
        yield ("/bin/sh", "-c", JOIN, str(group)) if group is not None else ()
    finally:
        if group is not None:
            await _remove(group)


def _make(limit: int) -> Path | None:
    for root in ROOTS:
        group = root / f"cabin-{secrets.token_hex(8)}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / "pids.max").write_text(str(limit))
        except OSError:  # the controller is not there, or not for us
            with suppress(OSError):
                group.rmdir()
            continue
        return group
    return None


async def _remove(group: Path) -> None:
    """The kernel removes it only after its last process."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            group.rmdir()
        except OSError:
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(0.01)
        else:
            return
