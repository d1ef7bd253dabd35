"""A store that fails, is damaged, or was tampered with, under a kernel."""

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cabinos.kernel.errors import KernelError
from cabinos.kernel.kernel import Kernel
from cabinos.kernel.process import State
from cabinos.store.database import Store
from cabinos.store.errors import StoreBusy, StoreError, StoreFailed
from tests.kernel.help import World, add, open_kernel, run, until
from tests.kernel.models import ScriptedModel, calls


def failing(patch: pytest.MonkeyPatch) -> None:
    """From now on, no commit succeeds."""

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    patch.setattr(Store, "_transact", full)


def test_a_full_disk_starts_no_effect_and_everybody_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        world = World()
        model = ScriptedModel(calls(("fire", {"what": "x"})), "done", latency=0.02)
        k = open_kernel(tmp_path, model, tools=world.tools())
        with pytest.raises(StoreFailed, match="disk is full"):  # noqa: PT012 - all of its life
            async with k:
                blocked = await k.spawn(code="recv()")
                await until(k, blocked.pid, State.BLOCKED)
                p = await k.spawn("go")
                listening = asyncio.create_task(_kinds(k, blocked.pid))
                waiting = [
                    asyncio.create_task(work)
                    for work in (p.result(), p.ended(), blocked.result(), blocked.ended())
                ]
                await asyncio.sleep(0)
                with monkeypatch.context() as patch:
                    failing(patch)
                    for task in waiting:
                        with pytest.raises(StoreFailed, match="make room"):
                            await task
                    assert await listening == ["state", "state lost"]
                    with pytest.raises(StoreFailed):
                        await k.spawn("another")
                    with pytest.raises(StoreFailed):
                        await blocked.send("hello")
                    raise k.store.failure or AssertionError
        assert not world.began
        async with open_kernel(tmp_path, model, tools=world.tools()) as k:
            assert await k.process(p.pid).result() == "done"
            assert world.done == {"x": 1}

    run(main())


async def _kinds(kernel: Kernel, pid: int) -> list[str]:
    return [
        f"{event.kind} {event.state}" if event.data.get("state") == "lost" else event.kind
        async for event in kernel.process(pid).events()
    ]


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from tests.kernel.help import open_kernel
from tests.kernel.models import ScriptedModel
from cabinos.store.errors import StoreFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    model = ScriptedModel("x" * 20000)
    async with open_kernel(Path(sys.argv[1]), model) as k:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
        for n in range(10000):
            p = await k.spawn(f"request {n} " + "y" * 5000)
            await p.result()
            print(p.pid, flush=True)
try:
    asyncio.run(main())
except StoreFailed as error:
    print(error)
"""


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *pids, message = done.stdout.splitlines()
    assert "make room" in message
    assert len(pids) > 3

    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            assert k.journal.verify() > 0
            for pid in pids:
                assert k.process(int(pid)).state == State.EXITED
            for summary in k.ps():
                await k.process(summary.pid).result()

    run(main())


def lived(place: Path) -> None:
    async def main() -> None:
        model = ScriptedModel(calls(("add", {"a": 1, "b": 2})), calls(("ask", {"question": "?"})))
        async with open_kernel(place, model, tools=[add]) as k:
            for number in range(10):
                p = await k.spawn(f"request {number} " + "x" * 300, stay=True)
                await p.send("a letter")
                await until(k, p.pid, State.BLOCKED)

    run(main())


def test_damage_is_an_error_with_a_name_or_a_stopped_process(tmp_path: Path) -> None:
    lived(tmp_path)
    path, dice = tmp_path / "cabin.db", random.Random(3)
    whole = path.read_bytes()

    async def look() -> None:
        async with open_kernel(tmp_path, ScriptedModel(), tools=[add]) as k:
            for summary in k.ps():
                await k.process(summary.pid).send("hello")
                for ask in k.open_asks(summary.pid):
                    await k.answer(ask.id, "x")
            for summary in k.ps():
                await until(k, summary.pid, State.STOPPED, State.BLOCKED, State.EXITED)
            k.journal.verify()

    for _ in range(25):
        damaged = bytearray(whole)
        for _ in range(30):
            damaged[dice.randrange(len(whole))] = dice.randrange(256)
        path.write_bytes(damaged)
        for rest in tmp_path.glob("cabin.db-*"):
            rest.unlink()
        with contextlib.suppress(StoreError, KernelError):
            run(look(), 10)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE process SET image_state = 'not json'",
        "UPDATE process SET account = '{\"nonsense\": 1}'",
        "UPDATE process SET capabilities = '{}'",
        "UPDATE process SET pages = x'ffffff3f'",
        "UPDATE process SET pages = x'00'",
        "UPDATE process SET image = 'nonsense'",
        "DELETE FROM page",
        "UPDATE page SET meta = 'not json'",
        "UPDATE ask SET detail = 'not json'",
        "DELETE FROM process WHERE pid = 1",
        "DROP TABLE journal",
        "UPDATE journal SET body = 'not json'",
    ],
)
def test_rows_that_make_no_sense_are_errors_that_name_the_file(
    tmp_path: Path, tampering: str
) -> None:
    lived(tmp_path)
    with sqlite3.connect(tmp_path / "cabin.db") as db:
        db.execute(tampering)

    async def look() -> None:
        async with open_kernel(tmp_path, ScriptedModel(), tools=[add]) as k:
            for summary in k.ps():
                k.post(summary.pid, "hello")
                for ask in k.open_asks(summary.pid):
                    await k.answer(ask.id, "x")
            for summary in k.ps():
                await until(k, summary.pid, State.STOPPED, State.BLOCKED, State.EXITED)
            list(k.entries())
            k.journal.verify()

    with contextlib.suppress(StoreError, KernelError):
        run(look(), 10)
    store = Store.open(tmp_path / "cabin.db")  # the lock was given back
    store.abandon()


def test_two_kernels(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            with pytest.raises(StoreBusy, match="in use by process"):
                open_kernel(tmp_path)
            assert await (await k.spawn("hello")).result() == "done"
        async with open_kernel(tmp_path):
            pass

    run(main())


def test_a_kernel_that_is_closed_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        k = open_kernel(tmp_path)
        async with k:
            p = await k.spawn("hello")
            await p.result()
        for work in (k.spawn("x"), p.send("x"), p.kill(), k.exec("1")):
            with pytest.raises((StoreError, KernelError), match="closed|ended"):
                await work
        with pytest.raises(StoreError, match="closed"):
            k.ps()

    run(main(), 5)


def test_a_driver_that_cannot_be_closed_keeps_no_lock(tmp_path: Path) -> None:
    from cabinos.kernel.driver import Driver

    closed = []

    async def bad() -> None:
        raise RuntimeError("I will not")

    async def good() -> None:
        closed.append("good")

    async def main() -> None:
        drivers = [Driver("bad", close=bad), Driver("good", close=good)]
        async with Kernel.open(tmp_path / "cabin.db", drivers=drivers):
            pass
        assert closed == ["good"]
        open_kernel(tmp_path).store.abandon()

    run(main())


def test_a_kernel_that_was_never_entered_can_be_closed(tmp_path: Path) -> None:
    async def main() -> None:
        await open_kernel(tmp_path).close()
        async with open_kernel(tmp_path):
            pass

    run(main())
