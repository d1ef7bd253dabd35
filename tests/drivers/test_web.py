"""The web device, against real servers on this machine."""

import asyncio
import datetime as dt
import gzip
import json
import socket
import ssl
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cabinos.drivers.fetch import Fetcher, Limits
from cabinos.drivers.web import driver
from cabinos.kernel.capability import Capabilities
from cabinos.kernel.errors import Denied, InvalidArguments, ToolError
from tests.drivers.site import Site, html, page, redirect
from tests.drivers.support import call, context, named
from tests.drivers.test_documents import HTML, bomb, pdf

ANYWHERE = context(Capabilities(web=("*",)))


@pytest.fixture
def site() -> Iterator[Site]:
    with Site({}) as site:
        yield site


def fetch(site: Site, path: str = "/", *, held: Any = ANYWHERE, **config: Any) -> str:
    """web_fetch of a page of the site, whose private address is allowed."""
    device = driver({"allow_private": [site.address], **config})
    answer = call(named(device, "web_fetch"), held, url=site.url + path)
    assert isinstance(answer, str)
    return answer


def test_declared(tmp_path: Path) -> None:
    online = driver({"search": "https://search.example/?q={query}"})
    assert {
        (t.name, t.effect, t.label, t.egress, t.authority, t.payload) for t in online.tools
    } == {
        ("web_fetch", "pure", "untrusted", True, ("url",), ()),
        ("web_search", "pure", "untrusted", True, (), ("query",)),
    }
    offline = driver({"offline": str(tmp_path)})
    assert {(t.name, t.egress) for t in offline.tools} == {
        ("web_fetch", False),
        ("web_browse", False),
    }
    assert [tool.name for tool in driver({}).tools] == ["web_fetch"]


# ---- Pages ---------------------------------------------------------------------------------------


def test_a_page_as_text(site: Site) -> None:
    site.answers["/bread"] = html(HTML)
    text = fetch(site, "/bread")
    assert text.startswith(f"URL: {site.url}/bread\nTitle: Rye bread\n\n# Rye bread\n")
    assert f"[day]({site.url}/day)" in text
    assert "Menu" not in text


def test_what_is_asked_for(site: Site) -> None:
    site.answers["/x?q=%C3%B6"] = page(b"hi", "Content-Type: text/plain", "Set-Cookie: a=b")
    assert fetch(site, "/x?q=ö#there") == f"URL: {site.url}/x?q=%C3%B6#there\n\nhi"
    (head,) = site.requests
    assert head.startswith("GET /x?q=%C3%B6 HTTP/1.1\r\n")
    assert f"\r\nHost: {site.address}\r\n" in head
    assert "\r\nAccept-Encoding: gzip, deflate\r\n" in head
    assert "Cookie" not in head


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (page("Größe".encode(), "Content-Type: text/plain"), "\nGröße"),
        (page("Größe".encode("latin-1"), "Content-Type: text/plain"), "\nGröße"),
        (page("π".encode("iso-8859-7"), "Content-Type: text/plain; charset=iso-8859-7"), "\nπ"),
        (page(b"x", "Content-Type: text/plain; charset=nonsense"), "\nx"),
        (page(b'{"a": 1}', "Content-Type: application/json"), '\n{"a": 1}'),
        (page(b"<a/>", "Content-Type: application/atom+xml"), "\n<a/>"),
        (page(b"plain"), "\nplain"),
        (page(b"<!DOCTYPE html><title>T</title><p>hi"), "Title: T\n\nhi"),
        (html("<title>ä</title><p>ö".encode()), "Title: ä\n\nö"),
        (page(pdf("Hello"), "Content-Type: application/pdf"), "Title: \n\n[page 1]\nHello\n\n"),
        (page(gzip.compress(b"zipped", mtime=0), "Content-Encoding: gzip"), "\nzipped"),
        (page(zlib.compress(b"zlib"), "Content-Encoding: deflate"), "\nzlib"),
        (page(zlib.compress(b"raw")[2:-4], "Content-Encoding: deflate"), "\nraw"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "\nabc",
        ),
    ],
)
def test_kinds_of_pages(site: Site, answer: bytes, text: str) -> None:
    site.answers["/"] = answer
    assert fetch(site).removeprefix(f"URL: {site.url}/\n") == text


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (page(b"", status="404 Not Found"), "the server answers 404 Not Found"),
        (page(b"", status="500 No"), "the server answers 500 No"),
        (page(b"\x89PNG\0", "Content-Type: image/png"), "is image/png, 5 bytes: not text"),
        (page(b"\0\1\2", "Content-Type: application/octet-stream"), "is a binary file"),
        (page(b"x", "Content-Encoding: br"), "sends the page as br"),
        (page(b"not zipped at all", "Content-Encoding: gzip"), "it is not gzip"),
        (page(b"%PDF-1.7 but no", "Content-Type: application/pdf"), "this PDF cannot be read"),
        (b"nonsense\r\n\r\n", "illegal status line|Server disconnected|nonsense"),
        (b"", "disconnected"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "without sending complete"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, "headers|oo (long|large|many|big)"),
        (redirect("http://h/\x01"), "redirects to what is no URL"),
    ],
)
def test_what_is_no_page(site: Site, answer: bytes, problem: str) -> None:
    site.answers["/"] = answer
    with pytest.raises(ToolError, match=problem):
        fetch(site)


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    device = driver({"allow_private": [f"127.0.0.1:{port}"]})
    with pytest.raises(ToolError, match="connection"):
        call(named(device, "web_fetch"), ANYWHERE, url=f"http://127.0.0.1:{port}/")


