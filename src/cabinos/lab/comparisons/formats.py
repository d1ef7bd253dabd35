r"""Other people's formats of comparisons, read and written a line at a time.

What a line is can be seen from its shape, so nobody has to say it:

    {"prompt": [messages], "chosen": …}              the one format (pair.py)
    {"chosen": "\n\nHuman: …\n\nAssistant: …", …}    HH-RLHF (arXiv:2204.05862)
    {"prompt": "…", "chosen": [messages], …}         UltraFeedback, as pairs
    {"instruction": "…", "completions": [{…}]}       UltraFeedback (arXiv:2310.01377): each two
                                                     completions, and how far their scores differ

Files that end in .gz and .xz are unpacked on the way.
"""

import gzip
import hashlib
import json
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import IO, Any, TypeVar

from cabinos.lab.comparisons.errors import ComparisonError
from cabinos.lab.comparisons.pair import Candidates, Message, Messages, Pair, messages

__all__ = ["WRITERS", "Written", "read_candidates", "read_pairs", "write_pairs"]

T = TypeVar("T")
LONGEST = 1 << 26  # bytes of a line
TURN = re.compile(r"\n\n(Human|Assistant):")
ROLES = {"Human": "user", "Assistant": "assistant"}
SPEAKERS = {role: speaker for speaker, role in ROLES.items()}


# ---- Reading -------------------------------------------------------------------------------------


def read_pairs(path: Path) -> Iterator[Pair]:
    """The pairs of a file in any of the formats.

    Raises ComparisonError, naming the line, for what is none of them, and OSError.
    """
    return _read(path, _pairs_of)


def read_candidates(path: Path) -> Iterator[Candidates]:
    """What a file has to compare: rows with two "responses", or pairs of any format, once more."""

    def candidates(row: dict[str, Any]) -> Iterator[Candidates]:
        if "responses" in row:
            yield Candidates.from_json(row)
        else:
            yield from (pair.candidates() for pair in _pairs_of(row))

    return _read(path, candidates)


def _read(path: Path, take: Callable[[dict[str, Any]], Iterable[T]]) -> Iterator[T]:
    number = 0
    with _open(path) as file:
        try:
            while line := file.readline(LONGEST + 1):
                number += 1
                if len(line) > LONGEST:
                    raise ValueError(f"longer than {LONGEST:,} bytes")
                if line.strip():
                    row = json.loads(line.decode("utf-8"))
                    if not isinstance(row, dict):
                        raise ValueError("not a JSON object")
                    yield from take(row)
        except UnicodeDecodeError as error:
            wrong = f"not UTF-8 ({error.reason} at byte {error.start})"
            raise ComparisonError(f"{path}, line {number}: {wrong}.") from None
        except (ValueError, RecursionError) as error:
            raise ComparisonError(f"{path}, line {number}: {error}.") from None
        except (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError) as error:
            wrong = f"damaged or cut off ({error}) after line {number}"
            raise ComparisonError(f"{path}: {wrong}. Copy the file again.") from None


