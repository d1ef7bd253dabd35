"""Questions to a person: durable, answered once, an approval bound to one call's arguments."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cabinos.kernel.errors import KernelError
from cabinos.store.database import Store
from cabinos.store.errors import StoreCorrupt

__all__ = ["ANSWERS", "Ask", "Asks"]

Kind = Literal["question", "approval", "doubt"]

# What may be answered; a question takes any words.
ANSWERS: dict[Kind, tuple[str, ...]] = {
    "question": (),
    "approval": ("approved", "denied"),
    "doubt": ("again", "happened", "failed"),
}
COLUMNS = "id, pid, call, kind, question, detail, asked"
INSERT = (
    "INSERT INTO ask (id, pid, call, kind, binding, question, detail, asked) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class Ask:
    """An open question. Its words are the kernel's, never a model's."""

    id: int
    pid: int
    call: str
    kind: Kind
    question: str
    detail: dict[str, Any]
    asked: float


class Asks:
    """The open questions of all processes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last = int(store.rows("SELECT coalesce(max(id), 0) FROM ask")[0][0])
        self._open: dict[int, Ask] = {}
        for row in store.rows(f"SELECT {COLUMNS} FROM ask WHERE answered IS NULL ORDER BY id"):
            number, pid, call, kind, question, detail, asked = row
            try:
                ask = Ask(number, pid, call, kind, question, json.loads(detail), asked)
            except ValueError as error:
                raise StoreCorrupt(
                    f"{store.path}: question {number} is damaged: {error}."
                ) from error
            self._open[ask.id] = ask

    def add(
        self,
        pid: int,
        call: str,
        kind: Kind,
        binding: bytes,
        question: str,
        detail: Mapping[str, Any],
    ) -> Ask:
        """Stages a question."""
        self._last += 1
        ask = Ask(self._last, pid, call, kind, question, dict(detail), time.time())
        row = (ask.id, pid, call, kind, binding, question, json.dumps(ask.detail), ask.asked)
        self._store.write(INSERT, row)
        self._open[ask.id] = ask
        return ask

    def open(self, pid: int | None = None) -> list[Ask]:
        """The open questions, the oldest first."""
        return [ask for ask in self._open.values() if pid is None or ask.pid == pid]

    def answer(self, ask_id: int, answer: str) -> Ask:
        """Stages an answer. Raises KernelError if it was answered before, or cannot be so."""
        ask = self._open.get(ask_id)
        if ask is None:
            raise KernelError(f"question {ask_id} does not exist or has been answered.")
        allowed = ANSWERS[ask.kind]
        if allowed and answer not in allowed:
            raise KernelError(f"question {ask_id} takes one of: {', '.join(allowed)}.")
        self._close(ask, answer)
        return ask

    def withdraw(self, pid: int) -> None:
        """Closes the questions of a process that has ended."""
        for ask in self.open(pid):
            self._close(ask, "withdrawn")

    def close(self, *ask_ids: int | None) -> None:
        """Closes those of the questions that are still open."""
        for number in ask_ids:
            if number in self._open:
                self._close(self._open[number], "withdrawn")

    def _close(self, ask: Ask, answer: str) -> None:
        del self._open[ask.id]
        self._store.write(
            "UPDATE ask SET answered = ?, answer = ? WHERE id = ?", (time.time(), answer, ask.id)
        )