def test_the_next_lines_are_not_fetched_again(site: Site) -> None:
    body = "".join(f"line {number}\n" for number in range(30))
    site.answers["/"] = page(body.encode(), "Content-Type: text/plain")
    tool = named(driver({"allow_private": [site.address]}), "web_fetch")
    first = call(tool, ANYWHERE, url=site.url, limit=12)
    assert first.startswith("[lines 1 to 12; more from offset=13]\nURL: ")
    assert call(tool, ANYWHERE, url=site.url, offset=13).endswith("line 28\nline 29\n")
    assert len(site.requests) == 1
    call(tool, ANYWHERE, url=site.url)
    assert len(site.requests) == 2


# ---- Where it must not go ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "100.100.100.200",
    ],
)
def test_private_addresses_are_refused(host: str) -> None:
    tool = named(driver({}), "web_fetch")
    with pytest.raises((Denied, ToolError), match="private address|no such host"):
        call(tool, ANYWHERE, url=f"http://{host}/")


def test_this_machine_is_refused_unless_it_is_allowed(site: Site) -> None:
    site.answers["/"] = page(b"hi", "Content-Type: text/plain")
    for config in ({}, {"allow_private": ["127.0.0.1:1", "example.org"]}):
        tool = named(driver({"ports": [site.port], **config}), "web_fetch")
        with pytest.raises(Denied, match="127.0.0.1 has a private address"):
            call(tool, ANYWHERE, url=site.url)
    assert site.requests == []
    assert fetch(site).endswith("hi")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://example.org/", "only http and https"),
        ("gopher://127.0.0.1/", "only http and https"),
        ("data:text/html,hi", "only http and https"),
        ("//example.org", "only http and https"),
        ("example.org", "only http and https"),
        ("http://me:secret@example.org/", "user name or a password"),
        ("http://example.org:22/", "not fetched from port 22"),
        ("http://127.0.0.1:6379/", "not fetched from port 6379"),
        ("http:///x", "names no host"),
        ("http://a\r\nb/", "is not a URL"),
        ("http://[::1/", "is not a URL"),
        ("http://example.org/" + "x" * 4_000, "at most 4,000 characters"),
    ],
)
def test_urls_that_are_refused(url: str, problem: str) -> None:
    with pytest.raises((Denied, InvalidArguments), match=problem):
        call(named(driver({}), "web_fetch"), ANYWHERE, url=url)


