"""Text <-> token ids, with the vocabulary in a GGUF file's own metadata.

Two kinds of vocabulary are in use, and both are byte-pair encoding (Sennrich et al. 2016,
arXiv:1508.07909), which joins the best pair of neighbours until none is left:

- "gpt2": byte-level. Text is cut into words by a regular expression, which `tokenizer.ggml.pre`
  names; each byte is spelled as one printable character; a list of merges says what is best.
- "llama": SentencePiece. A space is spelled U+2581, the pair whose union scores highest is best,
  and characters without a piece of their own fall back to byte pieces like <0xE2>.

Some tokens are markup: `<|im_end|>` ends a turn because it is that token, not because of how it
reads. Text becomes markup only if the caller says so with `parse_special`; anything that comes from
a user, a file or a tool must not. `run.c` holds the same algorithms for its standalone use.
"""

import codecs
import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from cabinos.engine.errors import InvalidRequest, ModelFileError, UnsupportedModel
from cabinos.engine.gguf import GGUFFile, read_gguf

if TYPE_CHECKING:
    import tokenizers

Item = TypeVar("Item", str, int, float)

# tokenizer.ggml.token_type
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

# Control tokens that end a turn or a text; a file names but one of those it has as `eos`.
END_TOKENS = (
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>",
    "<|end_of_text|>",
)  # fmt: skip

SPACE = "\u2581"  # SentencePiece's spelling of a space


class Splitter(NamedTuple):
    """How text is cut into words before byte-level BPE."""

    pattern: str | None  # None: GPT-2's, which the library has built in
    lone_digits: bool = False  # digits are cut out one by one beforehand
    whole_words: bool = False  # a word that is a token is taken whole, whatever the merges say
    nfc: bool = False  # text is normalised to Unicode form C first


_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}{{1,3}}|{_REST}"
_QWEN2 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}|{_REST}"
_UPPER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"{_UPPER}*{_LOWER}+|{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# By `tokenizer.ggml.pre`, llama.cpp's name for each.
SPLITTERS = {
    "default": Splitter(None),
    "gpt-2": Splitter(None),
    "smollm": Splitter(None, lone_digits=True),
    "qwen2": Splitter(_QWEN2, nfc=True),
    "llama-bpe": Splitter(_LLAMA3, whole_words=True),
    "llama3": Splitter(_LLAMA3, whole_words=True),
    "llama-v3": Splitter(_LLAMA3, whole_words=True),
    "smaug-bpe": Splitter(_LLAMA3),
    "tekken": Splitter(_TEKKEN, whole_words=True),
}


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's spelling of bytes: printable ones as themselves, the n-th other one as U+0100 + n."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = sorted(set(range(256)) - set(printable))
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}


BYTE_OF = _byte_alphabet()