def _open(path: Path) -> IO[bytes]:
    openers: Mapping[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    opened: IO[bytes] = openers.get(path.suffix, open)(path, "rb")
    return opened


def _pairs_of(row: dict[str, Any]) -> Iterable[Pair]:
    if isinstance(row.get("completions"), list):
        return _from_completions(row)
    chosen = row.get("chosen")
    if isinstance(chosen, str):
        return [_from_transcripts(row)]
    if isinstance(chosen, list) and not isinstance(row.get("prompt"), list):
        return [_from_conversations(row)]
    if "chosen" not in row:
        raise ValueError('no pair: it has neither "chosen" nor "completions"')
    return [Pair.from_json(row)]


def _from_transcripts(row: Mapping[str, Any]) -> Pair:
    """A row of HH-RLHF: two transcripts that begin alike."""
    return _split(_turns(row["chosen"]), _turns(row.get("rejected")))


def _turns(text: Any) -> Messages:
    if not isinstance(text, str):
        raise ValueError('"rejected" must be a transcript, as "chosen" is')
    before, *parts = TURN.split(text)
    if before.strip() or not parts:
        raise ValueError(r'a transcript must begin with "\n\nHuman:" or "\n\nAssistant:"')
    said = zip(parts[::2], parts[1::2], strict=True)
    return tuple({"role": ROLES[who], "content": what.removeprefix(" ")} for who, what in said)


def _from_conversations(row: Mapping[str, Any]) -> Pair:
    """A row of UltraFeedback made into pairs: two conversations that begin alike."""
    pair = _split(messages(row["chosen"], "chosen"), messages(row.get("rejected"), "rejected"))
    scores = [row.get(f"score_{key}", row.get(f"{key}-rating")) for key in ("chosen", "rejected")]
    if not all(isinstance(score, int | float) for score in scores):
        return pair
    margin = float(scores[0] - scores[1])
    return replace(pair, margin=margin, tie=pair.tie or margin == 0)


def _split(chosen: Messages, rejected: Messages) -> Pair:
    """The prompt is where both are alike, up to where the assistant's turn begins."""
    both = zip(chosen, rejected, strict=False)
    alike = next((n for n, (a, b) in enumerate(both) if a != b), min(len(chosen), len(rejected)))
    alike = min(alike, len(chosen) - 1, len(rejected) - 1)
    while alike and not _turn_begins(chosen, rejected, alike):
        alike -= 1
    row = {"prompt": chosen[:alike], "chosen": chosen[alike:], "rejected": rejected[alike:]}
    pair = Pair.from_json({key: list(part) for key, part in row.items()})
    return replace(pair, tie=pair.chosen == pair.rejected)


def _turn_begins(chosen: Messages, rejected: Messages, place: int) -> bool:
    answers = chosen[place]["role"] == rejected[place]["role"] == "assistant"
    return answers and chosen[place - 1]["role"] in ("user", "tool")


def _from_completions(row: Mapping[str, Any]) -> Iterator[Pair]:
    """A row of UltraFeedback: each two completions, the one with the higher score chosen."""
    asked = row.get("instruction")
    if not isinstance(asked, str):
        raise ValueError('"instruction" must be a text')
    scored = [_scored(completion) for completion in row["completions"]]
    for one, other in combinations(scored, 2):
        (high, chosen, by), (low, rejected, beaten) = sorted(
            (one, other), key=lambda item: -item[0]
        )
        yield Pair(
            ({"role": "user", "content": asked},),
            ({"role": "assistant", "content": chosen},),
            ({"role": "assistant", "content": rejected},),
            tie=high == low,
            margin=high - low,
            source=str(row.get("source") or ""),
            more={"models": [by, beaten]},
        )


def _scored(completion: Any) -> tuple[float, str, str]:
    """(score, answer, model); the mean over aspects where it is there, else the overall score."""
    if isinstance(completion, dict) and isinstance(completion.get("response"), str):
        for key in ("fine-grained_score", "overall_score"):
            score = completion.get(key)
            if isinstance(score, int | float) and not isinstance(score, bool):
                return float(score), completion["response"], str(completion.get("model") or "")
    raise ValueError('each of the "completions" needs a "response" and an "overall_score"')


# ---- Writing -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Written:
    """How many pairs went out, and why others did not: the format has no place for them."""

    pairs: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def write_pairs(pairs: Iterable[Pair], path: Path, form: str = "pairs") -> Written:
    """Writes a file whole or not at all; `form` is one of WRITERS. Raises OSError."""
    done, write = Written(), WRITERS[form]
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            for pair in pairs:
                row = write(pair)
                if isinstance(row, str):
                    done.left_out[row] += 1
                else:
                    file.write(json.dumps(row) + "\n")
                    done.pairs += 1
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return done


def _as_transcripts(pair: Pair) -> dict[str, Any] | str:
    """A row of HH-RLHF, or why it cannot be one."""
    if why := _unfit(pair):
        return why
    every = (*pair.prompt, *pair.chosen, *pair.rejected)
    if any(message["role"] not in SPEAKERS for message in every):
        return "roles beside user and assistant"
    row = {key: _transcript(answer) for key, answer in _conversations(pair).items()}
    again = _from_transcripts(row)
    if (again.prompt, again.chosen, again.rejected) != (pair.prompt, pair.chosen, pair.rejected):
        return "texts that look like turns"
    return row


def _transcript(said: Messages) -> str:
    return "".join(f"\n\n{SPEAKERS[m['role']]}: {m.get('content') or ''}" for m in said)


def _as_conversations(pair: Pair) -> dict[str, Any] | str:
    """A row of UltraFeedback made into pairs, or why it cannot be one."""
    if why := _unfit(pair):
        return why
    first = next(str(m.get("content") or "") for m in pair.prompt if m["role"] != "system")
    row: dict[str, Any] = {
        "prompt": first,
        "prompt_id": hashlib.sha256(first.encode("utf-8", "replace")).hexdigest(),
        **{key: list(answer) for key, answer in _conversations(pair).items()},
    }
    row["messages"] = row["chosen"]
    if pair.margin is not None:
        row |= {"score_chosen": pair.margin, "score_rejected": 0.0}
    return row


def _conversations(pair: Pair) -> dict[str, Messages]:
    return {
        "chosen": (*pair.prompt, *pair.chosen),
        "rejected": (*pair.prompt, *pair.rejected),
    }


def _unfit(pair: Pair) -> str:
    if pair.tie:
        return "ties"
    every: Iterable[Message] = (*pair.prompt, *pair.chosen, *pair.rejected)
    if pair.tools or any(message.get("tool_calls") for message in every):
        return "pairs with tools"
    return ""


WRITERS: dict[str, Callable[[Pair], dict[str, Any] | str]] = {
    "pairs": Pair.to_json,
    "hh": _as_transcripts,
    "ultrafeedback": _as_conversations,
}