def test_only_hosts_that_were_granted(site: Site) -> None:
    site.answers["/"] = page(b"hi", "Content-Type: text/plain")
    for web in ((), ("example.org",), ("*.0.0.1.example",)):
        with pytest.raises(Denied, match="127.0.0.1 is not among the hosts"):
            fetch(site, held=context(Capabilities(web=web)))
    assert site.requests == []
    assert fetch(site, held=context(Capabilities(web=("127.0.0.1",)))).endswith("hi")


def test_redirects_are_followed_and_told(site: Site) -> None:
    site.answers["/a"] = redirect("b/c", "301 Moved")
    site.answers["/b/c"] = redirect(f"{site.url}/d", "307 Temporary")
    site.answers["/d"] = page(b"here", "Content-Type: text/plain")
    assert fetch(site, "/a") == f"URL: {site.url}/d\n\nhere"


def test_each_redirect_is_checked_again(site: Site) -> None:
    with Site({"/": page(b"SECRET")}) as other:
        for target, problem in (
            (other.url, "not fetched from port"),
            ("http://127.0.0.1/", "private address"),
            (f"http://localhost:{site.port}/", "not fetched from port"),
            ("file:///etc/passwd", "only http and https"),
            (f"http://me@127.0.0.1:{site.port}/", "user name or a password"),
        ):
            site.answers["/"] = redirect(target)
            with pytest.raises(Denied, match=problem):
                fetch(site)
        site.answers["/"] = redirect(f"http://localhost:{other.port}/")
        both = {"allow_private": [site.address, f"localhost:{other.port}"]}
        narrow = context(Capabilities(web=("127.0.0.1",)))
        with pytest.raises(Denied, match="localhost is not among the hosts"):
            fetch(site, held=narrow, **both)
        assert other.requests == []
        assert "SECRET" in fetch(site, **both)


def test_redirects_without_end(site: Site) -> None:
    site.answers["/"] = redirect("/")
    with pytest.raises(ToolError, match="more than 5 redirects"):
        fetch(site)
    assert len(site.requests) == 6


