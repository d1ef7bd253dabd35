"""From a Hugging Face tokenizer to `tokenizer.ggml.*` metadata.

Two families are in use: byte-level BPE ("gpt2": tokens, merges and a pre-tokenizer's name) and
SentencePiece BPE ("llama": tokens and scores). Everything is read from tokenizer.json or
tokenizer.model directly; no tokenizer library is needed to pack.
"""

import re
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from cabinos.engine.errors import ModelFileError, UnsupportedModel
from cabinos.engine.pack.source import read_json
from cabinos.engine.pack.spm import read_spm


class TokenType(IntEnum):
    """llama.cpp's token types; the first six equal those of a SentencePiece model."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass
class Vocabulary:
    """The tokens of a model, by id."""

    model: str  # "gpt2" (byte-level BPE) or "llama" (SentencePiece BPE)
    pre: str  # which pre-tokenizer; "default" for SentencePiece
    tokens: list[str]
    types: list[int]
    scores: list[float] = field(default_factory=list)  # SentencePiece only
    add_space_prefix: bool | None = None  # SentencePiece only; None: the format's default (true)


# Pre-tokenizers by the regular expressions that llama.cpp applies for each name
# (`llama-vocab.cpp`). Names stand for more than the split: "llama-bpe" also takes a whole word that
# is in the vocabulary without merging (`ignore_merges`) and adds BOS, "smaug-bpe" does neither.
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORD = r"|[^\r\n\p{L}\p{N}]?\p{L}+"
SPLIT_LLAMA3 = CONTRACTIONS + WORD + r"|\p{N}{1,3}" + TAIL
SPLIT_QWEN2 = CONTRACTIONS + WORD + r"|\p{N}" + TAIL
TEKKEN_UPPER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
TEKKEN_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SPLIT_TEKKEN = (
    f"{TEKKEN_UPPER}*{TEKKEN_LOWER}+|{TEKKEN_UPPER}+{TEKKEN_LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def read_vocabulary(folder: Path, vocab_size: int) -> Vocabulary:
    """Read the vocabulary of a model folder, padded to `vocab_size`, the rows of the embedding.

    tokenizer.model is preferred to tokenizer.json, as it holds the true scores. Raises
    ModelFileError if it is missing or damaged, UnsupportedModel for another kind of tokenizer.
    """
    if (folder / "tokenizer.model").is_file():
        pieces = read_spm(folder / "tokenizer.model")
        vocabulary = Vocabulary(
            "llama", "default", [p.text for p in pieces], [p.type for p in pieces],
            [p.score for p in pieces],
        )  # fmt: skip
        path, added = folder / "tokenizer.model", _added_beside_spm(folder)
    elif (folder / "tokenizer.json").is_file():
        path = folder / "tokenizer.json"
        tokenizer = read_json(path)
        try:
            vocabulary = _from_tokenizer_json(path, tokenizer)
            added = {int(token["id"]): token for token in tokenizer.get("added_tokens") or []}
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ModelFileError(f"{path}: not a known tokenizer format ({error!r}).") from None
    else:
        raise ModelFileError(f"{folder}: no tokenizer.json and no tokenizer.model.")
    if max([len(vocabulary.tokens) - 1, *added]) >= vocab_size:
        raise ModelFileError(
            f"{path}: token ids up to {max([len(vocabulary.tokens) - 1, *added])}, but config.json "
            f"has vocab_size {vocab_size}. The tokenizer belongs to another model."
        )
    _pad(vocabulary, vocab_size)
    _mark_added(vocabulary, added)
    if vocabulary.model == "llama":
        vocabulary.add_space_prefix = _add_space_prefix(folder)
    return vocabulary


def _from_tokenizer_json(path: Path, tokenizer: dict[str, Any]) -> Vocabulary:
    model = tokenizer["model"]
    kind = model.get("type")
    if kind != "BPE":
        raise UnsupportedModel(f"{path}: a {kind} tokenizer; only BPE is supported.")
    ids: dict[str, int] = model["vocab"]
    tokens = [""] * (max(ids.values(), default=-1) + 1)
    for text, index in ids.items():
        tokens[index] = text
    types = [TokenType.NORMAL if t else TokenType.UNUSED for t in tokens]
    if not model.get("byte_fallback"):
        return Vocabulary("gpt2", _pre_tokenizer(path, tokenizer), tokens, list(map(int, types)))
    for index, text in enumerate(tokens):
        if re.fullmatch("<0x[0-9A-F]{2}>", text):
            types[index] = TokenType.BYTE
        elif text == model.get("unk_token"):
            types[index] = TokenType.UNKNOWN
    return Vocabulary("llama", "default", tokens, list(map(int, types)), _scores(model, ids))


def _scores(model: dict[str, Any], ids: dict[str, int]) -> list[float]:
    """SentencePiece scores from BPE merges: the earlier a token's merge, the higher its score.

    SentencePiece joins the pair whose result has the best score, BPE the pair of the lowest rank,
    so minus the rank reproduces it. (llama.cpp writes -1000 for all, which loses the order.)
    """
    scores = [0.0] * (max(ids.values(), default=-1) + 1)
    for rank, merge in enumerate(model["merges"]):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        index = ids[left + right]
        if scores[index] == 0.0:
            scores[index] = -1.0 - rank
    return scores


def _pre_tokenizer(path: Path, tokenizer: dict[str, Any]) -> str:
    """llama.cpp's name for the pre-tokenizer described in tokenizer.json."""
    stage = tokenizer.get("pre_tokenizer") or {}
    stages = stage.get("pretokenizers", [stage])
    kinds = [s.get("type") for s in stages]
    if any(s.get("add_prefix_space") for s in stages):
        raise UnsupportedModel(f"{path}: a byte-level tokenizer that adds a space before the text.")
    if kinds == ["ByteLevel"] and stages[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and stages[0].get("individual_digits"):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not stages[1].get("use_regex", True):
        split = stages[0]["pattern"].get("Regex")
        whole_words = tokenizer["model"].get("ignore_merges", False)
        known = {
            (SPLIT_LLAMA3, True): "llama-bpe",
            (SPLIT_LLAMA3, False): "smaug-bpe",
            (SPLIT_QWEN2, False): "qwen2",
            (SPLIT_TEKKEN, True): "tekken",
        }
        if (split, whole_words) in known:
            return known[split, whole_words]
    raise UnsupportedModel(
        f"{path}: unknown pre-tokenizer {' + '.join(map(str, kinds)) or 'none'}; byte-level BPE as "
        "in GPT-2, SmolLM, Llama 3, Qwen2 and Mistral Tekken is supported."
    )


def _added_beside_spm(folder: Path) -> dict[int, dict[str, Any]]:
    """The tokens that were added to a SentencePiece model: id -> {"content", "special"}."""
    added: dict[int, dict[str, Any]] = {}
    try:
        if (folder / "added_tokens.json").is_file():
            for text, index in read_json(folder / "added_tokens.json").items():
                added[int(index)] = {"content": text}
        if (folder / "tokenizer_config.json").is_file():
            decoder = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder") or {}
            added |= {int(index): token for index, token in decoder.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{folder}: the added tokens are malformed ({error}).") from None
    return added


def _pad(vocabulary: Vocabulary, vocab_size: int) -> None:
    for index in range(len(vocabulary.tokens), vocab_size):
        vocabulary.tokens.append(f"[PAD{index}]")
        vocabulary.types.append(TokenType.UNUSED)
        if vocabulary.model == "llama":
            vocabulary.scores.append(-10000.0)
    for index, text in enumerate(vocabulary.tokens):
        if not text:
            vocabulary.tokens[index] = f"[PAD{index}]"


def _mark_added(vocabulary: Vocabulary, added: dict[int, dict[str, Any]]) -> None:
    """Special tokens become CONTROL (never matched in a user's text unless asked for)."""
    for index, token in added.items():
        text = str(token["content"])
        special = token.get("special") or re.fullmatch(r"<\|.*\|>|<pad>", text)
        if vocabulary.types[index] not in (TokenType.UNKNOWN, TokenType.BYTE):
            kind = TokenType.CONTROL if special else TokenType.USER_DEFINED
            vocabulary.types[index] = kind
        vocabulary.tokens[index] = text if special else text.replace("▁", " ")


def _add_space_prefix(folder: Path) -> bool | None:
    """Whether SentencePiece text gets a leading space; None leaves the format's default, true."""
    if (folder / "tokenizer_config.json").is_file():
        given = read_json(folder / "tokenizer_config.json").get("add_prefix_space")
        if isinstance(given, bool):
            return given
    if not (folder / "tokenizer.json").is_file():
        return None
    tokenizer = read_json(folder / "tokenizer.json")
    normalizer = tokenizer.get("normalizer") or {}
    normalizers = normalizer.get("normalizers", [normalizer])
    pre = tokenizer.get("pre_tokenizer") or {}
    prepends = any(n.get("type") == "Prepend" for n in normalizers)
    return prepends or pre.get("prepend_scheme", "never") != "never"
