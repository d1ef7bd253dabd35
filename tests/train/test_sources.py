"""Getting the sources: pinned hashes, local folders, and a server that breaks off."""

import hashlib
import http.server
import io
import json
import lzma
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cabinos.train import download, sources
from cabinos.train.errors import SourceError
from cabinos.train.sources import Source, manifest
from cabinos.train.upstream import GitHub, _pattern, from_repository, section_text

FILES = {"src/b.md": "# Second\r\n", "src/a.md": "Größe\n", "src/x/deep.md": "no", "other.md": "no"}
ROWS = (
    b'{"path": "a.md", "text": "Gr\xc3\xb6\xc3\x9fe\\n"}\n{"path": "b.md", "text": "# Second\\n"}\n'
)


def source(rows: bytes = ROWS, **changes: Any) -> Source:
    facts = {
        "name": "rust_book",
        "repository": "who/what",
        "commit": "c0ffee",
        "paths": ("src/*.md",),
        "licence": "MIT",
        "use": "",
        "domain": "technical",
        "rows": rows.count(b"\n"),
        "bytes": len(rows),
        "sha256": hashlib.sha256(rows).hexdigest(),
    }
    return Source(**(facts | changes))


def archive(files: dict[str, str] = FILES) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"what-c0ffee/{name}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`, honours ranges, and breaks off after `budget` bytes as often as told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.breaks = 0  # answers that are cut in half
        self.busy = 0  # answers that say 503
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.server.files.get(self.path.partition("?")[0])
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if self.server.busy:
            self.server.busy -= 1
            self.send_error(503)
            return
        if body is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        rest = body[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    waits: list[float] = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    with Server() as running:
        running.files["/who/what/tar.gz/c0ffee"] = archive()
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(what: Source, folder: Path, server: Server) -> Path:
    return sources.store(what, folder, from_repository(what, folder, GitHub.at(server.url)))


def test_the_manifest_pins_every_source() -> None:
    found = manifest()
    assert {"classics", "openstax", "peps", "gsm8k_train"} <= found.keys()
    for entry in found.values():
        assert len(entry.sha256) == 64
        assert entry.licence
        assert entry.books or len(entry.commit) == 40
        assert entry.books or entry.paths
        assert all(len(commit) == 40 for commit in entry.books.values())


def test_an_archive_becomes_the_pinned_rows(server: Server, tmp_path: Path) -> None:
    path = fetch(source(), tmp_path, server)
    assert path.read_bytes() == ROWS
    assert sources.is_complete(source(), tmp_path)
    assert next(iter(sources.rows(source(), tmp_path))) == {"path": "a.md", "text": "Größe\n"}


def test_a_download_that_breaks_off_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.breaks = 2
    fetch(source(), tmp_path, server)
    half = len(archive()) // 2
    assert server.ranges[:2] == [None, f"bytes={half}-"]
    assert len(server.ranges) == 3


def test_what_was_received_is_kept_for_the_next_time(server: Server, tmp_path: Path) -> None:
    server.breaks = 100
    with pytest.raises(SourceError, match=r"interrupted .* run the same command again"):
        fetch(source(), tmp_path, server)
    server.breaks, server.ranges = 0, []
    fetch(source(), tmp_path, server)
    assert len(server.ranges) == 1
    assert server.ranges[0] is not None


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.busy = 2
    fetch(source(), tmp_path, server)
    assert len(server.ranges) == 3


def test_a_file_that_is_gone_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(SourceError, match=r"the server answers 404 .* --from"):
        fetch(source(), tmp_path, server)
    assert len(server.ranges) == 1


def test_a_wrong_hash_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    server.files["/who/what/tar.gz/c0ffee"] = archive({"src/a.md": "something else"})
    with pytest.raises(SourceError, match=r"rust_book: the rows have SHA-256 .* pins"):
        fetch(source(), tmp_path, server)
    assert not list((tmp_path / "sources").iterdir())


def test_a_wrong_encoding_is_named(server: Server, tmp_path: Path) -> None:
    latin = io.BytesIO()
    with tarfile.open(fileobj=latin, mode="w:gz") as tar:
        info = tarfile.TarInfo("top/src/a.md")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"Gr\xf6\xdfe"))
    server.files["/who/what/tar.gz/c0ffee"] = latin.getvalue()
    with pytest.raises(SourceError, match=r"src/a\.md is not UTF-8 .* at byte 2"):
        fetch(source(), tmp_path, server)


