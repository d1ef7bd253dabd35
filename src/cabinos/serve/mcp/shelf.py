"""Skills as resources, with their digests: the extension `io.modelcontextprotocol/skills`.

SEP-2640 (final; https://github.com/modelcontextprotocol/ext-skills): each file of a skill is a
resource `skill://NAME/PATH`; `skills/list` and `skills/get` give a skill's head and all its files
with SHA-256 and size, `resources/directory/read` the children of a folder. To clients that know
nothing of it, they are resources like any other. Files are read anew for each request, so a digest
is that of the bytes that would be sent.
"""

import base64
import hashlib
import json
import logging
import mimetypes
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

import mcp_types as types
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from cabinos.skills.errors import SkillError
from cabinos.skills.package import MAIN, Skill

__all__ = ["EXTENSION", "Shelf", "offer_skills"]

EXTENSION = "io.modelcontextprotocol/skills"
SCHEME = "skill://"
FOLDER = "inode/directory"
MAX_FILES, MAX_BYTES = 512, 16 << 20  # of a skill: what every host takes
PAGE = 50  # skills, or resources, of one answer
FRESH = {"ttlMs": 0, "cacheScope": "private"}  # files may change at any time, and are the user's
log = logging.getLogger("cabinos.serve.mcp")

Context = ServerRequestContext[Any, Any]


class ByUri(types.RequestParams):
    """The parameters of `skills/get`."""

    uri: str


class Directory(types.PaginatedRequestParams):
    """The parameters of `resources/directory/read`."""

    uri: str


class Shelf:
    """The skills that are served, by their names."""

    def __init__(self, skills: Sequence[Skill]) -> None:
        self._skills: dict[str, Skill] = {}
        for skill in skills:
            try:
                if problem := _too_large(skill):
                    log.warning("mcp: the skill %s is left out: %s", skill.name, problem)
                    continue
            except SkillError as error:
                log.warning("mcp: the skill %s is left out: %s", skill.name, error)
                continue
            self._skills.setdefault(skill.name, skill)

    @property
    def names(self) -> list[str]:
        """Of the skills, in order."""
        return sorted(self._skills)

    def entry(self, name: str) -> dict[str, Any]:
        """A skill's head, and its files with digests and sizes. Raises MCPError, SkillError."""
        skill = self._skill(name)
        files = []
        for inner in skill.folder.files():
            data = skill.folder.locate(inner).read_bytes()
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            files.append({"uri": uri_of(name, inner), "digest": digest, "size": len(data)})
        return {"uri": uri_of(name, MAIN), "frontmatter": _head(skill), "resources": files}

    def read(self, uri: str) -> types.TextResourceContents | types.BlobResourceContents:
        """A file. Raises MCPError if there is none."""
        name, inner = self._parts(uri)
        skill = self._skill(name)
        if not inner or inner not in skill.folder.files():
            raise _unknown(f"no file is served at {uri}.")
        data = skill.folder.locate(inner).read_bytes()
        kind = _kind(inner)
        try:
            return types.TextResourceContents(uri=uri, mime_type=kind, text=data.decode())
        except UnicodeDecodeError:
            blob = base64.b64encode(data).decode()
            return types.BlobResourceContents(uri=uri, mime_type=kind, blob=blob)

    def main(self, name: str) -> types.Resource:
        """The resource of a skill's SKILL.md."""
        return types.Resource(
            uri=uri_of(name, MAIN),
            name=name,
            description=self._skill(name).description,
            mime_type="text/markdown",
        )

    def children(self, uri: str) -> list[types.Resource]:
        """What a folder holds directly. Raises MCPError if it is none."""
        name, inner = self._parts(uri)
        below = f"{inner}/" if inner else ""
        files = [f for f in self._skill(name).folder.files() if f.startswith(below)]
        if not files or uri.endswith("/"):
            raise _unknown(f"{uri} is not a directory resource.")
        found: dict[str, types.Resource] = {}
        for file in files:
            child, _, deeper = file.removeprefix(below).partition("/")
            path = f"{below}{child}"
            kind = FOLDER if deeper else _kind(child)
            found[path] = types.Resource(uri=uri_of(name, path), name=child, mime_type=kind)
        return list(found.values())

    def name_of(self, uri: str) -> str:
        """The skill whose SKILL.md this is. Raises MCPError if it is none."""
        name, inner = self._parts(uri)
        if inner != MAIN or name not in self._skills:
            raise _unknown(f"no skill is served at {uri}.")
        return name

    def _skill(self, name: str) -> Skill:
        if name not in self._skills:
            raise _unknown(f"no skill is called {name!r}.")
        return self._skills[name]

    def _parts(self, uri: str) -> tuple[str, str]:
        if not uri.startswith(SCHEME):
            raise _unknown(f"{uri}: resources here begin with {SCHEME}.")
        name, _, inner = unquote(uri.removeprefix(SCHEME)).partition("/")
        return name, inner


