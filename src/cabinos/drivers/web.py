"""Device: pages of the web, as text.

Fetching a URL tells its host whatever stands in the URL: it is egress, and the URL is what the call
acts on. With `offline`, pages come from a folder instead, and nothing leaves the machine.
"""

import asyncio
import io
import json
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote, urlsplit

from pydantic import Field

from cabinos.drivers import documents, text
from cabinos.drivers.fetch import Fetched, Fetcher, Limits, Resolve, resolve
from cabinos.drivers.saved_pages import SavedPages
from cabinos.kernel.driver import Context, Driver, Tool, tool
from cabinos.kernel.errors import Denied, InvalidArguments, ToolError

__all__ = ["driver"]

ACCEPT = "text/html,application/xhtml+xml,text/*;q=0.9,application/pdf;q=0.8,*/*;q=0.1"
DOCUMENTS = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
}
UNSAID = ("", "application/octet-stream")  # the server does not know either
TEXTS = ("application/json", "application/xml", "application/yaml", *UNSAID)
KEPT = 16  # texts that are kept for their next page
MAX_HITS = 10  # of a search
MAX_SNIPPET = 300  # characters
MAX_LISTED = 200  # saved pages of one listing

Url = Annotated[str, Field(min_length=1, description="http or https")]
Offset = Annotated[int, Field(ge=1, description="first line, from 1")]
Limit = Annotated[int, Field(ge=1, le=5_000, description="how many lines")]


def driver(config: Mapping[str, Any], resolve: Resolve = resolve) -> Driver:
    """The web device. `resolve` finds the addresses of hosts.

    `config`: allow_private (hosts, "name" or "name:port", that may have private addresses), ports
    (that are fetched from), ca (file with a further certificate authority), seconds and size (of
    one page), search (URL of a search service that answers in SearXNG's JSON, with {query} in it),
    offline (a folder of saved pages that stands in for the network).
    """
    if folder := config.get("offline"):
        pages = SavedPages(str(folder))
        return Driver("web", tools=[_fetch_tool(_Saved(pages), egress=False), _browse_tool(pages)])
    private = [str(entry) for entry in config.get("allow_private", ())]
    defaults = Limits()
    settings: dict[str, Any] = {
        "ca": config.get("ca"),
        "resolve": resolve,
        "limits": Limits(
            seconds=float(config.get("seconds", defaults.seconds)),
            size=int(config.get("size", defaults.size)),
        ),
    }
    if "ports" in config:
        settings["ports"] = [int(port) for port in config["ports"]]
    fetcher = Fetcher(allow_private=private, **settings)
    tools = [_fetch_tool(_Online(fetcher), egress=True)]
    if template := config.get("search"):
        tools.append(_search_tool(str(template), private, settings))
    return Driver("web", tools=tools)


# ---- Fetching ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Online:
    """Pages from the network."""

    fetcher: Fetcher

    async def text(self, url: str, allows: Callable[[str], bool]) -> str:
        page = await self.fetcher.get(url, allows, ACCEPT)
        return f"URL: {page.url}\n{await _text_of(page)}"


@dataclass(frozen=True, slots=True)
class _Saved:
    """Pages from a folder."""

    pages: SavedPages

    async def text(self, url: str, allows: Callable[[str], bool]) -> str:
        try:
            host = urlsplit(url).hostname or ""
        except ValueError as error:
            raise InvalidArguments(f"{url!r} is not a URL: {error}.") from None
        if not allows(host):
            raise Denied(f"{host} is not among the hosts that this process may reach.")
        name, file = await asyncio.to_thread(self.pages.open, url)
        with file:
            head = await asyncio.to_thread(file.read, 1024)
            kind = documents.kind_of(name, head) or ("html" if _looks_like_html(head) else "")
            if kind:
                return f"URL: {url}\n{await _extracted(file, kind, name, url=url)}"
            file.seek(0)
            size = Limits().size
            data = await asyncio.to_thread(file.read, size)
            return f"URL: {url}\n\n{text.decode(data, name, cut=len(data) == size)[0]}"


def _fetch_tool(source: _Online | _Saved, *, egress: bool) -> Tool:
    kept: OrderedDict[tuple[int, str], str] = OrderedDict()

    @tool(
        effect="pure",
        egress=egress,
        authority=["url"],
        needs="web",
        hints="open read fetch web page website site url link http https www article online "
        "summarize this page what does it say download visit",
    )
    async def web_fetch(
        url: Url, offset: Offset = 1, limit: Limit = 1_000, *, context: Context
    ) -> str:
        """Reads a web page: its title, its address and its text as Markdown with links."""
        key = (context.pid, url)  # of this process: another may not reach the same hosts
        if offset == 1 or key not in kept:
            kept[key] = await source.text(url, context.capabilities.allows_host)
            while len(kept) > KEPT:
                kept.popitem(last=False)
        kept.move_to_end(key)
        whole = io.StringIO(kept[key], newline="")
        return text.page_of(whole, url, offset, limit, "utf-8").noted()

    return web_fetch