def test_a_truncated_archive_is_removed(server: Server, tmp_path: Path) -> None:
    server.files["/who/what/tar.gz/c0ffee"] = archive()[:-40]
    with pytest.raises(SourceError, match="not a whole archive"):
        fetch(source(), tmp_path, server)
    assert not list(tmp_path.rglob("archive*"))


def test_a_single_file_is_fetched_alone(server: Server, tmp_path: Path) -> None:
    rows = b'{"text": "emma\\nolivia\\n"}\n'
    server.files["/who/what/c0ffee/names.txt"] = b"emma\nolivia\n"
    fetch(source(rows, name="names", paths=("names.txt",)), tmp_path, server)
    assert (tmp_path / "sources" / "names.jsonl").read_bytes() == rows


def test_textbooks_are_fetched_by_section(server: Server, tmp_path: Path) -> None:
    tree = {"tree": [{"path": f"modules/m{n}/index.cnxml"} for n in (2, 1)] + [{"path": "x.jpg"}]}
    server.files["/openstax/osbooks-art/git/trees/abc"] = json.dumps(tree).encode()
    for n in (1, 2):
        section = f"<title>T{n}</title>\n<para>One <m:math>x</m:math>two.</para><para>Three.</para>"
        server.files[f"/openstax/osbooks-art/abc/modules/m{n}/index.cnxml"] = section.encode()
    what = source(name="openstax", repository="openstax/osbooks-*", paths=(), books={"art": "abc"})
    lines = list(from_repository(what, tmp_path, GitHub.at(server.url)))
    text = "T1\n\nOne two.\nThree.\n\nT2\n\nOne two.\nThree."
    assert json.loads(lines[0]) == {"title": "art", "commit": "abc", "text": text}


def test_a_local_folder_serves_packed_and_plain(tmp_path: Path) -> None:
    with lzma.open(tmp_path / "rust_book.jsonl.xz", "wb") as file:
        file.write(ROWS)
    sources.store(source(), tmp_path / "packed", sources.from_folder(source(), tmp_path))
    (tmp_path / "rust_book.jsonl.xz").unlink()
    (tmp_path / "rust_book.jsonl").write_bytes(ROWS)
    sources.store(source(), tmp_path / "plain", sources.from_folder(source(), tmp_path))
    for kind in ("packed", "plain"):
        assert sources.is_complete(source(), tmp_path / kind)


def test_a_truncated_local_file_is_named(tmp_path: Path) -> None:
    packed = lzma.compress(ROWS)
    (tmp_path / "rust_book.jsonl.xz").write_bytes(packed[:-20])
    with pytest.raises(SourceError, match=r"rust_book\.jsonl\.xz: truncated or damaged"):
        sources.store(source(), tmp_path / "out", sources.from_folder(source(), tmp_path))


def test_a_missing_local_file_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"neither rust_book\.jsonl nor rust_book\.jsonl\.xz"):
        list(sources.from_folder(source(), tmp_path))


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "rust_book.part").symlink_to("/dev/full")
    with pytest.raises(SourceError, match="the disk is full"):
        sources.store(source(), tmp_path, [ROWS])


def test_rows_that_are_damaged_later_are_named(tmp_path: Path) -> None:
    path = sources.store(source(), tmp_path, [ROWS])
    path.write_bytes(ROWS + b"\xff\n")
    assert not sources.is_complete(source(), tmp_path)
    with pytest.raises(SourceError, match="line 3: not UTF-8"):
        list(sources.rows(source(), tmp_path))
    path.write_bytes(ROWS + b"[1]\n")
    with pytest.raises(SourceError, match="line 3: not a JSON object"):
        list(sources.rows(source(), tmp_path))


def test_an_unknown_source_is_named() -> None:
    with pytest.raises(SourceError, match="novels: no such source; there are classics"):
        sources.choose(["novels"])


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("src/*.md", "src/a.md", True),
        ("src/*.md", "src/x/a.md", False),
        ("data/**.json", "data/x/a.json", True),
        ("**.py", "a.py", True),
        ("a (b).md", "a (b).md", True),
    ],
)
def test_globs(glob: str, path: str, fits: bool) -> None:
    import re

    assert bool(re.fullmatch(_pattern(glob), path)) == fits


def test_markup_becomes_text() -> None:
    markup = "<document><title>A</title>\n  <metadata>\n  <md:uuid>u</md:uuid></metadata><figure/>"
    assert section_text(markup + "<list><item>x</item><item>y</item></list>") == "A\n\nux\ny"
