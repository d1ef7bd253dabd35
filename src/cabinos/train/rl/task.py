"""What a policy is rewarded for: cases, and a check that no wording can talk into anything."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from cabinos.kernel.driver import Model

__all__ = ["Task"]


class Task(Protocol):
    """Something that a model can do right or wrong."""

    @property
    def name(self) -> str:
        """How it is called."""

    @property
    def fingerprint(self) -> str:
        """A hash of what its cases are made of: a run goes on with the same ones only."""

    def case(self, number: int, *, held: bool) -> Any:
        """Case `number`, a pure function of it; with `held` one that is never learnt from."""

    def stage(self) -> AbstractContextManager[object]:
        """A block in which cases can be played."""

    async def play(self, model: "Model", case: Any) -> float:
        """Has the model do it; the reward, from 0 to 1. What the model does wrong is no error."""
