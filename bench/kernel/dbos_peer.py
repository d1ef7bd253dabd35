"""DBOS's side: one workflow a process, one step a syscall, on SQLite.

    PEERS_PYTHON bench/kernel/dbos_peer.py CASE JSON

DBOS opens SQLite with a rollback journal. The file is put into WAL mode before it starts, which
costs DBOS nothing and makes it faster; `"wal": false` leaves it as it comes. `synchronous` is FULL,
SQLite's default. A step's result is stored after it ran; a workflow's start before.
"""

import asyncio
import contextlib
import logging
import sqlite3
import sys
import time
from collections.abc import Iterator
from typing import Any

import workload
from workload import Meter, Run, Workload

QUEUE = "spawned"  # nobody listens to it: what is measured is making a durable process


@contextlib.contextmanager
def launched(run: Run) -> Iterator[Any]:
    """DBOS on a fresh SQLite file; workflows must be declared between creation and launch."""
    from dbos import DBOS

    with contextlib.closing(sqlite3.connect(run.store)) as connection:
        if run.given.get("wal", True):
            connection.execute("PRAGMA journal_mode=WAL")
    logging.disable(logging.WARNING)
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{run.store}"})
    DBOS.listen_queues([])
    yield DBOS
    DBOS.destroy()


def agent(dbos: Any, load: Workload) -> Any:
    """The agent loop as a synchronous workflow. Messages live in the workflow, as DBOS teaches."""

    def think(process: int, turn: int) -> str:
        if load.latency:
            time.sleep(load.latency)
        return workload.text("answer", process, turn, load.answer)

    def act(process: int, turn: int) -> str:
        return workload.text("result", process, turn, load.result)

    think_step, act_step = dbos.step()(think), dbos.step()(act)

    def run(process: int, request: str) -> int:
        messages = [request]
        for turn in range(1, load.turns + 1):
            messages.append(think_step(process, turn))
            if not workload.is_last(turn, load):
                messages.append(act_step(process, turn))
        return len(messages)

    return dbos.workflow()(run)


def agent_async(dbos: Any, load: Workload) -> Any:
    """The same as an asynchronous workflow."""

    async def think(process: int, turn: int) -> str:
        if load.latency:
            await asyncio.sleep(load.latency)
        return workload.text("answer", process, turn, load.answer)

    async def act(process: int, turn: int) -> str:
        return workload.text("result", process, turn, load.result)

    think_step, act_step = dbos.step()(think), dbos.step()(act)

    async def run(process: int, request: str) -> int:
        messages = [request]
        for turn in range(1, load.turns + 1):
            messages.append(await think_step(process, turn))
            if not workload.is_last(turn, load):
                messages.append(await act_step(process, turn))
        return len(messages)

    return dbos.workflow()(run)


def request(process: int, load: Workload) -> str:
    return workload.text("request", process, 0, load.request)


def check(messages: int, load: Workload) -> None:
    """A process that did not do all its work must not be counted."""
    if messages != 2 * load.turns:
        raise SystemExit(f"dbos: {messages} messages, not {2 * load.turns}")


def steps(run: Run) -> dict[str, Any]:
    load = run.load
    with launched(run) as dbos:
        workflow = agent(dbos, load)
        dbos.launch()
        empty = workload.disk(run.store)
        with Meter() as meter:
            check(workflow(0, request(0, load)), load)
    size = workload.disk(run.store)
    return {**meter.figures, "steps": load.steps, "disk": size, "empty": empty}


async def _crowd(dbos: Any, load: Workload) -> Meter:
    workflow = agent_async(dbos, load)
    dbos.launch()
    with Meter() as meter:
        handles = await asyncio.gather(
            *(
                dbos.start_workflow_async(workflow, p, request(p, load))
                for p in range(load.processes)
            )
        )
        for handle in handles:
            check(await handle.get_result(), load)
    return meter


def crowd(run: Run) -> dict[str, Any]:
    with launched(run) as dbos:
        meter = asyncio.run(_crowd(dbos, run.load))
    count = run.load.processes * run.load.steps
    return {**meter.figures, "steps": count, "disk": workload.disk(run.store)}


def spawn(run: Run) -> dict[str, Any]:
    """Enqueued one at a time, or batched: all in one transaction, which its client offers."""
    from dbos import DBOSClient

    load = run.load
    with launched(run) as dbos:
        agent(dbos, load)
        dbos.launch()
        dbos.register_queue(QUEUE)
        client = DBOSClient(system_database_url=f"sqlite:///{run.store}")
        options: Any = {"queue_name": QUEUE, "workflow_name": "agent"}
        if run.given["batched"]:
            engine = client._sys_db.engine  # the client offers the transaction, not the engine
            with Meter() as meter, engine.begin() as connection:
                for p in range(load.processes):
                    client.enqueue_in_transaction(connection, options, p, request(p, load))
        else:
            with Meter() as meter:
                for p in range(load.processes):
                    client.enqueue(options, p, request(p, load))
        client.destroy()
    return {**meter.figures, "steps": load.processes, "disk": workload.disk(run.store)}


CASES = {"steps": steps, "storage": steps, "crowd": crowd, "spawn": spawn}

if __name__ == "__main__":
    sys.exit(workload.main(CASES, ("dbos",)))
