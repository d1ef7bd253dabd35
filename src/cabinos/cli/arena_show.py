"""`cabin arena leaderboard` and `plot`: what the battles say."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cabinos.cli.errors import Failure
from cabinos.cli.options import arena_option, as_json
from cabinos.cli.rater import habits, habits_json
from cabinos.cli.terminal import clean, note, print_json

if TYPE_CHECKING:
    from cabinos.lab.arena.leaderboard import Effect, Leaderboard, Standing

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    arena_option,
    click.option("--by", metavar="WHO", help="Only battles decided by human, checker or judge."),
    click.option("--style", is_flag=True, help="As if all answers were of one length and layout."),
    click.option(
        "--rounds",
        type=click.IntRange(min=20),
        default=200,
        show_default=True,
        help="Of the bootstrap that gives the intervals.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap."),
)


def board_options(command: F) -> F:
    """Which battles, and how they are made into ratings."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _board(arena: Path, by: str | None, style: bool, rounds: int, seed: int) -> "Leaderboard":
    from cabinos.lab.arena.battles import read_battles
    from cabinos.lab.arena.contestants import read_facts
    from cabinos.lab.arena.leaderboard import build

    battles = read_battles(arena)
    if by is not None:
        battles = [b for b in battles if by in (b.by, b.by.partition(":")[0])]
    return build(battles, read_facts(arena), style=style, rounds=rounds, seed=seed)


@click.command("leaderboard")
@board_options
@as_json
def leaderboard_command(as_json: bool, **options: Any) -> None:
    """Rate the models: Bradley-Terry, with 95 % intervals."""
    board = _board(**options)
    if as_json:
        print_json(_as_json(board))
    else:
        _show(board)


def _show(board: "Leaderboard") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("rank", "model", "rating", "95 %", "battles", "won", "kind", "released"):
        left = name in ("model", "kind", "released")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "model")
    for row in board.standings:
        table.add_row(
            str(row.rank),
            Text(clean(row.model)),
            f"{row.rating:.0f}",
            f"{row.low:.0f} – {row.high:.0f}",
            f"{row.battles:,}",
            f"{100 * row.won:.0f} %",
            {True: "open", False: "closed", None: ""}[row.open],
            str(row.released or ""),
        )
    console = Console() if Console().is_terminal else Console(width=120)
    console.print(table)
    for line in _remarks(board):
        note(line, dim=False)


def _remarks(board: "Leaderboard") -> list[str]:
    by = ", ".join(f"{who} {count:,}" for who, count in board.by.items())
    lines = [f"\n{board.battles:,} battles ({by}), {100 * board.ties:.0f} % without a winner."]
    if board.drawn:
        lines.append(
            "The battles alone bound no rating: somebody never lost, or a side or a style always "
            "won. Half a draw with an average model was added for each. More battles will tell."
        )
    for who, share in board.consistent.items():
        lines.append(f"{who} said the same both ways round in {100 * share:.0f} % of its battles.")
    lines += [_effect(effect) for effect in board.effects]
    return lines + habits(board.agreement, board.lean)


def _effect(effect: "Effect") -> str:
    said = f"{effect.points:+.0f} points ({effect.low:+.0f} – {effect.high:+.0f})"
    if effect.name == "left side":
        return f"Standing on the left is worth {said}."
    return f"A standard deviation more of {effect.name} is worth {said}."


def _as_json(board: "Leaderboard") -> dict[str, Any]:
    from dataclasses import asdict

    def row(standing: "Standing") -> dict[str, Any]:
        day = standing.released
        return {**asdict(standing), "released": day.isoformat() if day else None}

    return {
        "standings": [row(standing) for standing in board.standings],
        "effects": [asdict(effect) for effect in board.effects],
        "battles": board.battles,
        "by": dict(board.by),
        "ties": board.ties,
        "consistent": dict(board.consistent),
        "drawn": board.drawn,
        **habits_json(board.agreement, board.lean),
    }


@click.command("plot")
@board_options
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A PNG file. Default: arena.png in the arena's folder.",
)
@as_json
def plot_command(output: Path | None, as_json: bool, **options: Any) -> None:
    """Draw the ratings, and the gap over time.

    The gap is that between the best open and the best closed model. What is open and since when it
    is there stands in arena.toml, in the arena's folder.
    """
    from dataclasses import asdict

    from cabinos.lab.arena.gap import gaps, plot

    board = _board(**options)
    picture = output or options["arena"] / "arena.png"
    try:
        plot(board, picture)
    except ImportError:
        raise Failure("plots need matplotlib: pip install 'cabinos[train]'.") from None
    moments = gaps(board)
    if as_json:
        rows = [{**asdict(moment), "day": moment.day.isoformat()} for moment in moments]
        print_json({"picture": str(picture), "gap": rows})
        return
    click.echo(f"{picture} is written.")
    if not moments:
        note("No gap: arena.toml names no open and closed models with the days of their release.")
        return
    last = moments[-1]
    ahead = "ahead of" if last.gap >= 0 else "behind"
    note(
        f"The best closed model is {abs(last.gap):.0f} points {ahead} the best open one "
        f"({last.low:+.0f} – {last.high:+.0f}).",
        dim=False,
    )
