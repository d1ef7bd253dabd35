"""Constrained decoding: a JSON schema, a regular expression or a Lark grammar as a token mask.

The parser is `llguidance` (Earley over a lexer of derivatives, about 50 µs a mask); this file
adapts it to the tokenizers and the errors of the engine.
"""

import json
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from cabinos.engine.errors import EngineError, InvalidRequest

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

    from cabinos.engine.tokenizer import Tokenizer

Mask = NDArray[np.bool_]

# How many ways to read the text so far may be open at once. The cost of a token grows with the
# square: llguidance's own limit, 2,000, lets an ambiguous grammar hold up a whole batch for 0.5 s
# at each token.
MAX_ROW_ITEMS = 1000


@dataclass(frozen=True)
class Constraint:
    """What the generated text must match, from its first character to its last."""

    kind: Literal["json_schema", "regex", "lark"]
    source: str

    @classmethod
    def json_schema(cls, schema: str | Mapping[str, Any]) -> Self:
        """A JSON document that validates against `schema` ({}: any document), on one line.

        Free white space lets a small model write line ends until its tokens run out; a schema that
        wants it says `"x-guidance": {"whitespace_flexible": true}`.
        """
        return cls("json_schema", schema if isinstance(schema, str) else json.dumps(schema))

    @classmethod
    def regex(cls, pattern: str) -> Self:
        """A text that matches `pattern` as a whole (syntax of Rust's `regex` crate)."""
        return cls("regex", pattern)

    @classmethod
    def lark(cls, grammar: str) -> Self:
        """A text derived from the rule `start` of a Lark grammar (llguidance's dialect)."""
        return cls("lark", grammar)

    def compile(self, tokenizer: "Tokenizer", vocab_size: int) -> "ConstraintState":
        """The state before the first token, giving masks of `vocab_size` entries.

        Raises InvalidRequest with the parser's own message if the source is not valid.
        """
        from llguidance import LLMatcher, LLParserLimits

        try:
            match self.kind:
                case "json_schema":
                    grammar = LLMatcher.grammar_from_json_schema(
                        self.source, defaults={"whitespace_flexible": False}
                    )
                case "regex":
                    grammar = LLMatcher.grammar_from_regex(self.source)
                case "lark":
                    grammar = LLMatcher.grammar_from_lark(self.source)
        except ValueError as error:
            raise InvalidRequest(f"invalid {self.kind} constraint: {error}") from error
        limits = LLParserLimits(max_items_in_row=MAX_ROW_ITEMS)
        matcher = LLMatcher(_ll_tokenizer(tokenizer), grammar, log_level=0, limits=limits)
        if matcher.is_error():
            message = _headline(matcher.get_error())
            raise InvalidRequest(f"invalid {self.kind} constraint: {message}")
        return ConstraintState(matcher, vocab_size)


