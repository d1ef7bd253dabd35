"""LangGraph's side: a StateGraph agent loop over SqliteSaver, durability="sync".

    PEERS_PYTHON bench/kernel/langgraph_peer.py CASE JSON

One node is one durable step. WAL is what the saver sets; `synchronous` is FULL, as SQLite's default
is and as every side of this bench has it.
"""

import asyncio
import sqlite3
import sys
import time
from typing import Any

import workload
from workload import Meter, Run, Workload


def build(load: Workload, checkpointer: Any, *, asynchronous: bool) -> Any:
    """The agent loop: model → tool → model … → end, as LangGraph's own pages write it."""
    from langchain_core.messages import AIMessage, ToolMessage
    from langgraph.graph import END, START, MessagesState, StateGraph

    def answer(state: MessagesState) -> dict[str, Any]:
        messages = state["messages"]
        process, turn = int(messages[0].name or 0), len(messages) // 2 + 1
        said = workload.text("answer", process, turn, load.answer)
        if workload.is_last(turn, load):
            return {"messages": [AIMessage(said)]}
        call = {"name": workload.TOOL, "args": {"n": turn}, "id": f"call-{process}-{turn}"}
        return {"messages": [AIMessage(said, tool_calls=[call])]}

    def think(state: MessagesState) -> dict[str, Any]:
        if load.latency:
            time.sleep(load.latency)
        return answer(state)

    async def think_async(state: MessagesState) -> dict[str, Any]:
        if load.latency:
            await asyncio.sleep(load.latency)
        return answer(state)

    def act(state: MessagesState) -> dict[str, Any]:
        process = int(state["messages"][0].name or 0)
        call = state["messages"][-1].tool_calls[0]
        found = workload.text("result", process, call["args"]["n"], load.result)
        return {"messages": [ToolMessage(found, tool_call_id=call["id"])]}

    async def act_async(state: MessagesState) -> dict[str, Any]:
        return act(state)

    def more(state: MessagesState) -> str:
        return "act" if state["messages"][-1].tool_calls else END

    graph = StateGraph(MessagesState)
    graph.add_node("think", think_async if asynchronous else think)
    graph.add_node("act", act_async if asynchronous else act)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", more, ["act", END])
    graph.add_edge("act", "think")
    return graph.compile(checkpointer=checkpointer)


def first(process: int, load: Workload) -> dict[str, Any]:
    """The input of one process; its number travels as the name of the first message."""
    from langchain_core.messages import HumanMessage

    said = workload.text("request", process, 0, load.request)
    return {"messages": [HumanMessage(said, name=str(process))]}


def config(process: int, load: Workload) -> dict[str, Any]:
    return {
        "configurable": {"thread_id": str(process)},
        "recursion_limit": 2 * load.steps + 10,
    }


def check(state: Any, load: Workload) -> None:
    """A process that did not do all its work must not be counted."""
    if len(state["messages"]) != 2 * load.turns:
        raise SystemExit(f"langgraph: {len(state['messages'])} messages, not {2 * load.turns}")


def opened(run: Run) -> Any:
    """A SqliteSaver over a fresh file."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    connection = sqlite3.connect(run.store, check_same_thread=False)
    connection.execute("PRAGMA synchronous=FULL")
    saver = SqliteSaver(connection)
    saver.setup()
    return saver


def steps(run: Run) -> dict[str, Any]:
    load, saver = run.load, opened(run)
    empty = workload.disk(run.store)
    graph = build(load, saver, asynchronous=False)
    with Meter() as meter:
        check(graph.invoke(first(0, load), config(0, load), durability="sync"), load)
    saver.conn.close()
    size = workload.disk(run.store)
    return {**meter.figures, "steps": load.steps, "disk": size, "empty": empty}


async def _crowd(run: Run) -> Meter:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    load = run.load
    async with AsyncSqliteSaver.from_conn_string(str(run.store)) as saver:
        await saver.conn.execute("PRAGMA synchronous=FULL")
        await saver.setup()
        graph = build(load, saver, asynchronous=True)
        with Meter() as meter:
            ended = await asyncio.gather(
                *(
                    graph.ainvoke(first(p, load), config(p, load), durability="sync")
                    for p in range(load.processes)
                )
            )
        for state in ended:
            check(state, load)
    return meter


def crowd(run: Run) -> dict[str, Any]:
    meter = asyncio.run(_crowd(run))
    count = run.load.processes * run.load.steps
    return {**meter.figures, "steps": count, "disk": workload.disk(run.store)}


def spawn(run: Run) -> dict[str, Any]:
    """A thread with a first checkpoint is the nearest to a durable spawn; there is no batch."""
    if run.given["batched"]:
        return {"absent": "no call that makes several threads"}
    load, saver = run.load, opened(run)
    graph = build(load, saver, asynchronous=False)
    with Meter() as meter:
        for process in range(load.processes):
            graph.update_state(config(process, load), first(process, load), as_node="__start__")
    saver.conn.close()
    return {**meter.figures, "steps": load.processes, "disk": workload.disk(run.store)}


CASES = {"steps": steps, "storage": steps, "crowd": crowd, "spawn": spawn}

if __name__ == "__main__":
    sys.exit(workload.main(CASES, ("langgraph", "langgraph-checkpoint-sqlite")))
