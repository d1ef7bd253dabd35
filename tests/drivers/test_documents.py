"""Text of documents, whole and broken, and of those made to do harm."""

import asyncio
import io
import os
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import docx
import pytest
from pypdf import PdfReader, PdfWriter

from cabinos.drivers import documents
from cabinos.drivers.files import driver
from cabinos.kernel.capability import Capabilities, files
from cabinos.kernel.errors import ToolError
from tests.drivers.support import call, context, named


def pdf(*pages: str, stream: bytes | None = None) -> bytes:
    """A PDF with one line of Helvetica on each page, written by hand."""
    objects: list[bytes] = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    kids = []
    for text in pages:
        content = stream or zlib.compress(f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode())
        objects.append(
            b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream"
            % (len(content), content)
        )
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    out = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        start,
    )
    return bytes(out)


def word(path: Path) -> None:
    document = docx.Document()
    document.core_properties.title = "The plan"
    document.add_heading("Week one", level=2)
    document.add_paragraph("Bake bread.")
    table = document.add_table(rows=1, cols=2)
    table.cell(0, 0).text, table.cell(0, 1).text = "flour", "500 g"
    document.save(str(path))


HTML = b"""<html><head><title>Rye
 bread</title></head><body><nav><a href="/menu">Menu</a></nav><main><h1>Rye bread</h1>
<p>Mix the flour with water and wait for a <a href="day">day</a>, then bake it hot for an hour.</p>
<p>Let it rest for another day before you cut it, however hard that may be.</p></main></body>"""


def read(path: Path, **given: object) -> str:
    """Through the file device, from the folder that the file is in."""
    tool = named(driver({}), "files_read")
    held = Capabilities(files=(files(path.parent, name="in"),))
    answer = call(tool, context(held), path=f"in/{path.name}", **given)
    assert isinstance(answer, str)
    return answer