def uri_of(name: str, inner: str) -> str:
    """The address of a file or folder of a skill."""
    return f"{SCHEME}{quote(name)}/{quote(inner)}"


def _head(skill: Skill) -> dict[str, Any]:
    """What the author wrote at the head of SKILL.md, as any reader of YAML understands it."""
    import yaml

    lines = skill.folder.text(MAIN).removeprefix("\ufeff").splitlines(keepends=True)
    end = next(n for n, line in enumerate(lines[1:], 1) if line.strip() == "---")
    head = yaml.safe_load("".join(lines[1:end]))
    plain: dict[str, Any] = json.loads(json.dumps(head, default=str))
    return plain


def _too_large(skill: Skill) -> str:
    files = skill.folder.files()
    total = sum(skill.folder.locate(inner).stat().st_size for inner in files)
    if len(files) > MAX_FILES or total > MAX_BYTES:
        most = f"{MAX_FILES} and {MAX_BYTES >> 20} are allowed"
        return f"{len(files)} files, {total >> 20} MiB; {most}"
    return ""


def _kind(name: str) -> str:
    if PurePosixPath(name).suffix.lower() == ".md":
        return "text/markdown"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _unknown(message: str) -> MCPError:
    return MCPError(code=types.INVALID_PARAMS, message=message)


def _page(items: Sequence[Any], cursor: str | None) -> tuple[Sequence[Any], dict[str, str]]:
    """Some of the items, and how to ask for the next ones."""
    start = int(cursor) if cursor and cursor.isdecimal() else 0
    more = {"nextCursor": str(start + PAGE)} if start + PAGE < len(items) else {}
    return items[start : start + PAGE], more


def offer_skills(server: Server[Any], shelf: Shelf) -> None:
    """Adds the resources and the methods of the extension to a server."""

    async def list_resources(
        _context: Context, params: types.PaginatedRequestParams
    ) -> types.ListResourcesResult:
        names, more = _page(shelf.names, params.cursor)
        listed = [shelf.main(name) for name in names]
        return types.ListResourcesResult(resources=listed, next_cursor=more.get("nextCursor"))

    async def read_resource(
        _context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        return types.ReadResourceResult(contents=[_told(shelf.read, str(params.uri))])

    async def list_skills(
        _context: Context, params: types.PaginatedRequestParams
    ) -> dict[str, Any]:
        names, more = _page(shelf.names, params.cursor)
        skills = [_told(shelf.entry, name) for name in names]
        return {"resultType": "complete", "skills": skills, **FRESH, **more}

    async def get_skill(_context: Context, params: ByUri) -> dict[str, Any]:
        skill = _told(shelf.entry, shelf.name_of(params.uri))
        return {"resultType": "complete", "skill": skill, **FRESH}

    async def read_directory(_context: Context, params: Directory) -> dict[str, Any]:
        found, more = _page(_told(shelf.children, params.uri), params.cursor)
        plain = [one.model_dump(by_alias=True, mode="json", exclude_none=True) for one in found]
        return {"resultType": "complete", "resources": plain, **more}

    server.add_request_handler("resources/list", types.PaginatedRequestParams, list_resources)
    server.add_request_handler("resources/read", types.ReadResourceRequestParams, read_resource)
    server.add_request_handler("skills/list", types.PaginatedRequestParams, list_skills)
    server.add_request_handler("skills/get", ByUri, get_skill)
    server.add_request_handler("resources/directory/read", Directory, read_directory)
    server.extensions[EXTENSION] = {"directoryRead": True}


def _told(work: Any, argument: str) -> Any:
    """What `work` returns; what is wrong with a skill's files as an error of the protocol."""
    try:
        return work(argument)
    except SkillError as error:
        raise MCPError(code=types.INTERNAL_ERROR, message=str(error)) from None
    except OSError as error:
        message = f"{argument}: cannot be read ({error.strerror})."
        raise MCPError(code=types.INTERNAL_ERROR, message=message) from None