def fetcher(site: Site, addresses: Sequence[str], **given: Any) -> tuple[Fetcher, list[str]]:
    """A fetcher for which all names have these addresses; and the names it asked for."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return addresses

    private = [f"cabin.test:{site.port}"]
    return Fetcher(**{"allow_private": private, "resolve": resolve, **given}), asked


def get(fetcher: Fetcher, url: str) -> bytes:
    return asyncio.run(fetcher.get(url, lambda _: True, "*/*")).data


def test_the_connection_goes_to_the_address_that_was_checked(site: Site) -> None:
    """The name is resolved once. No other resolver ever heard of cabin.test."""
    site.answers["/"] = page(b"hi")
    fetching, asked = fetcher(site, ["127.0.0.1"])
    assert get(fetching, f"http://cabin.test:{site.port}/") == b"hi"
    assert asked == ["cabin.test"]
    assert f"\r\nHost: cabin.test:{site.port}\r\n" in site.requests[0]


def test_one_private_address_among_public_ones_is_enough(site: Site) -> None:
    for addresses in (["93.184.216.34", "127.0.0.1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"]):
        fetching, _ = fetcher(site, addresses, allow_private=[], ports=[site.port])
        with pytest.raises(Denied, match="cabin.test has a private address"):
            get(fetching, f"http://cabin.test:{site.port}/")
    assert site.requests == []


def test_the_next_address_is_tried(site: Site) -> None:
    site.answers["/"] = page(b"hi")
    fetching, _ = fetcher(site, ["127.0.0.2", "127.0.0.1"])
    assert get(fetching, f"http://cabin.test:{site.port}/") == b"hi"


def test_hosts_without_an_address(site: Site) -> None:
    fetching, _ = fetcher(site, [])
    with pytest.raises(ToolError, match="no such host"):
        get(fetching, f"http://cabin.test:{site.port}/")


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for `name` that vouches for itself, and a server's context with it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    public, private = folder / f"{name}.pem", folder / f"{name}.key"
    public.write_bytes(built.public_bytes(encoding))
    private.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public, private)
    return public, server


def test_tls_is_checked_against_the_name(tmp_path: Path) -> None:
    public, server = certificate(tmp_path, "cabin.test")
    with Site({"/": page(b"hi")}, tls=server) as site:
        url = f"https://cabin.test:{site.port}/"
        fetching, _ = fetcher(site, ["127.0.0.1"], ca=str(public))
        assert get(fetching, url) == b"hi"
        stranger, _ = fetcher(site, ["127.0.0.1"])
        with pytest.raises(ToolError, match="self-signed certificate"):
            get(stranger, url)
        private = [f"other.test:{site.port}"]
        other, _ = fetcher(site, ["127.0.0.1"], ca=str(public), allow_private=private)
        with pytest.raises(ToolError, match="Hostname mismatch"):
            get(other, f"https://other.test:{site.port}/")


# ---- Limits --------------------------------------------------------------------------------------


def test_a_page_that_is_too_long_is_cut(site: Site) -> None:
    site.answers["/"] = page(b"x" * 3_000, "Content-Type: text/plain")
    text = fetch(site, size=1_000)
    assert text.startswith(f"URL: {site.url}/\n[only the first 1,000 bytes of the page were read]")
    assert text.count("x") == 1_000
    site.answers["/"] = page("ü".encode() * 1_000, "Content-Type: text/plain")
    assert fetch(site, size=999).endswith("read]\n\n" + "ü" * 499)
    site.answers["/"] = page(pdf("x" * 3_000), "Content-Type: application/pdf")
    with pytest.raises(ToolError, match="is longer than 500 bytes"):
        fetch(site, size=500)


def test_a_page_without_end_is_cut(site: Site) -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    site.answers["/"] = endless
    assert "only the first 100,000 bytes" in fetch(site, size=100_000)


def test_a_compression_bomb_is_cut(site: Site) -> None:
    packed = bomb(64 << 20)
    assert len(packed) < 300_000
    site.answers["/"] = page(packed, "Content-Type: text/plain", "Content-Encoding: deflate")
    started = time.monotonic()
    with pytest.raises(ToolError, match="is a binary file"):
        fetch(site)
    data = get(Fetcher(allow_private=[site.address], limits=Limits(size=1 << 20)), site.url)
    assert len(data) == 1 << 20
    assert time.monotonic() - started < 15


def hang_at_once(connection: socket.socket) -> None:
    connection.recv(1)


def hang_in_the_head(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    connection.recv(1)


def trickle(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    connection.settimeout(0.05)
    while True:
        connection.sendall(b"x")
        try:
            if connection.recv(1) == b"":
                return
        except TimeoutError:
            continue


@pytest.mark.parametrize("hanging", [hang_at_once, hang_in_the_head, trickle])
def test_a_server_that_hangs(site: Site, hanging: Any) -> None:
    site.answers["/"] = hanging
    started = time.monotonic()
    with pytest.raises(ToolError, match="no whole answer within 0.5 s"):
        fetch(site, seconds=0.5)
    assert time.monotonic() - started < 15


# ---- Search --------------------------------------------------------------------------------------


def search(site: Site, query: str, *, held: Any = ANYWHERE) -> str:
    device = driver({"search": f"{site.url}/search?q={{query}}&format=json"})
    answer = call(named(device, "web_search"), held, query=query)
    assert isinstance(answer, str)
    return answer


def test_searching(site: Site) -> None:
    results = [
        {"title": f"Page\n{n}", "url": f"https://x/{n}", "content": "w " * 500} for n in range(30)
    ]
    answer = json.dumps({"results": results}).encode()
    site.answers["/search?q=rye%20%26%20bread%3F&format=json"] = page(answer)
    lines = search(site, "rye & bread?").splitlines()
    assert lines[:2] == ["1. Page 0", "   https://x/0"]
    assert len(lines) == 30
    assert len(lines[2]) <= 303
    with pytest.raises(Denied, match="not among the hosts"):
        search(site, "x", held=context(Capabilities(web=("example.org",))))


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"<html>", b'{"results": [1]}', b'{"results": [{}]}']
)
def test_a_search_service_that_answers_nonsense(site: Site, answer: bytes) -> None:
    site.answers["/search?q=x&format=json"] = page(answer)
    with pytest.raises(ToolError, match="did not answer with results in SearXNG's JSON"):
        search(site, "x")


def test_nothing_found(site: Site) -> None:
    site.answers["/search?q=x&format=json"] = page(b'{"results": []}')
    assert search(site, "x") == "Nothing was found."


def test_a_search_template_that_is_none() -> None:
    for template in ("https://search.example/", "{query}"):
        with pytest.raises(InvalidArguments, match="must be a URL with {query} in it"):
            driver({"search": template})


# ---- Offline -------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    for name, content in {
        "bread.example/rye.html": HTML,
        "bread.example/dough/index.html": b"<title>Dough</title><p>hi",
        "bread.example/plain": b"just text",
        "bread.example/list?page=2": b"page two",
        "bread.example/a b.txt": b"spaces",
        "odd-name.bin": b"named by the index",
        "index.json": b"""{"https://other.example/x": "odd-name.bin",
                           "https://evil.example/": "../x"}""",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (tmp_path / "x").write_text("SECRET")
    (folder / "bread.example/link.html").symlink_to(tmp_path / "x")
    return folder


def test_saved_pages(saved: Path) -> None:
    device = driver({"offline": str(saved)})
    tool = named(device, "web_fetch")
    for url, text in (
        ("https://bread.example/rye", "Title: Rye bread\n\n# Rye bread"),
        ("http://bread.example/dough", "Title: Dough\n\nhi"),
        ("https://bread.example/plain#top", "just text"),
        ("https://bread.example/list?page=2", "page two"),
        ("https://bread.example/a%20b.txt", "spaces"),
        ("https://other.example/x", "named by the index"),
    ):
        assert text in call(tool, ANYWHERE, url=url)


@pytest.mark.parametrize(
    "url",
    [
        "https://bread.example/none",
        "https://bread.example/../../x",
        "https://bread.example/%2e%2e/%2e%2e/x",
        "https://bread.example/link.html",
        "https://../x",
        "https://evil.example/",
        "file:///etc/passwd",
        "https://bread.example/%00",
    ],
)
def test_what_was_not_saved(saved: Path, url: str) -> None:
    with pytest.raises(ToolError, match="is not among the saved pages, and there is no network"):
        call(named(driver({"offline": str(saved)}), "web_fetch"), ANYWHERE, url=url)


def test_hosts_are_granted_offline_too(saved: Path) -> None:
    tool = named(driver({"offline": str(saved)}), "web_fetch")
    with pytest.raises(Denied, match="not among the hosts"):
        call(tool, context(Capabilities(web=("x.example",))), url="https://bread.example/")
    with pytest.raises(InvalidArguments, match="is not a URL"):
        call(tool, ANYWHERE, url="http://[")


def test_browsing_saved_pages(saved: Path) -> None:
    tool = named(driver({"offline": str(saved)}), "web_browse")
    listed = call(tool, ANYWHERE).splitlines()
    assert "https://bread.example/rye.html" in listed
    assert "https://other.example/x" in listed
    assert not any("odd-name" in url for url in listed)
    assert call(tool, ANYWHERE, contains="PAGE=2") == "https://bread.example/list?page=2"
    assert call(tool, ANYWHERE, contains="zzz") == "No saved page has that in its URL."


@pytest.mark.parametrize("index", [b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_an_index_that_cannot_be_used(tmp_path: Path, index: bytes) -> None:
    (tmp_path / "index.json").write_bytes(index)
    with pytest.raises(InvalidArguments, match="index.json: (not valid JSON|must be an object)"):
        driver({"offline": str(tmp_path)})


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArguments, match="No such file"):
        driver({"offline": str(tmp_path / "none")})