class Tokenizer:
    """The tokenizer of one model. Safe to use from several threads."""

    def __init__(self, file: GGUFFile) -> None:
        metadata = _Metadata(file)
        self._tokens = metadata.items("tokens", str)
        size = len(self._tokens)
        typed = "tokenizer.ggml.token_type" in file.metadata
        self._types = metadata.items("token_type", int, size) if typed else [NORMAL] * size
        self._byte_level = metadata.text("model") == "gpt2"
        self._space_prefix = not self._byte_level and metadata.flag("add_space_prefix", True)
        splitter = _splitter(metadata) if self._byte_level else Splitter(None)
        self._model = _model(metadata, self._tokens, self._types, splitter)  # has no special tokens

        self.bos_id = metadata.token_id("bos", size)
        self.eos_id = metadata.token_id("eos", size)
        # Where the file does not say, as llama.cpp has it.
        says_bos = metadata.flag("add_bos_token", not self._byte_level or splitter.whole_words)
        self.add_bos = says_bos and self.bos_id is not None
        self.add_eos = metadata.flag("add_eos_token", False) and self.eos_id is not None
        self.special_tokens: dict[str, int] = {
            text: i
            for i, (text, kind) in enumerate(zip(self._tokens, self._types, strict=True))
            if UNKNOWN <= kind <= USER_DEFINED and text
        }
        """Tokens that text can name with `parse_special`: control and user-defined ones."""
        self.special_ids = frozenset(
            i for i, kind in enumerate(self._types) if kind in (UNKNOWN, CONTROL)
        )
        """Tokens that are never part of a text: control tokens and the unknown one."""
        ends = [i for text in END_TOKENS if (i := self.control_id(text)) is not None]
        eot = metadata.token_id("eot", size)
        self.eot_id = eot if eot is not None else next(iter(ends), self.eos_id)
        """The token that ends a turn, if the vocabulary has one; else `eos_id`."""
        self.end_ids = frozenset(i for i in (*ends, eot, self.eos_id) if i is not None)
        """Tokens that end a turn or a text; the model stops there."""

    @classmethod
    def from_gguf(cls, source: "str | PathLike[str] | GGUFFile") -> Self:
        """Build the tokenizer that a GGUF file describes; 150,000 tokens take about 0.5 s.

        Raises ModelFileError if the metadata is missing or contradicts itself, UnsupportedModel if
        it names a kind of tokenizer or a way to cut words that is not supported.
        """
        return cls(source if isinstance(source, GGUFFile) else read_gguf(source))

    @property
    def vocab_size(self) -> int:
        """How many ids there are; the model may have more rows, for padding."""
        return len(self._tokens)

    def control_id(self, text: str) -> int | None:
        """The id of the control token that reads `text`, if there is one."""
        found = self.special_tokens.get(text)
        return found if found is not None and self._types[found] == CONTROL else None

    def encode(
        self, text: str, *, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """The ids of `text`. With `add_special`, BOS and EOS are added as the model expects.

        `parse_special` lets the text name special tokens. Never set it for text from elsewhere.
        Lone surrogates, which are not Unicode text, count as U+FFFD.
        """
        ids: list[int] = []
        for part in self.split_special(text) if parse_special else [text]:
            ids += [part] if isinstance(part, int) else self._plain(part)
        if not add_special:
            return ids
        before = [self.bos_id] if self.add_bos and self.bos_id is not None else []
        after = [self.eos_id] if self.add_eos and self.eos_id is not None else []
        return before + ids + after

    def split_special(self, text: str) -> list[str | int]:
        """Cut `text` at the special tokens it names: stretches of plain text, and ids."""
        if self._special_pattern is None:
            return [text]
        parts = self._special_pattern.split(text)  # plain, token, plain, ..., plain
        return [p if n % 2 == 0 else self.special_tokens[p] for n, p in enumerate(parts) if p]

    @cached_property
    def _special_pattern(self) -> re.Pattern[str] | None:
        longest_first = sorted(self.special_tokens, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first))})") if longest_first else None

    def _plain(self, text: str) -> list[int]:
        try:
            return self._model.encode(text, add_special_tokens=False).ids
        except TypeError:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return self._model.encode(text, add_special_tokens=False).ids

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token stands for; a special token's are its name, an unused one has none.

        A character may be spread over several tokens. Raises InvalidRequest for an id outside the
        vocabulary.
        """
        if not 0 <= token < len(self._tokens):
            raise InvalidRequest(f"token {token} is not in the vocabulary of {len(self._tokens)}.")
        text, kind = self._tokens[token], self._types[token]
        if kind == UNUSED:
            return b""
        if kind == BYTE and (byte := _byte_of(text)) is not None:
            return bytes([byte])
        if kind == NORMAL and self._byte_level:
            try:
                return bytes(map(BYTE_OF.__getitem__, text))
            except KeyError:  # not written in the byte alphabet: as it stands
                return text.encode()
        return (text.replace(SPACE, " ") if kind == NORMAL else text).encode()

    def decode(self, ids: Iterable[int], *, special: bool = False, start: bool = True) -> str:
        """The text of `ids`. `special` shows special tokens by name; otherwise they are left out.

        `start`: the ids begin a text, so the space SentencePiece puts in front of it is dropped.
        Bytes that are not UTF-8 become U+FFFD, as in `bytes.decode`.
        """
        shown = (i for i in ids if special or i not in self.special_ids)
        text = b"".join(map(self.token_bytes, shown)).decode(errors="replace")
        return text[1:] if start and self._space_prefix and text.startswith(" ") else text

    def detokenizer(self, *, start: bool = False, show: Iterable[int] = ()) -> "Detokenizer":
        """A streaming `decode`, by default of ids that continue a text.

        `show`: special tokens that are shown by name all the same.
        """
        hidden = self.special_ids.difference(show)
        return Detokenizer(self, drop_space=start and self._space_prefix, hidden=hidden)


class Detokenizer:
    """Ids to text one by one, in constant time each.

    The pieces of text, joined, are exactly what `Tokenizer.decode` makes of all the ids; a
    character is given out once its last byte is there.
    """

    def __init__(self, tokenizer: Tokenizer, *, drop_space: bool, hidden: AbstractSet[int]) -> None:
        self._tokenizer = tokenizer
        self._drop_space = drop_space
        self._hidden = hidden
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that `token` completes, "" if none. Raises InvalidRequest for an unknown id."""
        data = self._tokenizer.token_bytes(token)
        return self._next(b"" if token in self._hidden else data, final=False)

    def flush(self) -> str:
        """What is left at the end: U+FFFD for an incomplete character, else ""."""
        return self._next(b"", final=True)

    def _next(self, data: bytes, *, final: bool) -> str:
        text = self._decoder.decode(data, final)
        if text and self._drop_space:
            self._drop_space = False
            return text.removeprefix(" ")
        return text


