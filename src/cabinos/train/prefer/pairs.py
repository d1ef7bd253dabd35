"""Pairs of answers to one prompt, one of which was preferred: what a person or a checker says.

A line of JSON: {"prompt": [messages], "chosen": [messages], "rejected": [messages]}. It may have
"tools", which both answers were given with; "margin", how much better the chosen one is (0 or
more); and a true "tie": neither is better, and which is called chosen says nothing. What else is in
it is left alone.

Pair i becomes rows 2i (chosen) and 2i + 1 (rejected), encoded as the engine will, of which the
answer is learnt: what the assistant says and calls behind the prompt.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cabinos.train.errors import CorpusError, TrainError
from cabinos.train.rows import EXACT, Rows, Speech, encode_row, name_of, read_lines

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pairs", "encode_pairs", "split"]

VERSION = 1  # raise it when pairs would be encoded differently

Encoded = tuple[list[int], list[tuple[int, int]]]


@dataclass(frozen=True)
class Pairs:
    """Pairs as rows, two of them for each."""

    rows: Rows
    margins: NDArray[np.float32]
    ties: NDArray[np.bool_]
    prompts: NDArray[np.uint64]  # a hash of how each conversation begins
    same: int = 0  # pairs that were left out because both answers are one

    def __len__(self) -> int:
        return len(self.ties)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The tokens of the longer row of each pair."""
        longer: NDArray[np.int64] = self.rows.lengths.reshape(-1, 2).max(1)
        return longer

    @cached_property
    def answers(self) -> NDArray[np.int64]:
        """The learnt tokens of both answers: [pairs, 2]."""
        ends = np.concatenate([[0], np.cumsum(self.rows.learnt)])
        answers: NDArray[np.int64] = np.diff(ends[self.rows.offsets]).reshape(-1, 2)
        return answers


def split(pairs: Pairs, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs that are learnt from, and those that are only measured: about `share` of them.

    Conversations that begin alike stay on one side.
    """
    prompts = np.unique(pairs.prompts)
    count = round(share * len(prompts))
    chosen = np.random.default_rng(seed).permutation(len(prompts))[:count]
    held = np.isin(pairs.prompts, prompts[chosen])
    return np.flatnonzero(~held), np.flatnonzero(held)


def encode_pairs(files: Sequence[Path], speech: Speech, context: int, cache: Path) -> Pairs:
    """The pairs of `files`, from the folder `cache` if they have been encoded before.

    Pairs with a row longer than `context` are left out, and counted. Raises CorpusError, which
    names file and line, for what is no pair; TrainError if the disk is full.
    """
    kept = cache / f"{name_of(files, f'pairs {VERSION} {context} {speech.fingerprint}')}.npz"
    if not kept.is_file():
        arrays = _encoded(files, speech, context)
        save_arrays(kept, lambda file: np.savez(file, allow_pickle=False, **arrays))
    try:
        with np.load(kept) as found:
            return _opened(dict(found), files, kept.stem)
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise TrainError(f"{kept}: damaged ({error}). Remove it and start again.") from None


def _encoded(files: Sequence[Path], speech: Speech, context: int) -> dict[str, NDArray[Any]]:
    """All arrays of the pairs; `left` is how many were left out, as too long and as the same."""
    tokens: list[NDArray[Any]] = []
    learnt: list[NDArray[np.bool_]] = []
    about: list[tuple[float, bool, int]] = []
    places: list[tuple[int, int]] = []
    kind, left = "<u2" if speech.tokenizer.vocab_size <= 2**16 else "<u4", [0, 0]

    def encode(line: int, pair: Any) -> tuple[Mapping[str, Any], tuple[Encoded, Encoded]]:
        _check(pair)
        exactly = line <= EXACT or not speech.opening
        return pair, (
            _row(pair, "chosen", speech, exactly),
            _row(pair, "rejected", speech, exactly),
        )

    for number, line, (pair, both) in read_lines(files, "pair", encode):
        if max(len(ids) for ids, _ in both) > context:
            left[0] += 1
        elif both[0][0] == both[1][0]:
            left[1] += 1
        else:
            for ids, spans in both:
                mask = np.zeros(len(ids), np.bool_)
                for start, end in spans:
                    mask[start:end] = True
                tokens.append(np.array(ids, kind))
                learnt.append(mask)
            tie = bool(pair.get("tie"))
            margin = 0.0 if tie else float(pair.get("margin") or 0)
            about.append((margin, tie, _opening(pair)))
            places += [(number, line)] * 2
    if not about:
        named = ", ".join(map(str, files))
        raise CorpusError(f"{named}: no pair to learn from ({left[0]} are longer than {context} "
                          f"tokens, {left[1]} have one answer twice).")  # fmt: skip
    margins, ties, prompts = zip(*about, strict=True)
    return {
        "tokens": np.concatenate(tokens),
        "learnt": np.concatenate(learnt),
        "offsets": np.cumsum([0, *map(len, tokens)], dtype=np.int64),
        "places": np.array(places, np.int32),
        "margins": np.array(margins, np.float32),
        "ties": np.array(ties, np.bool_),
        "prompts": np.array(prompts, np.uint64),
        "left": np.array(left),
    }


def _opened(found: Mapping[str, NDArray[Any]], files: Sequence[Path], key: str) -> Pairs:
    names = [str(path) for path in files]
    long, same = map(int, found["left"])
    rows = Rows(
        found["tokens"], found["learnt"], found["offsets"], found["places"], names, key, long
    )
    return Pairs(rows, found["margins"], found["ties"], found["prompts"], same)


def _check(pair: Any) -> None:
    """Raises ValueError for what is no pair. What messages are is checked with the rows."""
    if not isinstance(pair, Mapping):
        raise ValueError("no object")
    for side in ("prompt", "chosen", "rejected"):
        said = pair.get(side)
        if not isinstance(said, list) or not all(isinstance(m, Mapping) for m in said) or not said:
            raise ValueError(f"{side!r} is no list of messages; other formats have to be converted")
    if pair["prompt"][-1].get("role") == "assistant":
        raise ValueError("the prompt ends with the assistant's words")
    margin = pair.get("margin")
    good = isinstance(margin, int | float) and math.isfinite(margin) and margin >= 0
    if margin is not None and (not good or isinstance(margin, bool)):
        raise ValueError(f"'margin' must be a number from 0, not {margin!r}")


def _row(pair: Mapping[str, Any], side: str, speech: Speech, exactly: bool) -> Encoded:
    """Prompt and answer, and the stretches of the answer that are learnt."""
    messages = [*pair["prompt"], *pair[side]]
    if pair[side][0].get("role") != "assistant":
        raise ValueError(f"{side!r} does not begin with the assistant's words")
    row = {"messages": messages, "tools": pair.get("tools")}
    ids, spans = encode_row(row, speech, exactly=exactly)
    before = sum(message.get("role") == "assistant" for message in pair["prompt"])
    return ids, spans[before:]


def _opening(pair: Mapping[str, Any]) -> int:
    """A hash of what the user says first, or else of the prompt."""
    said = (m.get("content") for m in pair["prompt"] if m.get("role") == "user")
    text = " ".join(str(next(said, pair["prompt"])).casefold().split())
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def save_arrays(path: Path, write: "Callable[[Any], object]") -> None:
    """What `write` writes, whole or not at all. Raises TrainError if it cannot be written."""
    partial = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise TrainError(f"{path}: cannot be written ({error.strerror or error}).") from None
