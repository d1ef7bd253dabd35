"""The vocabulary as a tree of yes-or-no questions, in the order of its bytes.

Tokens are sorted by what they spell. Below a node lie the tokens of one stretch of that order; the
node asks for the next bit of the next byte, or, where one of them ends and others go on, whether it
ends here. Questions with one possible answer are left out, so n tokens make n - 1 nodes, and a
token is named by about 20 answers. The odds of an answer are sums over neighbours: differences of
two cumulative odds.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from cabinos.lab.compress.mixer import Mixer
from cabinos.lab.compress.rangecoder import Coder

__all__ = ["Tree", "build"]


@dataclass(slots=True)
class Tree:
    """Nodes by number, the root being 0; a child below 0 is leaf ~child."""

    low: list[int] = field(default_factory=list)  # of the leaves below: first,
    middle: list[int] = field(default_factory=list)  # first of those behind the answer 1,
    high: list[int] = field(default_factory=list)  # last, and 1
    children: list[list[int]] = field(default_factory=list)  # behind the answers 0 and 1

    def walk(self, sums: memoryview, coder: Coder, mixer: Mixer | None, leaf: int = -1) -> int:
        """Code one leaf with the odds `sums` (int64 [n + 1]), and return it.

        `mixer` may change the odds. When unpacking, `leaf` does not matter.
        """
        node = 0 if self.low else -1
        while node >= 0:
            middle = self.middle[node]
            before = sums[self.low[node]]
            zeros, total = sums[middle] - before, sums[self.high[node]] - before
            if mixer is None:
                one = coder.decide(zeros, total, leaf >= middle)
            else:
                one = mixer.decide(coder, node, zeros, total, leaf >= middle)
            node = self.children[node][one]
        return ~node


def build(words: Sequence[bytes]) -> Tree:
    """The tree over sorted, distinct, non-empty words."""
    tree = Tree()
    # (first leaf, last leaf + 1, bytes behind, bit of the next byte or -1: may end; slot to fill)
    work: list[tuple[int, int, int, int, list[int], int]] = [(0, len(words), 0, -1, [0], 0)]
    while work:
        low, high, depth, bit, slot, side = work.pop()
        if high - low == 1:
            slot[side] = ~low
            continue
        if bit < 0:
            bit = 8
            middle = low + 1 if len(words[low]) == depth else low
        else:
            prefix, byte = words[low][:depth], words[low][depth] >> bit << bit | 1 << bit
            middle = bisect_left(words, prefix + bytes([byte]), low, high)
        next_depth, next_bit = (depth + 1, -1) if bit == 0 else (depth, bit - 1)
        if low < middle < high:
            slot[side] = len(tree.low)
            children = [0, 0]
            tree.low.append(low)
            tree.middle.append(middle)
            tree.high.append(high)
            tree.children.append(children)
            work.append((middle, high, next_depth, next_bit, children, 1))
            work.append((low, middle, next_depth, next_bit, children, 0))
        else:
            work.append((low, high, next_depth, next_bit, slot, side))
    return tree
