"""What the text itself teaches while it is packed: the model's odds, mixed with counts.

The model has read much, but knows nothing of this text beyond its window. So each question of the
tree is also answered by three adaptive probabilities, which remember how it was answered before:
at this node at all, at this node after the same token, and after the same two. Logistic mixing
(Mahoney 2005, PAQ6 and after; Knoll and de Freitas 2012, arXiv:1108.3298) weighs the four:

    p = squash(Σ w_i · stretch(p_i)),    w_i += rate · (answer - p) · stretch(p_i),
    stretch(p) = ln(p / (1 - p)),        squash(x) = 1 / (1 + e^-x),

with weights of their own for each (longest context seen before, how often). Where the model is sure
of the answer, it is left alone: that is faster, and better too.

Python's floats add, multiply and divide as IEEE 754 says; ln and e^x come from tables, computed in
decimals, whose results are exact by definition. So a decoder anywhere mixes the same.
"""

from array import array
from decimal import Context, Decimal, localcontext
from functools import cache

from cabinos.lab.compress.rangecoder import Coder

__all__ = ["Mixer"]

SURE = 8  # bits: odds beyond 1 to 255 are left alone
RATE = 0.003  # of the weights
PRIOR = 0.2  # a count's weight at first; the model's is 1
LIMIT = 255  # answers after which a probability moves no slower
ONE = 1 << 16  # a probability of 1
REACH, FINE = 12, 64  # squash is tabulated for -12 … 12 in steps of 1/64
CONTEXTS = 3
MOST = 22  # bits of the number of slots
SPREAD, STIR = 0x9E3779B1, 0x85EBCA6B  # odd constants that scatter numbers (Knuth 1973, 6.4)
WORD = 0xFFFFFFFF
EDGE = REACH - 1 / FINE


class _Tables:
    """ln and the logistic function, to the last bit the same everywhere."""

    def __init__(self) -> None:
        with localcontext(Context(prec=24)):
            odd = [Decimal(2 * n + 1).ln() for n in range(4096)]
            self.stretch = [float(odd[i] - odd[4095 - i]) for i in range(4096)]  # of (i + ½) / 4096
            self.mantissa = [float((1 + Decimal(i) / 1024).ln()) for i in range(1024)]
            self.octave = [float(Decimal(2).ln() * n) for n in range(64)]
            self.squash = [
                max(1, int(ONE / (1 + (-Decimal(x) / FINE).exp())))
                for x in range(-REACH * FINE, REACH * FINE)
            ]
        self.pace = [2 * ONE // (2 * count + 3) for count in range(LIMIT + 1)]  # 1 / (count + 3/2)


@cache
def _tables() -> _Tables:
    return _Tables()


class Mixer:
    """The memory of one text. `nodes`: questions there are; `size`: bytes of the text, about."""

    def __init__(self, nodes: int, size: int) -> None:
        self._tables = _tables()
        self._bits = min(max(12, (4 * size).bit_length()), MOST)
        # A slot holds probability · 2^16 | check · 2^8 | count.
        slots = 1 << self._bits
        self._slots = [array("I", bytes(4 * n)) for n in (nodes, slots, slots)]
        self._weights = [[1.0] + [PRIOR] * CONTEXTS for _ in range(4 * CONTEXTS)]
        self._hashes = (0, 0)  # of the last token, and the last two
        self._last = 0

    def follow(self, token: int) -> None:
        """Note the token that was coded."""
        one = (token + 1) * SPREAD & WORD
        self._hashes = (one, (one + self._last) * STIR & WORD)
        self._last = one

    def decide(self, coder: Coder, node: int, zeros: int, total: int, one: bool) -> bool:
        """Code the answer at a node, for which the model's odds are given, and learn from it."""
        ones = total - zeros
        if zeros << SURE < total or ones << SURE < total:
            return coder.decide(zeros, total, one)
        tables, inputs, places = self._tables, [self._log(ones) - self._log(zeros)], []
        states, chosen, dot = [], 0, 0.0
        for order, slots in enumerate(self._slots):
            at, check = self._place(order, node) if order else (node, 0)
            state = slots[at]
            count = state & 0xFF
            if not count or state >> 8 & 0xFF != check:
                state = (ONE // 2) << 16 | check << 8
                inputs.append(0.0)
            else:
                inputs.append(tables.stretch[state >> 20])
                chosen = 4 * order + min(count, 3)
            states.append(state)
            places.append(at)
        weights = self._weights[chosen]
        for weight, value in zip(weights, inputs, strict=True):
            dot += weight * value
        likely = tables.squash[int((min(max(dot, -REACH), EDGE) + REACH) * FINE)]
        one = coder.decide(ONE - likely, ONE, one)
        step = RATE * (one - likely / ONE)
        self._weights[chosen] = [w + step * value for w, value in zip(weights, inputs, strict=True)]
        goal = ONE if one else 0
        for slots, at, state in zip(self._slots, places, states, strict=True):
            count = state & 0xFF
            p = state >> 16
            p = min(max(p + ((goal - p) * tables.pace[count] >> 16), 16), ONE - 16)
            slots[at] = p << 16 | state & 0xFF00 | min(count + 1, LIMIT)
        return one

    def _place(self, order: int, node: int) -> tuple[int, int]:
        """Where a node's probability after the last `order` tokens is kept, and its check."""
        key = (self._hashes[order - 1] + node * STIR) & WORD
        key = (key ^ key >> 15) * SPREAD & WORD
        return key >> (32 - self._bits), key & 0xFF

    def _log(self, n: int) -> float:
        """Ln n, from the first 11 bits of n."""
        size = n.bit_length()
        top = n >> (size - 11) if size > 11 else n << (11 - size)
        return self._tables.mantissa[top & 1023] + self._tables.octave[size]
