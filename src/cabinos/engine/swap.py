"""Swap: the KV of preempted sequences, on disk until there is room again."""

import tempfile
from pathlib import Path
from typing import IO

from cabinos.engine.model import Model, Sequence


class SwapFile:
    """The saved KV of one sequence.

    The file has no name (it is unlinked as soon as it is open), so that the operating system
    removes it however the process ends.
    """

    def __init__(self, sequence: Sequence, directory: Path | None) -> None:
        """Writes `sequence`, which stays the caller's. Raises OSError, such as disk full."""
        data = sequence.save()
        self.size = len(data)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        self._file.write(data)
        self._file.flush()

    def restore(self, model: Model) -> Sequence | None:
        """The sequence, or None if the file cannot be read back (it has to be recomputed then).

        Raises OutOfPages if the pool has too few pages.
        """
        try:
            self._file.seek(0)
            data = self._file.read()
        except OSError:
            return None
        return model.restore(data)

    def close(self) -> None:
        """Removes the file; idempotent."""
        self._file.close()