class ConstraintState:
    """Where one sequence stands in its constraint. Used by one thread at a time."""

    def __init__(self, matcher: "LLMatcher", vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._mask: Future[Mask] | None = None

    @property
    def finished(self) -> bool:
        """Whether the text is complete and nothing can follow."""
        return bool(self._matcher.is_stopped())

    def prepare(self, executor: Executor) -> None:
        """Starts to compute the next mask in the background (llguidance releases the GIL)."""
        if self._mask is None:
            self._mask = executor.submit(self._compute)

    def mask(self) -> Mask:
        """Which tokens may come next [vocab]; end tokens where the text may end.

        Raises EngineError if the parser hits one of its limits.
        """
        if self._mask is not None:
            return self._mask.result()
        return self._compute()

    def consume(self, token: int) -> None:
        """Moves past `token`, which the mask allowed. Raises EngineError if it did not."""
        self._settle()
        if not self._matcher.consume_token(token):
            raise EngineError(f"constraint: {_headline(self._matcher.get_error())}")

    def forced(self) -> list[int]:
        """The tokens that must come next, whatever the model says, as the tokenizer splits them.

        Other splits of the same text are allowed too, so these are proposals, not output.
        """
        self._settle()
        return list(self._matcher.compute_ff_tokens())

    def longest_valid(self, tokens: Sequence[int]) -> int:
        """How many of `tokens` in a row could come next; changes nothing."""
        self._settle()
        return int(self._matcher.validate_tokens(list(tokens)))

    def rollback(self, count: int) -> None:
        """Takes back the last `count` tokens consumed. Raises EngineError if there are fewer."""
        self._settle()
        if not self._matcher.rollback(count):
            raise EngineError(f"constraint: {_headline(self._matcher.get_error())}")

    def fork(self) -> "ConstraintState":
        """An independent copy."""
        if self._mask is not None:
            self._mask.exception()  # wait: the matcher takes no second thread
        return ConstraintState(self._matcher.deep_copy(), self._vocab_size)

    def _compute(self) -> Mask:
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._matcher.is_error():
            raise EngineError(f"constraint: {_headline(self._matcher.get_error())}")
        mask = np.zeros(self._vocab_size, np.uint8)
        known = np.unpackbits(bits, bitorder="little")[: self._vocab_size]
        mask[: len(known)] = known
        return mask.view(np.bool_)

    def _settle(self) -> None:
        """Waits for a mask under way: the matcher takes no second thread."""
        if self._mask is not None:
            self._mask.exception()
            self._mask = None


_ll_tokenizers: "weakref.WeakKeyDictionary[Tokenizer, LLTokenizer]" = weakref.WeakKeyDictionary()
_ll_tokenizers_lock = threading.Lock()


def _ll_tokenizer(tokenizer: "Tokenizer") -> "LLTokenizer":
    """The vocabulary as llguidance's trie: up to a second to build, so once per tokenizer."""
    from llguidance import LLTokenizer, TokenizerWrapper

    with _ll_tokenizers_lock:
        found = _ll_tokenizers.get(tokenizer)
        if found is None:
            vocabulary = _Vocabulary(tokenizer)
            found = LLTokenizer(TokenizerWrapper(vocabulary), eos_token=vocabulary.end_ids)
            _ll_tokenizers[tokenizer] = found
        return found


class _Vocabulary:
    """The tokenizer in the shape `llguidance.TokenizerWrapper` asks for.

    Where the grammar forces the text, llguidance allows only the tokens that this gives for it.
    """

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer
        self.tokens = [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]
        self.special_token_ids = sorted(tokenizer.special_ids)
        self.end_ids = sorted(tokenizer.end_ids)
        if not self.end_ids:  # llguidance wants one: a token that the model does not have
            self.end_ids = [len(self.tokens)]
            self.special_token_ids.append(len(self.tokens))
            self.tokens.append(b"<end>")
        self.eos_token_id = self.end_ids[0]
        self.bos_token_id = tokenizer.bos_id

        self._ids = {data: token for token, data in enumerate(self.tokens) if data}
        self._longest = max(map(len, self._ids))
        # SentencePiece puts a space before a text: let it come before a byte that joins nothing.
        spaced = self._bytes(self._encode("a")) == b" a"
        self._lead = "\x02" if spaced else ""

    def __call__(self, text: bytes) -> list[int]:
        """The tokens of `text` as it would be split in the middle of a text."""
        ids = self._encode(self._lead + text.decode(errors="replace"))
        if self._lead:
            del ids[: len(self._encode(self._lead))]
        return ids if self._bytes(ids) == text else self._greedy(text)

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special=False)

    def _bytes(self, ids: list[int]) -> bytes:
        return b"".join(self.tokens[token] for token in ids)

    def _greedy(self, text: bytes) -> list[int]:
        """The longest tokens from left to right, where the tokenizer would change the text."""
        ids = []
        while text:
            sizes = range(min(self._longest, len(text)), 0, -1)
            size = next((n for n in sizes if text[:n] in self._ids), 0)
            if not size:
                break
            ids.append(self._ids[text[:size]])
            text = text[size:]
        return ids


def _headline(message: str) -> str:
    """A message of llguidance without the dump of its state."""
    return message.partition("\n<state>")[0].strip()