def test_pdf(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(pdf("Hello bread", "Second page"))
    assert read(path) == "[page 1]\nHello bread\n\n[page 2]\nSecond page\n\n"
    path.rename(tmp_path / "no_suffix")
    assert "Hello bread" in read(tmp_path / "no_suffix")


def test_word(tmp_path: Path) -> None:
    word(tmp_path / "x.docx")
    expected = "Title: The plan\n\n## Week one\n\nBake bread.\n\n| flour | 500 g |\n\n"
    assert read(tmp_path / "x.docx") == expected


def test_html(tmp_path: Path) -> None:
    path = tmp_path / "x.html"
    path.write_bytes(HTML)
    text = read(path)
    assert text.startswith("Title: Rye bread\n\n# Rye bread\n")
    assert "[day](day)" in text
    assert "Menu" not in text
    assert read(path, source=True) == HTML.decode()


def test_html_with_nothing_but_a_word(tmp_path: Path) -> None:
    (tmp_path / "x.html").write_bytes(b"<script>alert(1)</script><p>hi")
    assert read(tmp_path / "x.html") == "hi"


def test_the_next_page_is_not_extracted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(pdf("one", "two"))
    tool = named(driver({}), "files_read")
    here = context(Capabilities(files=(files(tmp_path, name="in"),)))
    assert call(tool, here, path="in/x.pdf", limit=2) == (
        "[lines 1 to 2; more from offset=3]\n[page 1]\none\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr(documents, "WORKER", tmp_path / "none")
        assert "two" in call(tool, here, path="in/x.pdf", offset=3)
    path.write_bytes(pdf("three"))
    assert "three" in call(tool, here, path="in/x.pdf")


def damaged() -> dict[str, bytes]:
    whole = pdf("Hello")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("word/document.xml", "<not-word/>")
    encrypted = io.BytesIO()
    writer = PdfWriter(PdfReader(io.BytesIO(whole)))
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(encrypted)
    return {
        "cut.pdf": whole[:40],
        "empty.pdf": b"",
        "text.pdf": b"this is no PDF at all",
        "noise.pdf": b"%PDF-1.7\n" + bytes(range(256)) * 40,
        "encrypted.pdf": encrypted.getvalue(),
        "cut.docx": b"PK\3\4" + b"\0" * 40,
        "other.docx": packed.getvalue(),
        "empty.html": b"",
    }


@pytest.mark.parametrize("name", sorted(damaged()))
def test_what_is_damaged_is_said_to_be(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(damaged()[name])
    with pytest.raises(ToolError) as raised:
        read(path)
    message = str(raised.value)
    assert message.startswith(f"in/{name}: this ")
    assert "Traceback" not in message
    assert "\n" not in message
    if name == "encrypted.pdf":
        assert "encrypted and needs a password" in message


def test_an_encrypted_pdf_without_password_is_read(tmp_path: Path) -> None:
    writer = PdfWriter(PdfReader(io.BytesIO(pdf("Hello"))))
    writer.encrypt("", owner_password="owner", algorithm="RC4-128")
    writer.write(tmp_path / "x.pdf")
    assert "Hello" in read(tmp_path / "x.pdf")


def test_a_word_file_named_so_that_is_none_is_text(tmp_path: Path) -> None:
    (tmp_path / "x.docx").write_text("just text")
    assert read(tmp_path / "x.docx") == "just text"


def bomb(size: int) -> bytes:
    """Zeros, compressed about a thousandfold."""
    squeezer = zlib.compressobj(9)
    out = b"".join(squeezer.compress(b"\0" * (1 << 20)) for _ in range(size >> 20))
    return out + squeezer.flush()


def test_a_pdf_bomb(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(pdf("", stream=bomb(80 << 20)))
    assert "[page 1]\n[this page cannot be read: LimitReachedError]" in read(path)


@pytest.mark.parametrize(
    ("claimed", "problem"),
    [(210 << 20, "it unpacks to 210 MB in 1 parts"), (100, "it is not a whole Word file")],
)
def test_a_word_bomb(tmp_path: Path, claimed: int, problem: str) -> None:
    """One that says how large it is, and one that does not: reading stops at what it said."""
    path = tmp_path / "x.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", b" " * (10 << 20))
        archive.infolist()[0].file_size = claimed
    assert path.stat().st_size < 20_000
    with pytest.raises(ToolError, match=problem):
        read(path)


def test_xml_entities_in_a_word_file_are_not_expanded(tmp_path: Path) -> None:
    word(tmp_path / "good.docx")
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    entities = f'<!DOCTYPE d [<!ENTITY a "{"A" * 5000}"><!ENTITY f SYSTEM "file://{secret}">]>'
    with (
        zipfile.ZipFile(tmp_path / "good.docx") as good,
        zipfile.ZipFile(tmp_path / "x.docx", "w") as evil,
    ):
        for member in good.infolist():
            data = good.read(member)
            if member.filename == "word/document.xml":
                declaration, _, rest = data.partition(b"?>")
                rest = rest.replace(b"Bake bread.", b"Bake &a;&f;bread.")
                data = declaration + b"?>" + entities.encode() + rest
            evil.writestr(member, data)
    text = read(tmp_path / "x.docx")
    assert "Bake" in text
    assert "SECRET" not in text
    assert "AAAA" not in text


def test_deeply_nested_html(tmp_path: Path) -> None:
    (tmp_path / "x.html").write_bytes(b"<div>" * 100_000 + b"deep")
    with suppress(ToolError):  # read or refused, but neither hung nor crashed
        read(tmp_path / "x.html")


def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Path:
    script = tmp_path / "worker.py"
    script.write_text(code)
    monkeypatch.setattr(documents, "WORKER", script)
    (tmp_path / "x.pdf").write_bytes(pdf("x"))
    return tmp_path / "x.pdf"


def test_a_reader_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = tmp_path / "pid"
    code = f"import os, time\nopen({str(noted)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    path = worker(tmp_path, monkeypatch, code)
    monkeypatch.setattr(documents, "TIMEOUT", 3.0)
    with pytest.raises(ToolError, match=r"in/x.pdf: the PDF was not read within 3 s"):
        read(path)
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)


def test_a_reader_is_killed_with_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    code = f"import os, time\nopen({str(started)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    path = worker(tmp_path, monkeypatch, code)

    async def cancelled() -> int:
        with path.open("rb") as file:
            task = asyncio.create_task(documents.extract(file, "pdf", "x"))
            pid = int(await asyncio.to_thread(started.read_text))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return pid

    with pytest.raises(ProcessLookupError):
        os.kill(asyncio.run(cancelled()), 0)


def test_a_reader_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = worker(tmp_path, monkeypatch, "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ToolError, match=r"its reader stopped \(exit status -9\)"):
        read(path)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = worker(tmp_path, monkeypatch, """print('{"missing": "documents"}')""")
    with pytest.raises(ToolError, match=r"pip install 'cabinos\[documents\]'"):
        read(path)


def test_a_huge_document_is_not_even_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_BYTES", 100)
    (tmp_path / "x.pdf").write_bytes(pdf("x"))
    with pytest.raises(ToolError, match="documents are read up to"):
        read(tmp_path / "x.pdf")
