"""The process in which one hostile document is taken apart; run as a script, see `documents`.

It reads the document from stdin and writes one JSON object to stdout: {"title", "text"}, {"error"}
with what is wrong with it, or {"missing"} with the extra that has to be installed. It limits itself
before it touches anything. Only the standard library is imported at the top, and nothing of Cabin:
the script must start fast and run wherever the interpreter is.
"""

import json
import resource
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

MEMORY = 2 << 30  # bytes of address space
CPU = 60  # seconds
MAX_TEXT = 2_000_000  # characters
MAX_PAGES = 2_000
MAX_UNPACKED = 200 << 20  # bytes in a Word file, which is a zip archive
MAX_MEMBERS = 10_000


class Unreadable(Exception):
    """The document cannot be read; the message says why."""


def pdf(data: BinaryIO, _hints: dict[str, str]) -> tuple[str, str]:
    """Title and text of a PDF, page by page."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PyPdfError

    try:
        reader = PdfReader(data)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("it is encrypted and needs a password")
        pages = reader.pages
        title = reader.metadata.title if reader.metadata else None
        parts = list(_bounded(_pdf_pages(pages)))
    except DependencyError:
        raise Unreadable("it is encrypted in a way that needs: pip install cryptography") from None
    except PyPdfError as error:
        raise Unreadable(f"it is not a whole PDF ({error})") from None
    if len(pages) > MAX_PAGES:
        parts.append(f"[only the first {MAX_PAGES} of {len(pages)} pages were read]\n")
    return str(title or ""), "".join(parts)


def _pdf_pages(pages: Any) -> Iterator[str]:
    for number, page in enumerate(pages, 1):
        if number > MAX_PAGES:
            return
        try:
            text = page.extract_text()
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # noqa: BLE001 - one broken page must not hide the others
            text = f"[this page cannot be read: {type(error).__name__}]"
        yield f"[page {number}]\n{text.strip()}\n\n"


def docx(data: BinaryIO, _hints: dict[str, str]) -> tuple[str, str]:
    """Title and text of a Word file: headings, paragraphs and tables in their order."""
    import docx as python_docx
    from docx.opc.exceptions import PackageNotFoundError

    try:
        with zipfile.ZipFile(data) as archive:
            members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > MAX_UNPACKED or len(members) > MAX_MEMBERS:
            raise Unreadable(f"it unpacks to {unpacked >> 20} MB in {len(members)} parts")
        data.seek(0)
        document = python_docx.Document(data)
    except (zipfile.BadZipFile, PackageNotFoundError, KeyError, ValueError) as error:
        raise Unreadable(f"it is not a whole Word file ({error})") from None
    title = document.core_properties.title or ""
    return title, "".join(_bounded(_word_blocks(document)))


def _word_blocks(document: Any) -> Iterator[str]:
    for block in document.iter_inner_content():
        if hasattr(block, "rows"):
            for row in block.rows:
                cells = (" ".join(cell.text.split()) for cell in row.cells)
                yield f"| {' | '.join(cells)} |\n"
            yield "\n"
        elif block.text.strip():
            style = block.style.name if block.style is not None else ""
            level = style.removeprefix("Heading ")
            mark = "#" * int(level) + " " if level != style and level.isdigit() else ""
            yield f"{mark}{block.text}\n\n"


def html(file: BinaryIO, hints: dict[str, str]) -> tuple[str, str]:
    """Title and main text of a web page as Markdown; all of its text where there is no main one."""
    import trafilatura

    page: str | bytes = (data := file.read())
    if charset := hints.get("charset"):
        with suppress(LookupError):
            page = data.decode(charset, "replace")
    tree = trafilatura.load_html(page)
    if tree is None:
        raise Unreadable("it is not HTML")
    title = " ".join((tree.findtext(".//title") or "").split())
    text = trafilatura.extract(
        page, url=hints.get("url"), output_format="markdown", include_links=True
    )
    return title, text or trafilatura.html2txt(page)


def _bounded(parts: Iterator[str]) -> Iterator[str]:
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_TEXT:
            yield part[: MAX_TEXT - size]
            yield f"\n[the text goes on; only {MAX_TEXT:,} characters were read]\n"
            return
        yield part


EXTRAS = {"pdf": "documents", "docx": "documents", "html": "web"}


def answer(kind: str, hints: dict[str, str]) -> dict[str, str]:
    """What to write to stdout for the document on stdin."""
    reader = {"pdf": pdf, "docx": docx, "html": html}[kind]
    try:
        title, text = reader(sys.stdin.buffer, hints)
    except Unreadable as error:
        return {"error": str(error)}
    except ImportError:
        return {"missing": EXTRAS[kind]}
    except MemoryError:
        return {"error": f"it needs more than {MEMORY >> 30} GB of memory"}
    except RecursionError:
        return {"error": "it is nested too deeply"}
    except Exception as error:  # noqa: BLE001 - parsers of broken input raise anything at all
        return {"error": f"it is damaged ({type(error).__name__}: {error})"}
    return {"title": _valid(title)[:500], "text": _valid(text)[:MAX_TEXT]}


def _valid(text: str) -> str:
    """The text without halves of surrogate pairs, which no UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def main() -> None:
    """`document_worker.py KIND HINTS`, with hints as JSON."""
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, CPU),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # macOS knows some of them by name only
            resource.setrlimit(limit, (value, hard))
    sys.stdout.write(json.dumps(answer(sys.argv[1], json.loads(sys.argv[2]))))


if __name__ == "__main__":
    main()