def _byte_of(text: str) -> int | None:
    """The byte that a piece like "<0x0A>" stands for."""
    match = re.fullmatch("<0x([0-9A-Fa-f]{2})>", text)
    return int(match[1], 16) if match else None


class _Metadata:
    """The `tokenizer.ggml.*` values of a file, checked for type."""

    def __init__(self, file: GGUFFile) -> None:
        self.path = file.path
        self.values = file.metadata

    def error(self, name: str, problem: str) -> ModelFileError:
        return ModelFileError(
            f"{self.path}: tokenizer.ggml.{name} {problem}. The file's vocabulary is damaged or "
            "was left out; pack or download the model again."
        )

    def text(self, name: str, missing: str | None = None) -> str:
        value = self.values.get(f"tokenizer.ggml.{name}", missing)
        if not isinstance(value, str):
            raise self.error(name, "is missing" if value is None else "is not a string")
        return value

    def flag(self, name: str, missing: bool) -> bool:
        return bool(self.values.get(f"tokenizer.ggml.{name}", missing))

    def items(self, name: str, kind: type[Item], length: int | None = None) -> list[Item]:
        """A list of strings or numbers, of a given length if any."""
        value = self.values.get(f"tokenizer.ggml.{name}")
        if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
            raise self.error(name, "is missing" if value is None else "is not a list as it should")
        if length is not None and len(value) != length:
            raise self.error(name, f"has {len(value)} elements for {length} tokens")
        return value  # type: ignore[return-value]

    def token_id(self, name: str, size: int) -> int | None:
        value = self.values.get(f"tokenizer.ggml.{name}_token_id")
        if value is None:
            return None
        if not isinstance(value, int) or not 0 <= value < size:
            raise self.error(f"{name}_token_id", f"is {value!r}, not one of {size} tokens")
        return value


