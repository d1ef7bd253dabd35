"""DBOS's side: one workflow a process, one step a syscall, on SQLite.

    PEERS_PYTHON bench/kernel/dbos_peer.py CASE JSON

DBOS opens SQLite with a rollback journal. The file is put into WAL mode before it starts, which
costs DBOS nothing and makes it faster; `"wal": false` leaves it as it comes. `synchronous` is FULL,
SQLite's default. A step's result is stored after it ran; a workflow's start before.
"""

import asyncio
import logging
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import workload
from workload import Meter, Workload

QUEUE = "spawned"  # nobody listens to it: what is measured is making a durable process


@contextmanager
def launched(folder: Path, given: dict[str, Any]) -> Iterator[Any]:
    """DBOS on a fresh SQLite file; workflows must be declared between creation and launch."""
    from dbos import DBOS

    path = folder / "state.db"
    with sqlite3.connect(path) as connection:
        if given.get("wal", True):
            connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    logging.disable(logging.WARNING)
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{path}"})
    DBOS.listen_queues([])
    yield DBOS
    DBOS.destroy()


def agent(dbos: Any, load: Workload) -> Any:
    """The agent loop as a synchronous workflow. Messages live in the workflow, as DBOS teaches."""

    @dbos.step()
    def think(process: int, turn: int) -> str:
        if load.latency:
            time.sleep(load.latency)
        return workload.text("answer", process, turn, load.answer)

    @dbos.step()
    def act(process: int, turn: int) -> str:
        return workload.text("result", process, turn, load.result)

    @dbos.workflow()
    def run(process: int, request: str) -> int:
        messages = [request]
        for turn in range(1, load.turns + 1):
            messages.append(think(process, turn))
            if not workload.is_last(turn, load):
                messages.append(act(process, turn))
        return len(messages)

    return run


def agent_async(dbos: Any, load: Workload) -> Any:
    """The same as an asynchronous workflow."""

    @dbos.step()
    async def think(process: int, turn: int) -> str:
        if load.latency:
            await asyncio.sleep(load.latency)
        return workload.text("answer", process, turn, load.answer)

    @dbos.step()
    async def act(process: int, turn: int) -> str:
        return workload.text("result", process, turn, load.result)

    @dbos.workflow()
    async def run(process: int, request: str) -> int:
        messages = [request]
        for turn in range(1, load.turns + 1):
            messages.append(await think(process, turn))
            if not workload.is_last(turn, load):
                messages.append(await act(process, turn))
        return len(messages)

    return run


def request(process: int, load: Workload) -> str:
    return workload.text("request", process, 0, load.request)


def check(messages: int, load: Workload) -> None:
    """A process that did not do all its work must not be counted."""
    if messages != 2 * load.turns:
        raise SystemExit(f"dbos: {messages} messages, not {2 * load.turns}")


def steps(folder: Path, load: Workload, given: dict[str, Any]) -> dict[str, Any]:
    with launched(folder, given) as dbos:
        run = agent(dbos, load)
        dbos.launch()
        empty = workload.disk(folder / "state.db")
        with Meter() as meter:
            check(run(0, request(0, load)), load)
    size = workload.disk(folder / "state.db")
    return {**meter.figures, "steps": load.steps, "disk": size, "empty": empty}


def crowd(folder: Path, load: Workload, given: dict[str, Any]) -> dict[str, Any]:
    async def everybody(dbos: Any, run: Any) -> None:
        handles = await asyncio.gather(
            *(dbos.start_workflow_async(run, p, request(p, load)) for p in range(load.processes))
        )
        for handle in handles:
            check(await handle.get_result(), load)

    async def measure(dbos: Any) -> Meter:
        run = agent_async(dbos, load)
        dbos.launch()
        with Meter() as meter:
            await everybody(dbos, run)
        return meter

    with launched(folder, given) as dbos:
        meter = asyncio.run(measure(dbos))
    count = load.processes * load.steps
    return {**meter.figures, "steps": count, "disk": workload.disk(folder / "state.db")}


def spawn(folder: Path, load: Workload, given: dict[str, Any]) -> dict[str, Any]:
    """Enqueued one at a time, or batched: all in one transaction, which its client offers."""
    from dbos import DBOSClient

    with launched(folder, given) as dbos:
        agent(dbos, load)
        dbos.launch()
        dbos.register_queue(QUEUE)
        client = DBOSClient(system_database_url=f"sqlite:///{folder / 'state.db'}")
        options: Any = {"queue_name": QUEUE, "workflow_name": "agent"}
        if given["batched"]:
            engine = client._sys_db.engine  # the client offers the transaction, not the engine
            with Meter() as meter, engine.begin() as connection:
                for p in range(load.processes):
                    client.enqueue_in_transaction(connection, options, p, request(p, load))
        else:
            with Meter() as meter:
                for p in range(load.processes):
                    client.enqueue(options, p, request(p, load))
        client.destroy()
    return {**meter.figures, "steps": load.processes, "disk": workload.disk(folder / "state.db")}


def versions(folder: Path, load: Workload, given: dict[str, Any]) -> dict[str, Any]:
    from importlib.metadata import version

    return {"versions": {"dbos": version("dbos")}}


CASES = {"steps": steps, "storage": steps, "crowd": crowd, "spawn": spawn, "versions": versions}

if __name__ == "__main__":
    sys.exit(workload.main(CASES))
