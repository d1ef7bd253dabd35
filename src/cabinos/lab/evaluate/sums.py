"""Suite `sums`: small calculations that are written out, the result among ten candidates.

"12+7 =" → 19, where the nine others are numbers within ten of it: what a base model knows of
arithmetic by itself, without a calculator. Candidates are ranked as in `cloze.py`; chance is 10 %.
"""

from random import Random

from cabinos.lab.evaluate.cloze import Cloze
from cabinos.lab.evaluate.suite import Case

__all__ = ["Sums"]

CANDIDATES, NEAR = 10, 10
EACH = 100  # cases of a kind

KINDS = ("one digit", "two digits", "differences", "products")


class Sums(Cloze):
    """Share of results ranked first, by kind of calculation."""

    name = "sums"
    batch = 8

    def __init__(self, seed: int = 0) -> None:
        cases = []
        for kind in KINDS:
            rng = Random(f"{seed}/sums/{kind}")  # noqa: S311 - not for secrets
            for number in range(EACH):
                text, value = _calculation(kind, rng)
                near = [n for n in range(value - NEAR, value + NEAR + 1) if n >= 0 and n != value]
                others = rng.sample(near, CANDIDATES - 1)
                candidates = [str(n) for n in (value, *others)]
                cases.append(Case(f"{kind} {number} {text}", kind, (text, candidates)))
        super().__init__(cases)


def _calculation(kind: str, rng: Random) -> tuple[str, int]:
    """A calculation as the texts write it, up to the sign of equality, and its value."""
    if kind == "products":
        a, b = rng.randint(2, 12), rng.randint(2, 12)
        return f"{a} x {b} =", a * b
    least, most = (0, 9) if kind == "one digit" else (10, 99)
    a, b = rng.randint(least, most), rng.randint(least, most)
    if kind == "differences":
        a, b = max(a, b), min(a, b)
        return f"{a}-{b} =", a - b
    return f"{a}+{b} =", a + b
