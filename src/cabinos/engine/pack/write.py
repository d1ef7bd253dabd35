"""Writing a GGUF file: all or nothing, one tensor in memory at a time."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from cabinos.engine.errors import EngineError
from cabinos.engine.pack.quantize import BY_NAME, stored_size

if TYPE_CHECKING:
    import gguf
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class OutputTensor:
    """A tensor to write: its name, shape (rows, row length), type, and how to get its bytes."""

    name: str
    shape: tuple[int, ...]
    type: str
    stored: "Callable[[], NDArray[np.uint8]]"


def require_gguf() -> None:
    """Raise EngineError, with what to do, if the gguf package is not installed."""
    if find_spec("gguf") is None:
        raise EngineError("Writing GGUF needs the gguf package: pip install 'cabinos[pack]'.")


Progress = Callable[[str, int, int], None]
"""Called as each tensor is written: (tensor name, bytes written so far, bytes in all)."""


@contextmanager
def replacing(output: Path) -> Iterator[Path]:
    """Yield a temporary file that becomes `output` at the end, and vanishes on an error or Ctrl-C.

    Raises EngineError when the folder cannot be written or the disk is full.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False) as file:
            temporary = Path(file.name)
    except OSError as error:
        raise EngineError(f"{output}: cannot be written ({error.strerror or error}).") from None
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # temporary files are private; a model file is not
        temporary.replace(output)
    except OSError as error:
        problem = error.strerror or str(error)
        if error.errno == errno.ENOSPC:
            problem = "the disk is full; free space or choose another folder"
        raise EngineError(f"{output}: cannot be written ({problem}).") from None
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_gguf(
    path: Path,
    writer: "gguf.GGUFWriter",
    tensors: Sequence[OutputTensor],
    progress: Progress | None = None,
) -> int:
    """Write the metadata held by `writer` and then `tensors`, in order. Returns bytes written.

    Raises EngineError, before anything is computed, if the disk has too little room.
    """
    import gguf
    import numpy as np

    total = 0
    for tensor in tensors:
        size = stored_size(tensor.shape, tensor.type)
        kind = gguf.GGMLQuantizationType(BY_NAME[tensor.type][0])
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size, kind)
        total += size
    free = shutil.disk_usage(path.parent).free
    if total > free:  # better now than after minutes of packing
        raise EngineError(
            f"{path.parent}: {total / 1e6:,.0f} MB are needed, and only {free / 1e6:,.0f} MB are "
            "free. Free space or choose another folder."
        )
    writer.write_header_to_file(path)
    try:
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        assert writer.fout is not None
        file, written = writer.fout[0], 0
        for tensor in tensors:
            writer.write_padding(file, file.tell())
            stored = tensor.stored()
            file.write(stored.data)  # not ndarray.tofile, whose errors do not tell a full disk
            written += stored.nbytes
            if progress is not None:
                progress(tensor.name, written, total)
        writer.write_padding(file, file.tell())
    finally:
        writer.close()
    return path.stat().st_size