def _model(
    metadata: _Metadata, tokens: list[str], types: list[int], splitter: Splitter
) -> "tokenizers.Tokenizer":
    kind = metadata.text("model")
    if kind not in ("llama", "gpt2"):
        raise UnsupportedModel(
            f"{metadata.path}: the tokenizer is of kind {kind!r}; SentencePiece BPE ('llama') and "
            "byte-level BPE ('gpt2') are supported."
        )
    if kind == "gpt2":
        merges = _merges(metadata)
    else:
        scores = metadata.items("scores", float, len(tokens))
        unknown = metadata.token_id("unknown", len(tokens))
        merges = _merges_by_score(tokens, types, scores)
    try:
        if kind == "gpt2":
            return _byte_level_bpe(tokens, types, merges, splitter)
        prefix = metadata.flag("add_space_prefix", True)
        return _sentencepiece(tokens, merges, None if unknown is None else tokens[unknown], prefix)
    except ImportError:
        raise  # tokenizers is not installed: no fault of the file
    except Exception as error:  # noqa: BLE001 (the library has no narrower type)
        raise metadata.error("tokens", f"makes no tokenizer: {error}") from None


def _splitter(metadata: _Metadata) -> Splitter:
    name = metadata.text("pre", "default")
    if name not in SPLITTERS:
        raise UnsupportedModel(
            f"{metadata.path}: tokenizer.ggml.pre is {name!r}, a way to cut text into words that "
            f"is not supported; supported are {', '.join(SPLITTERS)}."
        )
    return SPLITTERS[name]


def _merges(metadata: _Metadata) -> list[tuple[str, str]]:
    merges = []
    for number, line in enumerate(metadata.items("merges", str)):
        left, gap, right = line.partition(" ")
        if not gap:
            raise metadata.error("merges", f"has no pair at element {number}: {line!r}")
        merges.append((left, right))
    return merges


def _byte_level_bpe(
    tokens: list[str], types: list[int], merges: list[tuple[str, str]], splitter: Splitter
) -> "tokenizers.Tokenizer":
    """Byte-level BPE of the normal tokens only: text must not spell special ones."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    texts = enumerate(zip(tokens, types, strict=True))
    vocabulary = {text: i for i, (text, kind) in texts if kind == NORMAL or len(text) == 1}
    special = {*tokens} - vocabulary.keys()
    if special:
        merges = [(a, b) for a, b in merges if special.isdisjoint((a, b, a + b))]
    model = models.BPE(vocabulary, merges, ignore_merges=splitter.whole_words)
    built = Tokenizer(model)
    stages: list[pre_tokenizers.PreTokenizer] = []
    if splitter.lone_digits:
        stages.append(pre_tokenizers.Digits(individual_digits=True))
    if splitter.pattern is not None:
        stages.append(pre_tokenizers.Split(Regex(splitter.pattern), "isolated"))
    builtin = splitter.pattern is None
    stages.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=builtin))
    built.pre_tokenizer = pre_tokenizers.Sequence(stages)
    if splitter.nfc:
        built.normalizer = normalizers.NFC()
    return built


def _merges_by_score(
    tokens: list[str], types: list[int], scores: list[float]
) -> list[tuple[str, str]]:
    """SentencePiece BPE as a list of merges.

    A pair is as good as its union, so every way to cut a piece into two pieces is a merge of that
    piece's score. Text must not spell special tokens, so those are neither parts nor unions, except
    that a single character is found whatever its type.
    """
    parts = {text for text, kind in zip(tokens, types, strict=True) if kind == NORMAL}
    parts |= {text for text in tokens if len(text) == 1}
    pairs = [
        (-score, -cut, text[:cut], text[cut:])
        for text, kind, score in zip(tokens, types, scores, strict=True)
        if kind == NORMAL
        for cut in range(1, len(text))
        if text[:cut] in parts and text[cut:] in parts
    ]
    pairs.sort(key=lambda pair: pair[:2])
    return [(left, right) for _, _, left, right in pairs]


def _sentencepiece(
    tokens: list[str], merges: list[tuple[str, str]], unknown: str | None, prefix: bool
) -> "tokenizers.Tokenizer":
    from tokenizers import Tokenizer, models, normalizers

    vocabulary = {text: i for i, text in enumerate(tokens)}
    built = Tokenizer(
        models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    spaces = normalizers.Replace(" ", SPACE)
    prepend = normalizers.Prepend(SPACE)
    built.normalizer = normalizers.Sequence([prepend, spaces] if prefix else [spaces])
    return built