async def _text_of(page: Fetched) -> str:
    kind = DOCUMENTS.get(page.type)
    if kind is None and page.type in UNSAID:
        kind = documents.kind_of(urlsplit(page.url).path, page.data[:1024])
        kind = kind or ("html" if _looks_like_html(page.data[:1024]) else None)
    if kind is not None:
        if page.cut and kind != "html":
            raise ToolError(f"{page.url} is longer than {len(page.data):,} bytes.")
        with tempfile.TemporaryFile() as file:
            file.write(page.data)
            found = await _extracted(file, kind, page.url, url=page.url, charset=page.charset)
    elif page.type.startswith("text/") or page.type in TEXTS or "+" in page.type:
        found = "\n" + _decoded(page)
    else:
        raise ToolError(f"{page.url} is {page.type}, {len(page.data):,} bytes: not text.")
    cut = f"[only the first {len(page.data):,} bytes of the page were read]\n" if page.cut else ""
    return cut + found


async def _extracted(
    file: BinaryIO, kind: str, name: str, *, url: str = "", charset: str = ""
) -> str:
    document = await documents.extract(file, kind, name, url=url, charset=charset)
    return f"Title: {document.title}\n\n{document.text}"


def _decoded(page: Fetched) -> str:
    if page.charset:
        with suppress(LookupError):  # a name that only the server knows
            return page.data.decode(page.charset, "replace")
    return text.decode(page.data, page.url, cut=page.cut)[0]


def _looks_like_html(head: bytes) -> bool:
    beginning = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return beginning.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


# ---- Searching and browsing ----------------------------------------------------------------------


def _search_tool(template: str, private: list[str], settings: Mapping[str, Any]) -> Tool:
    service = urlsplit(template)
    if "{query}" not in template or not service.hostname:
        raise InvalidArguments(f"search: {template!r} must be a URL with {{query}} in it.")
    # Whoever runs Cabin chose the service, so it may be on a machine and a port of their own.
    own = f"{service.hostname}:{service.port}" if service.port else service.hostname
    fetcher = Fetcher(allow_private=[*private, own], **settings)

    @tool(
        effect="pure",
        egress=True,
        payload=["query"],
        needs="web",
        hints="search the web internet google look up online find information about latest news "
        "current results who is what is recent",
    )
    async def web_search(
        query: Annotated[str, Field(min_length=1, max_length=400)], *, context: Context
    ) -> str:
        """Searches the web: title, address and a few words of each page found."""
        url = template.replace("{query}", quote(query, safe=""))
        page = await fetcher.get(url, context.capabilities.allows_host, "application/json")
        return _hits(page)

    return web_search


def _hits(page: Fetched) -> str:
    try:
        results = json.loads(page.data)["results"]
        hits = [(_line(r.get("title")), str(r["url"]), _line(r.get("content"))) for r in results]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ToolError(
            "the search service did not answer with results in SearXNG's JSON; "
            "SearXNG does so only if its settings allow the format json."
        ) from None
    lines = [
        f"{number}. {title}\n   {url}\n   {snippet}"
        for number, (title, url, snippet) in enumerate(hits[:MAX_HITS], 1)
    ]
    return "\n".join(lines) or "Nothing was found."


def _line(value: object) -> str:
    return " ".join(str(value or "").split())[:MAX_SNIPPET]


def _browse_tool(pages: SavedPages) -> Tool:
    @tool(
        effect="pure",
        needs="web",
        hints="saved pages web list bookmarks which pages articles are there stored kept offline "
        "archive",
    )
    async def web_browse(
        contains: Annotated[str, Field(max_length=200, description="part of the URL")] = "",
    ) -> str:
        """Lists the saved web pages that there are. web_fetch reads them."""
        return await asyncio.to_thread(_listed, pages, contains.lower())

    return web_browse


def _listed(pages: SavedPages, contains: str) -> str:
    found: list[str] = []
    for url in pages.urls():
        if contains in url.lower():
            found.append(url)
            if len(found) == MAX_LISTED:
                found.append(f"[only the first {MAX_LISTED} are shown]")
                break
    return "\n".join(found) or "No saved page has that in its URL."
