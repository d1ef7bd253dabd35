"""Conversations as token ids and a mask: what stage 2 reads, and which of it is learnt.

A row is a line of JSON: {"messages": […], "tools": […]}, in the form that chat APIs use. It becomes
exactly the ids that the engine makes of it at run time: its tokenizer and its chat template do it,
out of the file that the model will be packed into. What the assistant says and calls is learnt, and
the token that ends its turn; what the system, the user and the tools say is only read.

The rows of some files are encoded once into a folder that is named after all that went in, and are
memory-mapped from there.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cabinos.train.errors import CorpusError, TrainError

if TYPE_CHECKING:
    from cabinos.engine.chat_template import ChatTemplate
    from cabinos.engine.tokenizer import Tokenizer

__all__ = [
    "EXACT",
    "Rows",
    "Speech",
    "encode_row",
    "encode_rows",
    "join",
    "name_of",
    "open_speech",
    "read_lines",
]

EXACT = 32  # rows of each file whose every prompt is compared
VERSION = 1  # raise it when rows would be encoded differently
T = TypeVar("T")


@dataclass(frozen=True)
class Speech:
    """How a model writes conversations."""

    template: "ChatTemplate"
    tokenizer: "Tokenizer"
    opening: list[int]  # what a prompt ends in, where the assistant's turn begins
    fingerprint: str  # of all


@dataclass(frozen=True)
class Rows:
    """Rows one after the other. Row i is [offsets[i]:offsets[i + 1]] of `tokens` and `learnt`."""

    tokens: NDArray[Any]  # uint16, or uint32 where the vocabulary is larger
    learnt: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    places: NDArray[np.int32]  # [rows, 2]: which of `files`, and the line in it
    files: Sequence[str]
    key: str = ""  # a hash of all that they were made of
    too_long: int = 0  # rows that were left out

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The tokens of each row."""
        return np.diff(self.offsets)

    def row(self, index: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The ids of a row, and which of them are learnt."""
        part = slice(self.offsets[index], self.offsets[index + 1])
        return self.tokens[part], self.learnt[part]

    def place(self, index: int) -> str:
        """`file:line`, to find a row again."""
        file, line = self.places[index]
        return f"{self.files[file]}:{line}"


def open_speech(folder: Path) -> Speech:
    """The tokenizer and template of a Hugging Face folder as the engine will have them.

    Raises TrainError if they are missing or cannot be used.
    """
    from cabinos.engine.chat_template import ChatTemplate
    from cabinos.engine.errors import EngineError
    from cabinos.engine.gguf import read_gguf
    from cabinos.engine.pack import pack_vocabulary
    from cabinos.engine.tokenizer import Tokenizer

    try:
        with TemporaryDirectory(prefix="cabin-rows-") as temporary:
            path = Path(temporary) / "vocabulary.gguf"
            pack_vocabulary(folder, path)
            file = read_gguf(path)
            tokenizer = Tokenizer.from_gguf(file)
            template = ChatTemplate.from_gguf(file, tokenizer)
            chat = [{"role": "user", "content": "?"}]
            closed = template.encode_chat(chat, add_generation_prompt=False)
            opening = template.encode_chat(chat)[len(closed) :]
            return Speech(
                template, tokenizer, opening, hashlib.sha256(path.read_bytes()).hexdigest()
            )
    except EngineError as error:
        raise TrainError(str(error)) from None


def encode_row(
    row: Mapping[str, Any], speech: Speech, *, exactly: bool = True
) -> tuple[list[int], list[tuple[int, int]]]:
    """The ids of a row, and the stretches [start, end) of them that are learnt.

    A stretch begins where the prompt ends that the model would see there: every such prompt is
    written and compared, and the names of calls are looked for. Unless `exactly`, that is spared
    where the markup that opens a turn of the assistant's is found once for each: it takes a third
    of the time.

    Raises ValueError if the row is none, InvalidRequest if the template refuses it.
    """
    messages, tools = _messages(row), _tools(row)
    turns = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
    if not turns or turns[0] == 0:
        raise ValueError("the assistant says nothing, or speaks first")
    ids = speech.template.encode_chat(messages, tools=tools, add_generation_prompt=False)
    starts = [] if exactly else _after(ids, speech.opening)
    if len(starts) != len(turns):
        starts = [_start(ids, messages[:turn], tools, speech) for turn in turns]
    spans = [(start, _end(ids, start, speech)) for start in starts]
    if exactly:
        for turn, (start, end) in zip(turns, spans, strict=True):
            text = speech.tokenizer.decode(ids[start:end], special=True)
            for call in messages[turn].get("tool_calls", []):
                if call["function"]["name"] not in text:
                    raise ValueError(f"message {turn}: the chat template of this model writes no "
                                     "calls; take a model that knows tools")  # fmt: skip
    return ids, spans


def _start(
    ids: list[int], before: list[dict[str, Any]], tools: list[dict[str, Any]] | None, speech: Speech
) -> int:
    """Where the prompt of the messages `before` ends in `ids`."""
    prompt = speech.template.encode_chat(before, tools=tools)
    if ids[: len(prompt)] != prompt:
        raise ValueError(
            f"message {len(before)}: written by the chat template, the conversation does not begin "
            "with the prompt that the model would see (does the answer begin with a space?)"
        )
    return len(prompt)


def _end(ids: list[int], start: int, speech: Speech) -> int:
    """Behind the token that ends the turn."""
    ends = speech.tokenizer.end_ids
    return next((n + 1 for n in range(start, len(ids)) if ids[n] in ends), len(ids))


def _after(ids: list[int], opening: list[int]) -> list[int]:
    """The places behind each `opening` in `ids`."""
    size = len(opening)
    found = (n for n, token in enumerate(ids) if token == opening[0])
    return [n + size for n in found if ids[n : n + size] == opening]


def _messages(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = row.get("messages") if isinstance(row, Mapping) else None
    if not isinstance(messages, list) or not messages:
        raise ValueError('a row is {"messages": [...], "tools": [...]}, with at least one message')
    checked = []
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ValueError(f"message {number} has no role")
        content, calls = message.get("content") or "", message.get("tool_calls") or []
        if not isinstance(content, str):
            raise ValueError(f"message {number}: the content is no text")
        plain = {**message, "content": content}
        plain.pop("tool_calls", None)
        if calls:
            plain["tool_calls"] = [_call(number, call) for call in calls]
        checked.append(plain)
    return checked


def _call(number: int, call: Any) -> dict[str, Any]:
    """A call with its arguments as an object, as the engine's side gives it to templates."""
    function = call.get("function", call) if isinstance(call, Mapping) else {}
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(ValueError):
            arguments = json.loads(arguments)
    if not isinstance(function.get("name"), str) or not isinstance(arguments, dict):
        raise ValueError(f"message {number}: a call needs a name, and an object of arguments")
    described = {"name": function["name"], "arguments": arguments}
    return {"id": call.get("id", "000000000"), "type": "function", "function": described}


def _tools(row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    tools = row.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise ValueError("the tools are no list of objects")
    return [t if "function" in t else {"type": "function", "function": t} for t in tools] or None


def encode_rows(files: Sequence[Path], speech: Speech, context: int, cache: Path) -> Rows:
    """The rows of `files`, from the folder `cache` if they have been encoded before.

    Rows longer than `context` are left out, and counted. Raises CorpusError, which names file and
    line, for what is no row; TrainError if the disk is full.
    """
    folder = cache / name_of(files, f"rows {VERSION} {context} {speech.fingerprint}")
    if not folder.is_dir():
        try:
            _write(files, speech, context, folder)
        except OSError as error:
            raise TrainError(f"{folder}: cannot be written ({error.strerror or error}).") from None
    return _open(folder)


def _write(files: Sequence[Path], speech: Speech, context: int, folder: Path) -> None:
    """Encode into a folder beside `folder`, which then takes its name."""

    def encode(line: int, row: Any) -> tuple[list[int], list[tuple[int, int]]]:
        return encode_row(row, speech, exactly=line <= EXACT or not speech.opening)

    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    partial.mkdir(parents=True)
    kind = "<u2" if speech.tokenizer.vocab_size <= 2**16 else "<u4"
    offsets, places, long = [0], [], 0
    try:
        with (
            (partial / "tokens.bin").open("wb") as tokens,
            (partial / "learnt.bin").open("wb") as mask,
        ):
            for number, line, (ids, spans) in read_lines(files, "row", encode):
                if len(ids) > context:
                    long += 1
                    continue
                learnt = np.zeros(len(ids), np.bool_)
                for start, end in spans:
                    learnt[start:end] = True
                tokens.write(np.array(ids, kind).tobytes())
                mask.write(learnt.tobytes())
                offsets.append(offsets[-1] + len(ids))
                places.append((number, line))
        np.save(partial / "offsets.npy", np.array(offsets, np.int64))
        np.save(partial / "places.npy", np.array(places, np.int32).reshape(-1, 2))
        facts = {"files": [str(path) for path in files], "type": kind, "too_long": long}
        (partial / "rows.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def name_of(files: Sequence[Path], how: str) -> str:
    """A name for what `files` become if they are encoded so. Raises CorpusError."""
    key = hashlib.sha256(how.encode())
    for path in files:
        try:
            with path.open("rb") as file:
                key.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise CorpusError(f"{path}: cannot be read ({error.strerror or error}).") from None
    return key.hexdigest()[:20]


def read_lines(
    files: Sequence[Path], what: str, encode: Callable[[int, Any], T]
) -> Iterator[tuple[int, int, T]]:
    """Which file, which line in it, and what `encode` makes of that line's number and its JSON.

    Empty lines are passed over. Raises CorpusError, which names file and line, for what is no
    JSON, and for what `encode` refuses as being no `what`.
    """
    from cabinos.engine.errors import EngineError

    for number, path in enumerate(files):
        with path.open("rb") as file:
            for line, text in enumerate(file, 1):
                if not text.strip():
                    continue
                try:
                    encoded = encode(line, json.loads(text.decode("utf-8")))
                except (ValueError, RecursionError, EngineError) as error:
                    raise CorpusError(f"{path}:{line}: not a {what}: {error}.") from None
                yield number, line, encoded


def _open(folder: Path) -> Rows:
    try:
        facts = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
        offsets, places = np.load(folder / "offsets.npy"), np.load(folder / "places.npy")
        if len(offsets) < 2:
            raise CorpusError(
                f"{', '.join(facts['files'])}: no row fits the context "
                f"({facts['too_long']} are longer)."
            )
        tokens = np.memmap(folder / "tokens.bin", facts["type"], "r", shape=(offsets[-1],))
        learnt = np.memmap(folder / "learnt.bin", np.bool_, "r", shape=(offsets[-1],))
        return Rows(tokens, learnt, offsets, places, facts["files"], folder.name, facts["too_long"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainError(f"{folder}: damaged ({error}). Remove it and start again.") from None


def join(rows: Rows, more: Rows) -> Rows:
    """Both in one, in memory."""
    places = more.places + np.array([len(rows.files), 0], np.int32)
    return Rows(
        np.concatenate([rows.tokens, more.tokens]),
        np.concatenate([rows.learnt, more.learnt]),
        np.concatenate([rows.offsets, more.offsets[1:] + rows.offsets[-1]]),
        np.concatenate([rows.places, places]),
        [*rows.files, *more.files],
        rows.key,
        rows.too_long + more.too_long,
    )
