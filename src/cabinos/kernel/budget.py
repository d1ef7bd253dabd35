"""Budgets: tokens, money and time, for a process and all its children together.

What a thought may cost at most is reserved in every account from the process up to its root before
the model is asked, and settled to what it did cost after. Accounts are part of the process's row: a
restart resets nothing, and what was reserved when the machine died counts as spent, since the
model's owner may charge for it. So no restart, fork or child gets past a limit.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cabinos.kernel.errors import BudgetExceeded

__all__ = ["Account", "Budget"]

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MICRO = 1_000_000  # money is kept in millionths of a dollar, so that sums are exact


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits; None is without limit.

    `tokens` counts what is read and written. `wall` is the time it may think and act, in seconds or
    as "90s", "10m", "2h", "1d"; waiting for a person, a message or the clock is free. `usd` is in
    dollars. Raises ValueError for what is no limit.
    """

    tokens: int | None = None
    wall: float | str | None = None
    usd: float | None = None

    def __post_init__(self) -> None:
        for name, kind in (("tokens", int), ("usd", int | float)):
            value = getattr(self, name)
            number = isinstance(value, kind) and not isinstance(value, bool)
            if value is not None and (not number or not 0 <= value < math.inf):
                raise ValueError(f"a budget's {name} must be a number from 0, not {value!r}")
        object.__setattr__(self, "wall", _seconds(self.wall))

    def account(self) -> "Account":
        """An account with these limits and nothing spent."""
        usd = None if self.usd is None else round(self.usd * MICRO)
        assert not isinstance(self.wall, str)
        return Account(self.tokens, self.wall, usd)


def _seconds(wall: float | str | None) -> float | None:
    number = isinstance(wall, int | float) and not isinstance(wall, bool)
    if wall is None or (number and 0 <= wall < math.inf):  # type: ignore[operator] # a number
        return wall  # type: ignore[return-value] # the same
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(wall))
    if not match:
        raise ValueError(f"a budget's wall is seconds or like '10m' (s, m, h, d), not {wall!r}")
    return float(match[1]) * UNITS[match[2]]


@dataclass(slots=True)
class Account:
    """The limits of one process and its children, what they have spent, and what is reserved."""

    token_limit: int | None = None
    second_limit: float | None = None
    micro_limit: int | None = None
    tokens: int = 0
    seconds: float = 0.0
    micros: int = 0  # millionths of a dollar
    reserved_tokens: int = 0
    reserved_micros: int = 0

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Account":
        """The account as `to_json` gave it."""
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """Plain data; what is not limited, and most of what is zero, is left out."""
        data: dict[str, Any] = {"tokens": self.tokens, "seconds": round(self.seconds, 4)}
        data |= {name: limit for name in LIMITS if (limit := getattr(self, name)) is not None}
        return data | {name: sum_ for name in SUMS if (sum_ := getattr(self, name))}

    @property
    def tokens_left(self) -> int | None:
        """Tokens that can still be reserved; None: any number."""
        if self.token_limit is None:
            return None
        return max(0, self.token_limit - self.tokens - self.reserved_tokens)

    @property
    def seconds_left(self) -> float | None:
        """Seconds of thinking and acting left; None: any number."""
        return None if self.second_limit is None else max(0.0, self.second_limit - self.seconds)

    @property
    def usd(self) -> float:
        """Dollars spent."""
        return self.micros / MICRO

    def forget_reservations(self) -> bool:
        """Counts what is reserved as spent: nobody will settle it any more. Says if there was."""
        lost = bool(self.reserved_tokens or self.reserved_micros)
        self.tokens += self.reserved_tokens
        self.micros += self.reserved_micros
        self.reserved_tokens = self.reserved_micros = 0
        return lost


LIMITS = ("token_limit", "second_limit", "micro_limit")  # of which 0 and none are not the same
SUMS = ("micros", "reserved_tokens", "reserved_micros")


def affordable(accounts: Iterable[tuple[int, Account]], tokens: int, least: int) -> int:
    """How many of `tokens` every account covers; raises BudgetExceeded if fewer than `least`."""
    for pid, account in accounts:
        if account.seconds_left == 0:
            raise BudgetExceeded(f"process {pid} has used its {account.second_limit:g} seconds.")
        left = account.tokens_left
        if left is not None and left < tokens:
            tokens = left
            if tokens < least:
                raise BudgetExceeded(
                    f"process {pid} has {left} of its {account.token_limit} tokens left, and the "
                    f"next thought needs at least {least}."
                )
    return tokens


def seconds_left(accounts: Iterable[tuple[int, Account]]) -> float | None:
    """The least time any of the accounts has left; None: without limit."""
    left = [seconds for _, account in accounts if (seconds := account.seconds_left) is not None]
    return min(left, default=None)


def require_time(accounts: Iterable[tuple[int, Account]]) -> float | None:
    """Like `seconds_left`; raises BudgetExceeded if there is none."""
    left = seconds_left(accounts)
    if left == 0:
        raise BudgetExceeded("the time of its budget, or of an ancestor's, is used up.")
    return left


def reserve(accounts: Sequence[tuple[int, Account]], tokens: int, micros: int) -> None:
    """Reserves in all of the accounts, or in none and raises BudgetExceeded."""
    for pid, account in accounts:
        limit = account.micro_limit
        if limit is not None and account.micros + account.reserved_micros + micros > limit:
            raise BudgetExceeded(
                f"process {pid} has spent ${account.usd:.4f} of ${limit / MICRO:g}, and the next "
                f"thought may cost ${micros / MICRO:.4f}."
            )
    for _, account in accounts:
        account.reserved_tokens += tokens
        account.reserved_micros += micros


def settle(
    accounts: Iterable[tuple[int, Account]],
    reserved: tuple[int, int],
    spent: tuple[int, int],
    seconds: float,
) -> None:
    """Gives a reservation (tokens, micros) back and books what was spent instead."""
    for _, account in accounts:
        account.reserved_tokens -= reserved[0]
        account.reserved_micros -= reserved[1]
        account.tokens += spent[0]
        account.micros += spent[1]
        account.seconds += seconds
