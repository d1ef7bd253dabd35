"""AIOS's side: its syscall executor, FIFO scheduler and LLM adapter, from a source tree.

    PEERS_PYTHON bench/kernel/aios_peer.py CASE '{"aios": DIR, "cerebrum": DIR}'

What could and could not be run offline, by reading and by trying (commit 2155966):

- Thoughts go through its real path: SyscallExecutor → queue → FIFOScheduler → LLMAdapter → the
  OpenAI client → a server of ours on 127.0.0.1 that answers after `latency` (backend "vllm").
- Tools do not: its tool manager downloads every tool from a hub on the internet. A step here is
  therefore a thought alone; its turns count T steps, not 2T−1.
- Nothing is durable: queues and syscalls live in memory. Storage and spawn have nothing to measure.
- Its memory, storage and routing import chromadb, qdrant, torch and others at the top; this path
  calls none of them, so empty modules stand in their place, and their weight is not counted.
"""

import contextlib
import importlib.abc
import importlib.machinery
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import workload
from workload import Meter, Run, Workload

UNUSED = (
    "chromadb qdrant_client pulp torch transformers tqdm llama_index sentence_transformers nltk"
    " sklearn redis watchdog gdown mem0 zep_cloud aios.memory.manager aios.storage.storage"
    " rank_bm25 autogen fastembed soundfile"
).split()
CONFIG = """
api_keys: {openai: "", gemini: "", groq: "", anthropic: "", huggingface: {}}
llms: {models: [], router: {strategy: sequential}, log_mode: console, use_context_manager: false}
memory: {log_mode: console}
tool: {mcp_server_script_path: none.py}
"""


class Unused(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports an empty stand-in for whatever is listed in UNUSED."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name in UNUSED or name.partition(".")[0] in UNUSED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        module: Any = MagicMock(name=spec.name)
        module.__spec__, module.__path__, module.__name__ = spec, [], spec.name
        return module  # type: ignore[no-any-return]

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


# ---- The model server ----------------------------------------------------------------------------


class Answers(BaseHTTPRequestHandler):
    """/v1/chat/completions that takes `latency` seconds and says what the script says."""

    load: Workload
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        time.sleep(self.load.latency)
        process, turn = int(asked["messages"][0]["name"]), len(asked["messages"]) // 2 + 1
        said = workload.text("answer", process, turn, self.load.answer)
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "x", "object": "chat.completion", "created": 0, "model": asked["model"]}
        body = json.dumps({**answer, "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


def serve(run: Run) -> dict[str, Any]:
    """In a process of its own, so that its work is not counted as AIOS's."""
    Answers.load = run.load
    server = Server(("127.0.0.1", 0), Answers)
    print(server.server_port, flush=True)
    server.serve_forever()
    return {}


@contextlib.contextmanager
def model_server(load: Workload) -> Any:
    command = [sys.executable, __file__, "serve", json.dumps({"latency": load.latency})]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline())
    finally:
        server.kill()
        server.wait()


# ---- AIOS ----------------------------------------------------------------------------------------


def started(run: Run, port: int) -> tuple[Any, Any]:
    """AIOS's executor and its running scheduler. It reads its configuration beside its code."""
    folder, given = run.folder, run.given
    shutil.copytree(Path(given["aios"]) / "aios", folder / "aios")
    (folder / "aios/config/config.yaml").write_text(CONFIG)
    sys.path[:0] = [str(folder), str(given["cerebrum"])]
    sys.meta_path.insert(0, Unused())
    os.chdir(folder)
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the internet at import
    from aios.hooks.stores import _global as queues
    from aios.llm_core.adapter import LLMAdapter
    from aios.scheduler.fifo_scheduler import FIFOScheduler
    from aios.scheduler.rr_scheduler import RRScheduler
    from aios.syscall.syscall import SyscallExecutor

    logging.disable(logging.CRITICAL)
    server = {"name": "stub", "backend": "vllm", "hostname": f"http://127.0.0.1:{port}/v1"}
    kind = RRScheduler if given.get("round_robin") else FIFOScheduler
    scheduler = kind(
        LLMAdapter([server]), None, None, None, "console",
        queues.global_llm_req_queue_get_message, queues.global_memory_req_queue_get_message,
        queues.global_storage_req_queue_get_message, queues.global_tool_req_queue_get_message,
    )  # fmt: skip
    scheduler.start()
    return SyscallExecutor(), scheduler


def agent(executor: Any, process: int, load: Workload, ended: list[int]) -> None:
    """One agent's turns, each a thought through AIOS; notes itself in `ended` if all went well."""
    from cerebrum.llm.apis import LLMQuery

    request = workload.text("request", process, 0, load.request)
    messages: list[Any] = [{"role": "user", "content": request, "name": str(process)}]
    for turn in range(1, load.turns + 1):
        query = LLMQuery(messages=messages, action_type="chat")
        said = executor.execute_request(f"agent {process}", query)["response"].response_message
        if said != workload.text("answer", process, turn, load.answer):
            return
        result = workload.text("result", process, turn, load.result)
        messages.append({"role": "assistant", "content": said})
        messages.append({"role": "user", "content": result})
    ended.append(process)


def crowd(run: Run) -> dict[str, Any]:
    """Each agent in a thread of its own, as AIOS's agent factory has it."""
    load = run.load
    with model_server(load) as port, contextlib.redirect_stdout(io.StringIO()):
        executor, scheduler = started(run, port)
        ended: list[int] = []
        threads = [
            threading.Thread(target=agent, args=(executor, process, load, ended), daemon=True)
            for process in range(load.processes)
        ]
        with Meter() as meter:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(timeout=run.given.get("patience", 300))
        if len(ended) < load.processes:
            raise SystemExit(f"aios: {load.processes - len(ended)} agents did not do their work")
        scheduler.stop()
    return {**meter.figures, "steps": load.processes * load.turns, "durable": False}


def nothing(_run: Run) -> dict[str, Any]:
    return {"absent": "AIOS keeps nothing on disk"}


def versions(run: Run) -> dict[str, Any]:
    found = {}
    for name in ("aios", "cerebrum"):
        command = ["git", "-C", str(run.given[name]), "rev-parse", "--short=9", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found[name] = done.stdout.strip() or "unknown"
    return {"versions": found}


CASES = {
    "steps": crowd,
    "storage": nothing,
    "crowd": crowd,
    "spawn": nothing,
    "versions": versions,
    "serve": serve,
}

if __name__ == "__main__":
    sys.exit(workload.main(CASES))
