"""`cabin mcp` with the SDK's own client, in real processes: on stdio and over HTTP."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from tests.cli.support import PATIENCE, Cabin

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@asynccontextmanager
async def connected(cabin: Cabin, *options: str, mode: str = "auto") -> AsyncIterator[Client]:
    """A client of a server that it has started."""
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "cabinos", "mcp", *options],
        env=cabin.environment,
        cwd=str(cabin.home),
    )
    async with Client(stdio_client(command), mode=mode) as client:
        yield client


async def call(client: Client, name: str, **arguments: Any) -> Any:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def refused(client: Client, name: str, **arguments: Any) -> str:
    result: CallToolResult = await client.call_tool(name, arguments)
    assert result.is_error
    return str(result.content[0].text)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_starts_a_process_and_gets_its_answer(cabin: Cabin, mode: str) -> None:
    async def main() -> None:
        async with connected(cabin, mode=mode) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert names[:4] == ["spawn", "send", "wait", "ps"]
            assert names[4:] == ["memory_search", "remember", "knowledge_search", "knowledge_get"]
            pid = (await call(client, "spawn", request="say hello"))["pid"]
            told = await call(client, "wait", pid=pid)
            assert (told["state"], told["answer"], told["ok"]) == ("exited", "hello", True)
            (row,) = (await call(client, "ps", exited=True))["processes"]
            assert (row["pid"], row["title"]) == (pid, "say hello")

    asyncio.run(main())


def test_a_conversation_goes_on_with_send(cabin: Cabin) -> None:
    async def main() -> None:
        async with connected(cabin) as client:
            pid = (await call(client, "spawn", request="say one", stay=True))["pid"]
            assert (await call(client, "wait", pid=pid))["answer"] == "one"
            await call(client, "send", pid=pid, text="say two")
            while (told := await call(client, "wait", pid=pid))["answer"] != "two":
                assert told["answer"] == "one"
            assert told["state"] == "blocked"

    asyncio.run(main())


def test_what_a_client_says_is_untrusted_and_only_a_person_approves(cabin: Cabin) -> None:
    async def main() -> None:
        async with connected(cabin) as client:
            assert "approve" not in [tool.name for tool in (await client.list_tools()).tools]
            request = 'call strike {"hour": 3}'  # who types it is not asked
            pid = (await call(client, "spawn", request=request))["pid"]
            told = await call(client, "wait", pid=pid)
            assert told["label"] == "untrusted"
            assert "strike" in told["asks"][0]
            (ask,) = cabin.json("asks")["asks"]
            assert (await asyncio.to_thread(cabin, "deny", str(ask["id"]))).returncode == 0
            told = await call(client, "wait", pid=pid)
            assert told["state"] == "exited"

    asyncio.run(main())
    assert not cabin.world.exists()


def test_notes_keep_the_label_of_who_wrote_them(cabin: Cabin) -> None:
    async def main() -> None:
        async with connected(cabin) as client:
            assert "note 1" in (await call(client, "remember", text="the key is blue"))["done"]
            (note,) = (await call(client, "memory_search", query="key?"))["notes"]
            assert (note["text"], note["label"]) == ("the key is blue", "untrusted")
            assert (await call(client, "memory_search", query="boat"))["notes"] == []

    asyncio.run(main())
    (note,) = cabin.json("mem", "notes")["notes"]
    assert note["label"] == "untrusted"


def test_what_is_for_this_machine_alone_is_told_only_if_allowed(cabin: Cabin) -> None:
    cabin("exec", "notes_remember(text='the safe opens with 4711')")  # the brain is on it

    async def main(*options: str) -> tuple[Any, Any, Any]:
        async with connected(cabin, *options) as client:
            found = await call(client, "memory_search", query="safe")
            request = 'call notes_recall {"query": "safe"}'
            pid = (await call(client, "spawn", request=request, stay=True))["pid"]
            told = await call(client, "wait", pid=pid)
            (row,) = [one for one in (await call(client, "ps"))["processes"] if one["pid"] == pid]
            return found, told, row

    found, told, row = asyncio.run(main())
    assert found["notes"] == []
    assert "--private" in found["left_out"]
    assert told["answer"] is None
    assert "--private" in told["private"]
    assert told["title"] == row["title"] == ""
    assert "4711" not in str((found, told, row))
    found, told, row = asyncio.run(main("--private"))
    assert "left_out" not in found
    assert [note["text"] for note in found["notes"]] == ["the safe opens with 4711"]
    assert "4711" in told["answer"]
    assert "notes_recall" in row["title"]


def test_notes_are_found_by_what_they_mean(cabin: Cabin) -> None:
    async def main() -> None:
        async with connected(cabin) as client:
            await call(client, "remember", text="my sister loves roses")
            (note,) = (await call(client, "memory_search", query="flowers"))["notes"]
            assert note["text"] == "my sister loves roses"

    asyncio.run(main())


def test_errors_are_told_as_results(cabin: Cabin) -> None:
    async def main() -> None:
        async with connected(cabin) as client:
            assert "no process 99" in await refused(client, "wait", pid=99)
            assert "no process 99" in await refused(client, "send", pid=99, text="hello")
            assert "request" in await refused(client, "spawn")
            assert "at most 100000" in await refused(client, "spawn", request="x" * 100_001)
            assert "no words" in await refused(client, "memory_search", query="?!")
            assert "no tool 'approve'" in await refused(client, "approve", ask=1)

    asyncio.run(main())


def test_only_what_is_offered_is_there(cabin: Cabin) -> None:
    async def main() -> None:
        async with connected(cabin, "--offer", "memory") as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert names == ["memory_search", "remember"]

    asyncio.run(main())


def test_skills_are_tools_and_resources_that_read_by_their_address(cabin: Cabin) -> None:
    async def main() -> None:
        async with connected(cabin, "--offer", "skills") as client:
            told = await call(client, "knowledge_search", query="why keep the kernel small?")
            (key,) = re.findall(r"^\[(\S+#\S+)\]", told["text"], re.MULTILINE)[:1]
            assert told["label"] == "trusted"
            one = await call(client, "knowledge_get", principle=key)
            assert "Why:" in one["text"]
            assert "no principle" in await refused(client, "knowledge_get", principle="no#thing")
            found = (await client.list_resources()).resources
            assert len(found) >= 3
            (content,) = (await client.read_resource(found[0].uri)).contents
            assert content.text.startswith("---\nname: ")

    asyncio.run(main())


def test_beside_a_kernel_that_runs_and_two_clients_at_once(cabin: Cabin) -> None:
    cabin.up()

    async def main() -> None:
        async with connected(cabin) as one, connected(cabin) as two:
            first = (await call(one, "spawn", request="say one"))["pid"]
            second = (await call(two, "spawn", request="say two"))["pid"]
            assert first != second
            assert (await call(two, "wait", pid=first))["answer"] == "one"
            assert (await call(one, "wait", pid=second))["answer"] == "two"

    asyncio.run(main())


def test_an_idle_client_leaves_the_store_to_others(cabin: Cabin) -> None:
    async def main() -> None:
        async with connected(cabin) as client:
            await call(client, "spawn", request="say one")
            while (ran := await asyncio.to_thread(cabin, "say two")).returncode:
                assert "another" in ran.stderr.lower() or "busy" in ran.stderr.lower(), ran.stderr
            assert ran.stdout.strip() == "two"
            pid = (await call(client, "spawn", request="say three"))["pid"]
            assert (await call(client, "wait", pid=pid))["answer"] == "three"

    asyncio.run(main())


def test_a_signal_ends_it_though_stdin_stays_open(cabin: Cabin) -> None:
    server = cabin.start("mcp", stdin=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write('{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
    server.stdin.flush()
    assert server.stdout.readline()
    server.terminate()
    assert server.wait(PATIENCE) == 143


# ---- HTTP ----------------------------------------------------------------------------------------


@contextmanager
def listening(cabin: Cabin, *options: str, **environment: str) -> Iterator[str]:
    """The address of a server on a free port."""
    cabin.environment.update(environment)
    server = cabin.start("mcp", "--http", "--port", "0", *options)
    assert server.stderr is not None
    found = re.search(r"http://\S+/mcp", line := server.stderr.readline())
    assert found, line + server.stderr.read()
    yield found[0]
    server.terminate()
    assert server.wait(PATIENCE) == 0


def test_over_http(cabin: Cabin) -> None:
    async def main(url: str) -> None:
        async with Client(url) as client:
            pid = (await call(client, "spawn", request="say hello"))["pid"]
            assert (await call(client, "wait", pid=pid))["answer"] == "hello"

    with listening(cabin) as url:
        asyncio.run(main(url))


def test_who_is_not_of_this_machine_or_has_no_token_is_refused(cabin: Cabin) -> None:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}

    def status(url: str, **headers: str) -> int:
        return httpx2.post(url, json=ping, headers=headers, trust_env=False).status_code

    with listening(cabin) as url:
        assert status(url, host="evil.example") == 403
        assert status(url, origin="https://evil.example") == 403
    with listening(cabin, CABIN_TOKEN="t" * 32) as url:
        assert status(url) == 401
        assert status(url, authorization="Bearer wrong") == 401

        async def main() -> None:
            http = httpx2.AsyncClient(
                headers={"authorization": f"Bearer {'t' * 32}"}, trust_env=False
            )
            async with Client(streamable_http_client(url, http_client=http)) as client:
                assert (await call(client, "ps"))["processes"] == []

        asyncio.run(main())
    ran = cabin("mcp", "--http", "--host", "0.0.0.0", CABIN_TOKEN="")
    assert ran.returncode == 1
    assert "must show a token" in ran.stderr


def test_without_a_token_the_sdk_client_hears_why(cabin: Cabin) -> None:
    async def main(url: str) -> None:
        with pytest.raises((MCPError, httpx2.HTTPError, ExceptionGroup)):
            async with Client(url) as client:
                await client.list_tools()

    with listening(cabin, CABIN_TOKEN="t" * 32) as url:
        asyncio.run(main(url))
