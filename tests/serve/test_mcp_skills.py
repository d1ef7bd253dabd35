"""Skills over MCP: read by URI, with equal digests, by the SDK's own client."""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import Client, MCPError
from mcp.types import BlobResourceContents, Request, RequestParams, Result
from pydantic import ConfigDict

from cabinos.serve.mcp.server import make_server
from cabinos.serve.mcp.shelf import EXTENSION, Shelf, offer_skills
from cabinos.skills.package import read_head

HEAD = """---
name: {name}
description: Knows how to {name}.
metadata:
  version: 1.10
---
# {name}

See [notes](references/a%20note.md).
"""


class Loose(RequestParams):
    model_config = ConfigDict(extra="allow")


class Ask(Request[Loose, str]):
    method: str
    params: Loose


class Answer(Result):
    model_config = ConfigDict(extra="allow")


@pytest.fixture
def skills(tmp_path: Path) -> Path:
    for name in ("knit", "weave"):
        folder = tmp_path / name
        (folder / "references" / "deep").mkdir(parents=True)
        (folder / "SKILL.md").write_bytes(HEAD.format(name=name).replace("\n", "\r\n").encode())
        (folder / "references" / "a note.md").write_text("Wool.\n")
        (folder / "references" / "deep" / "é.txt").write_text("ü")
        (folder / "pattern.bin").write_bytes(bytes(range(256)))
    return tmp_path


def with_client(folder: Path, work: Callable[[Client], Awaitable[None]], mode: str) -> None:
    async def main() -> None:
        server = make_server([])
        offer_skills(server, Shelf([read_head(path) for path in sorted(folder.iterdir())]))
        async with Client(server, mode=mode) as client:
            await work(client)

    asyncio.run(main())


async def ask(client: Client, method: str, **params: Any) -> Any:
    request = Ask(method=method, params=Loose(**params))
    return (await client.session.send_request(request, Answer)).model_extra


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_every_file_reads_with_the_digest_of_its_entry(
    skills: Path, mode: Literal["auto", "legacy"]
) -> None:
    async def work(client: Client) -> None:
        listed = await ask(client, "skills/list")
        assert [one["uri"] for one in listed["skills"]] == [
            "skill://knit/SKILL.md",
            "skill://weave/SKILL.md",
        ]
        for one in listed["skills"]:
            assert one == (await ask(client, "skills/get", uri=one["uri"]))["skill"]
            assert len(one["resources"]) == 4
            for file in one["resources"]:
                (content,) = (await client.read_resource(file["uri"])).contents
                if isinstance(content, BlobResourceContents):
                    data = base64.b64decode(content.blob)
                else:
                    data = content.text.encode()
                assert f"sha256:{hashlib.sha256(data).hexdigest()}" == file["digest"]
                assert len(data) == file["size"]
        assert listed["skills"][0]["frontmatter"]["metadata"] == {"version": 1.1}

    with_client(skills, work, mode)


def test_what_changed_has_another_digest(skills: Path) -> None:
    async def work(client: Client) -> None:
        uri = "skill://knit/SKILL.md"
        before = (await ask(client, "skills/get", uri=uri))["skill"]["resources"]
        (skills / "knit" / "references" / "a note.md").write_text("Silk.\n")
        after = (await ask(client, "skills/get", uri=uri))["skill"]["resources"]
        changed = [a["uri"] for a, b in zip(before, after, strict=True) if a != b]
        assert changed == ["skill://knit/references/a%20note.md"]

    with_client(skills, work, "auto")


def test_folders_list_their_children(skills: Path) -> None:
    async def work(client: Client) -> None:
        root = (await ask(client, "resources/directory/read", uri="skill://knit"))["resources"]
        assert [(one["name"], one["mimeType"]) for one in root] == [
            ("SKILL.md", "text/markdown"),
            ("pattern.bin", "application/octet-stream"),
            ("references", "inode/directory"),
        ]
        uri = root[-1]["uri"]
        inner = (await ask(client, "resources/directory/read", uri=uri))["resources"]
        assert [one["name"] for one in inner] == ["a note.md", "deep"]

    with_client(skills, work, "auto")


def test_resources_are_listed_for_clients_that_know_nothing_of_skills(skills: Path) -> None:
    async def work(client: Client) -> None:
        (first, _) = (await client.list_resources()).resources
        assert (str(first.uri), first.name) == ("skill://knit/SKILL.md", "knit")
        assert first.description == "Knows how to knit."
        capabilities = client.server_capabilities
        assert capabilities is not None
        assert (capabilities.extensions or {})[EXTENSION] == {"directoryRead": True}

    with_client(skills, work, "auto")


@pytest.mark.parametrize(
    ("method", "uri"),
    [
        ("skills/get", "skill://purl/SKILL.md"),
        ("skills/get", "skill://knit/references/a%20note.md"),
        ("skills/get", "file:///etc/passwd"),
        ("resources/read", "skill://knit/../weave/SKILL.md"),
        ("resources/read", "skill://knit/%2e%2e/weave/SKILL.md"),
        ("resources/read", "skill://knit/secret.txt"),
        ("resources/read", "skill://knit"),
        ("resources/read", "skill://knit/references"),
        ("resources/directory/read", "skill://knit/SKILL.md"),
        ("resources/directory/read", "skill://purl"),
    ],
)
def test_what_is_not_served_is_refused(skills: Path, tmp_path: Path, method: str, uri: str) -> None:
    (skills / "knit" / "secret.txt").symlink_to("/etc/passwd")

    async def work(client: Client) -> None:
        with pytest.raises(MCPError) as caught:
            await ask(client, method, uri=uri)
        assert caught.value.error.code == -32602

    with_client(skills, work, "auto")


def test_a_skill_that_is_too_large_is_left_out(
    skills: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(513):
        (skills / "knit" / f"{number}.txt").write_text("x")
    shelf = Shelf([read_head(skills / "knit"), read_head(skills / "weave")])
    assert shelf.names == ["weave"]
    assert "knit is left out" in caplog.text
