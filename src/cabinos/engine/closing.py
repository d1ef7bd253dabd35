"""What is closed at the end of a `with` block."""

from abc import ABC, abstractmethod
from typing import Self

__all__ = ["Closing"]


class Closing(ABC):
    """A context manager that is closed when its block ends, whatever ended it."""

    @abstractmethod
    def close(self) -> None:
        """Frees what is held; idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
