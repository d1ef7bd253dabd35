"""The text of PDF, Word and HTML files.

Their parsers are large and their input hostile: a few kilobytes can ask for gigabytes or hours. So
each document is taken apart in a process of its own, which limits itself (`document_worker`), is
given its bytes as stdin and nothing else, and is killed when its time is up.
"""

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

from cabinos.kernel.errors import ToolError

__all__ = ["Document", "extract", "kind_of"]

WORKER = Path(__file__).with_name("document_worker.py")
TIMEOUT = 30.0  # seconds
MAX_BYTES = 100 << 20  # of a document

KINDS = {"pdf": "PDF", "docx": "Word file", "html": "web page"}
SUFFIXES = {".pdf": "pdf", ".docx": "docx", ".html": "html", ".htm": "html", ".xhtml": "html"}


@dataclass(frozen=True, slots=True)
class Document:
    """What a document says."""

    title: str
    text: str


def kind_of(name: str, head: bytes) -> str | None:
    """pdf, docx or html for a file with this name and beginning; None for anything else."""
    kind = SUFFIXES.get(PurePath(name).suffix.lower())
    if head.startswith(b"%PDF-"):
        return "pdf"
    if kind == "docx" and not head.startswith(b"PK"):
        return None
    return kind


async def extract(
    file: BinaryIO, kind: str, name: str, *, charset: str = "", url: str = ""
) -> Document:
    """Title and text of the open file. Raises ToolError, naming it, if there is none to be had.

    `file` needs a descriptor, and is read from its beginning. `charset` and `url` are what is known
    of a web page from elsewhere.
    """
    size = file.seek(0, 2)
    file.seek(0)
    if size > MAX_BYTES:
        raise ToolError(f"{name}: {size >> 20} MB; documents are read up to {MAX_BYTES >> 20} MB.")
    hints = {key: value for key, value in (("charset", charset), ("url", url)) if value}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(WORKER), kind, json.dumps(hints)),
        stdin=file,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            output, _ = await process.communicate()
    except TimeoutError:
        raise ToolError(f"{name}: the {KINDS[kind]} was not read within {TIMEOUT:g} s.") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return _understood(output, process.returncode, kind, name)


def _understood(output: bytes, status: int | None, kind: str, name: str) -> Document:
    try:
        answer = json.loads(output)
    except ValueError:
        raise ToolError(
            f"{name}: the {KINDS[kind]} cannot be read; its reader stopped (exit status {status})."
        ) from None
    if extra := answer.get("missing"):
        raise ToolError(f"Reading a {KINDS[kind]} needs: pip install 'cabinos[{extra}]'")
    if problem := answer.get("error"):
        raise ToolError(f"{name}: this {KINDS[kind]} cannot be read: {problem}.")
    return Document(answer["title"], answer["text"])
