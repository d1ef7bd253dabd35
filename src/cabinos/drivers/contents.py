"""What files say, for the index: text as it is, and the text of PDF, Word and HTML files."""

import asyncio
from pathlib import Path
from tempfile import TemporaryFile

from cabinos.drivers import documents, text
from cabinos.index.errors import ExtraMissing, SearchError
from cabinos.index.update import Content
from cabinos.kernel.errors import ToolError

__all__ = ["read_content"]

MAX_TEXT = 20 << 20  # bytes of a text file; what is larger is data, or a log


def read_content(path: Path, data: bytes) -> Content:
    """The text of a file, given its bytes. Raises SearchError, saying why there is none."""
    kind = documents.kind_of(path.name, data[:8])
    try:
        if kind is None:
            if len(data) > MAX_TEXT:
                raise SearchError(f"{len(data) >> 20} MB of text, or no text at all")
            return Content(text.decode(data, path.name)[0])
        with TemporaryFile() as file:  # the process that reads it needs a descriptor
            file.write(data)
            document = asyncio.run(documents.extract(file, kind, path.name))
    except ToolError as error:
        if "pip install 'cabinos" in str(error):
            raise ExtraMissing(str(error)) from error
        message = str(error).removeprefix(f"{path.name}: ").removeprefix(f"{path.name} is ")
        raise SearchError(message.rstrip(".")) from error
    return Content(f"{document.title}\n\n{document.text}", pages=kind == "pdf")
