"""One HTTP GET of a page that somebody else may have chosen, without harm to the house.

For each hop: the URL is checked, its host resolved once, every address found is checked, and the
connection goes to one of these very addresses. A name that resolves differently a moment later
changes nothing. TLS is checked against the name. There are no cookies, no proxy, no credentials and
no state from one fetch to the next; time, size and the number of hops are bounded while bytes come.
"""

import asyncio
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cabinos
from cabinos.drivers.addresses import is_public
from cabinos.kernel.errors import Denied, InvalidArguments, ToolError

if TYPE_CHECKING:
    import httpx2

__all__ = ["Fetched", "Fetcher", "Limits", "Resolve", "resolve"]

PORTS = (80, 443, 8080, 8443)
SCHEMES = {"http": 80, "https": 443}
REDIRECTS = (301, 302, 303, 307, 308)
MAX_URL = 4_000  # characters: what is longer carries data away rather than names a page
ATTEMPTS = 3  # addresses of one host that are tried

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one fetch may take."""

    seconds: float = 20.0  # in all
    size: int = 5 << 20  # bytes of the page, unpacked
    redirects: int = 5


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as it came. `cut` if it is longer than the limit."""

    url: str  # after all redirects
    type: str  # like text/html; without parameters
    charset: str  # as the server says, or nothing
    data: bytes
    cut: bool


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, by the system's resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Fetcher:
    """Fetches pages. `allow_private` names hosts ("host" or "host:port") with private addresses."""

    def __init__(
        self,
        *,
        allow_private: Collection[str] = (),
        ports: Collection[int] = PORTS,
        ca: str | None = None,
        limits: Limits | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        self._private = frozenset(entry.lower() for entry in allow_private)
        self._ports = frozenset(ports)
        self._ca = ca
        self._limits = limits or Limits()
        self._resolve = resolve
        self._tls: ssl.SSLContext | None = None

    async def get(self, url: str, allows: Callable[[str], bool], accept: str) -> Fetched:
        """The page at `url`, if `allows` says yes to the host of every hop.

        Raises InvalidArguments for what is no URL, Denied for where it must not go, and ToolError
        for what went wrong on the way.
        """
        httpx2 = _httpx2()
        try:
            async with asyncio.timeout(self._limits.seconds):
                for _ in range(self._limits.redirects + 1):
                    answer = await self._hop(_parsed(url), allows, accept)
                    if isinstance(answer, Fetched):
                        return answer
                    url = answer
        except TimeoutError:
            raise ToolError(
                f"{_short(url)}: no whole answer within {self._limits.seconds:g} s."
            ) from None
        except (httpx2.HTTPError, ssl.SSLError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise ToolError(f"{_short(url)}: {reason}.") from None
        raise ToolError(f"{_short(url)}: more than {self._limits.redirects} redirects.")

    async def _hop(
        self, url: "httpx2.URL", allows: Callable[[str], bool], accept: str
    ) -> Fetched | str:
        """The page, or the URL to go to instead."""
        host = url.raw_host.decode("ascii")
        if not allows(host):
            raise Denied(f"{host} is not among the hosts that this process may reach.")
        error: Exception | None = None
        for address in (await self._addresses(url, host))[:ATTEMPTS]:
            try:
                return await self._request(url, host, address, accept)
            except _httpx2().ConnectError as failed:
                error = failed
        assert error is not None
        raise error

    async def _addresses(self, url: "httpx2.URL", host: str) -> Sequence[str]:
        """Where to connect; every address of the host has been checked."""
        port = url.port or SCHEMES[url.scheme]
        known = not self._private.isdisjoint((host, f"{host}:{port}", f"[{host}]:{port}"))
        if not (known or port in self._ports):
            raise Denied(f"{host}:{port}: pages are not fetched from port {port}.")
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            raise ToolError(f"{host}: there is no such host, or no network.") from None
        if not addresses:
            raise ToolError(f"{host}: there is no such host.")
        if not (known or all(map(is_public, addresses))):
            raise Denied(
                f"{host} has a private address; pages are fetched from public ones only. "
                "Where that is wanted, name the host in allow_private."
            )
        return addresses

    async def _request(
        self, url: "httpx2.URL", host: str, address: str, accept: str
    ) -> Fetched | str:
        httpx2 = _httpx2()
        request = httpx2.Request(
            "GET",
            url.copy_with(host=address, fragment=None),
            headers={
                "Host": url.netloc.decode("ascii"),
                "User-Agent": f"Cabin/{cabinos.__version__}",
                "Accept": accept,
                "Accept-Encoding": "gzip, deflate",
                "Connection": "close",
            },
            extensions={
                "sni_hostname": host,
                "timeout": dict.fromkeys(("connect", "read", "write", "pool"), 10.0),
            },
        )
        async with httpx2.AsyncHTTPTransport(verify=self._context()) as transport:
            response = await transport.handle_async_request(request)
            try:
                return await self._understood(url, response)
            finally:
                await response.aclose()

    async def _understood(self, url: "httpx2.URL", response: "httpx2.Response") -> Fetched | str:
        if response.status_code in REDIRECTS and (location := response.headers.get("location")):
            try:
                return str(url.join(location))
            except _httpx2().InvalidURL:
                raise ToolError(f"{_short(str(url))}: redirects to what is no URL.") from None
        if response.status_code != 200:
            reason = f"{response.status_code} {response.reason_phrase}".strip()
            raise ToolError(f"{_short(str(url))}: the server answers {reason}.")
        data, cut = await _read(response, self._limits.size)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        charset = response.charset_encoding or ""
        return Fetched(str(url), kind, charset, data, cut)

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = _httpx2().create_ssl_context(trust_env=False)
            if self._ca is not None:
                try:
                    self._tls.load_verify_locations(cafile=self._ca)
                except (OSError, ssl.SSLError) as error:
                    raise ToolError(f"ca: {self._ca}: cannot be used ({error}).") from None
        return self._tls


def _httpx2() -> Any:
    try:
        import httpx2
    except ImportError:
        raise ToolError("Fetching pages needs: pip install 'cabinos[web]'") from None
    return httpx2


def _parsed(text: str) -> "httpx2.URL":
    """The URL, if it is of a page on the web. Raises InvalidArguments or Denied if it is not."""
    if len(text) > MAX_URL:
        raise InvalidArguments(f"URLs have at most {MAX_URL:,} characters, not {len(text):,}.")
    try:
        url: httpx2.URL = _httpx2().URL(text.strip())
    except _httpx2().InvalidURL as error:
        raise InvalidArguments(f"{_short(text)!r} is not a URL: {error}.") from None
    if url.scheme not in SCHEMES:
        raise Denied(f"{_short(text)!r}: only http and https are fetched.")
    if not url.raw_host:
        raise InvalidArguments(f"{_short(text)!r} names no host.")
    if url.userinfo:
        raise Denied(f"{url.host}: URLs with a user name or a password in them are not fetched.")
    return url


def _short(url: str) -> str:
    return url if len(url) <= 200 else f"{url[:200]}…"


# ---- Bytes, unpacked -----------------------------------------------------------------------------


async def _read(response: "httpx2.Response", size: int) -> tuple[bytes, bool]:
    """At most `size` bytes of the content, and whether it goes on. Never holds much more."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    unpack = _unpacker(encoding)
    content = bytearray()
    async for packed in response.aiter_raw():
        try:
            content += unpack(packed, size + 1 - len(content))
        except zlib.error:
            raise ToolError(f"the page came damaged: it is not {encoding}.") from None
        if len(content) > size:
            return bytes(content[:size]), True
    return bytes(content), False


def _unpacker(encoding: str) -> Callable[[bytes, int], bytes]:
    """A function that unpacks the next bytes to at most so many."""
    if encoding in ("", "identity"):
        return lambda data, room: data[:room]
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Inflater().feed
    raise ToolError(f"the server sends the page as {encoding}, which it was not asked for.")


class _Inflater:
    """zlib's streams in any of the wrappings that servers use (RFC 9110, 8.4.1.2)."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=47)  # finds out itself whether zlib or gzip
        self._begun = False

    def feed(self, data: bytes, room: int) -> bytes:
        try:
            unpacked = self._stream.decompress(data, room)
        except zlib.error:
            if self._begun:
                raise
            self._stream = zlib.decompressobj(wbits=-15)  # some send deflate without its head
            unpacked = self._stream.decompress(data, room)
        self._begun = True
        return unpacked
