"""`cabin arena`: models answer the same prompts; people, checks or a model say who is better."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.arena_show import leaderboard_command, plot_command
from cabinos.cli.data import data_option
from cabinos.cli.errors import INTERRUPTED, Failure
from cabinos.cli.options import arena_option, as_json
from cabinos.cli.rater import TerminalRater, habits, habits_json, rater_option
from cabinos.cli.terminal import note, print_json

if TYPE_CHECKING:
    from cabinos.lab.arena.answers import Answer, Settings
    from cabinos.lab.arena.battles import Battles
    from cabinos.lab.arena.contestants import Contestant
    from cabinos.lab.arena.prompts import Prompt
    from cabinos.lab.evaluate.suite import Case, Suite

SUITES = ("templates", "arithmetic", "clinc", "xquad", "bfcl")
GOES_ON = "What is done is kept; the same command goes on."


yes_option = click.option("--yes", is_flag=True, help="Do not ask before money is spent.")


@click.group("arena")
def arena_group() -> None:
    """Have models answer the same prompts, and find out who is better.

    run, then vote or battle, then leaderboard. All of it lies in one folder.
    """


arena_group.add_command(leaderboard_command)
arena_group.add_command(plot_command)


# ---- Answers -------------------------------------------------------------------------------------


@arena_group.command("run")
@click.argument("models", nargs=-1, required=True)
@arena_option
@click.option(
    "--prompts",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='Lines of {"prompt": "…"} or {"turns": […]}. Default: the set arena_prompts.',
)
@click.option(
    "--suite",
    "suites",
    type=click.Choice(SUITES),
    multiple=True,
    help="Cases of `cabin eval` instead, which it judges; may be repeated.",
)
@data_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="N prompts, of all kinds.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Of an answer.  [default: 512]")
@click.option("--temperature", type=click.FloatRange(min=0), help="Default: each model's own.")
@click.option("--seed", type=int, help="Of choices.  [default: 0]")
@click.option(
    "--tools/--no-tools",
    default=None,
    help="As Cabin's brain, with its devices and without chance; or as they are.",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the engine.")
@yes_option
@as_json
def run_command(
    models: tuple[str, ...],
    folder: Path,
    arena: Path,
    file: Path | None,
    suites: tuple[str, ...],
    limit: int | None,
    threads: int | None,
    yes: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Have MODELS answer the prompts.

    MODELS are names of configured models, GGUF files, or names out of arena.toml. What has been
    answered is kept, so more models and more prompts can join at any time.
    """
    from cabinos.lab.arena.answers import Answers, cost, read_answers
    from cabinos.lab.arena.contestants import Facts, name_of, open_contestant, read_facts

    known = read_facts(arena)
    contestants = []
    for wanted in models:
        name = name_of(wanted)
        facts = known.get(name, Facts(wanted))
        contestants.append(open_contestant(name, facts.model, threads))
    if len({contestant.name for contestant in contestants}) < len(contestants):
        raise click.UsageError("two models of one name: give them other names in arena.toml.")
    prompts = [] if suites else _prompts(file, folder, limit)
    chosen = _settings(arena, settings)
    before = read_answers(arena)
    for contestant in contestants:
        left = [prompt for prompt in prompts if (contestant.name, prompt.id) not in before]
        dollars = cost(contestant.model, left, chosen)
        if dollars:
            _pay(f"{contestant.name}: at most ${dollars:,.2f} for {len(left)} prompts.", yes)
        elif suites and any(contestant.model.price):
            _pay(f"{contestant.name} costs money, and a case of a suite is a conversation.", yes)
    with Answers(arena, chosen) as answers:
        works = [_cases(name, folder, limit, chosen.seed) for name in suites]
        troubles = _answer(contestants, prompts, works, answers)
        counts = {c.name: sum(key[0] == c.name for key in answers.found) for c in contestants}
    if as_json:
        print_json({"arena": str(arena), "answers": counts, "troubles": troubles})
    else:
        for name, count in counts.items():
            click.echo(f"{name}: {count:,} answers")
    if troubles:
        raise Failure(" ".join([*troubles.values(), GOES_ON]))


def _pay(what: str, yes: bool) -> None:
    """Says what will be spent, and asks unless the answer is known."""
    note(what, dim=False)
    if not yes:
        click.confirm("Go on?", abort=True, err=True)


def _prompts(file: Path | None, folder: Path, limit: int | None) -> "list[Prompt]":
    from cabinos.lab.arena.prompts import prompts_of, read_prompts
    from cabinos.lab.evaluate.sets import read_set
    from cabinos.lab.evaluate.suite import Case, chosen

    found = read_prompts(file) if file else prompts_of(read_set(folder, "arena_prompts"))
    cases = [Case(prompt.id, prompt.category, prompt) for prompt in found]
    return [case.data for case in chosen(cases, limit, 0)]


def _cases(name: str, folder: Path, limit: int | None, seed: int) -> "tuple[Suite, Sequence[Case]]":
    from cabinos.lab.evaluate.suite import chosen
    from cabinos.lab.evaluate.suites import build

    suite = build(name, folder, seed)
    return suite, chosen(suite.cases(), limit, seed)


def _settings(arena: Path, given: dict[str, Any]) -> "Settings":
    """Those that the arena was begun with, but for what is given."""
    from cabinos.lab.arena.answers import Settings
    from cabinos.lab.comparisons.log import read_log

    before = read_log(arena / "answers.jsonl", "answers")[0]
    kept = {key: before[key] for key in Settings.__slots__ if key in before}
    told = {key: value for key, value in given.items() if value is not None}
    return Settings(**{**kept, **told})


def _answer(
    contestants: "Sequence[Contestant]",
    prompts: "Sequence[Prompt]",
    works: "Sequence[tuple[Suite, Sequence[Case]]]",
    answers: Any,
) -> dict[str, str]:
    """One model after the other; returns what went wrong with whom."""
    from cabinos.kernel.errors import ModelError
    from cabinos.lab.arena.answers import answer_all, answer_suite, case_id
    from cabinos.lab.evaluate.converse import backstage

    troubles: dict[str, str] = {}

    async def ask(contestant: "Contestant", told: Callable[[int], None]) -> None:
        try:
            if prompts:
                await answer_all(contestant, prompts, answers, told)
            for suite, cases in works:
                await answer_suite(contestant, suite, cases, answers, told)
        finally:
            if close := getattr(contestant.model, "close", None):
                await close()

    asked = [prompt.id for prompt in prompts]
    asked += [case_id(suite, case) for suite, cases in works for case in cases]
    with backstage():
        for contestant in contestants:
            done = sum((contestant.name, prompt) in answers.found for prompt in asked)
            with _bar(contestant.name, len(asked), done) as told:
                try:
                    _run(ask(contestant, told))
                except ModelError as error:
                    troubles[contestant.name] = str(error)
    return troubles


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Runs it; Ctrl-C ends the command with a word of comfort."""
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        note(f"Stopped. {GOES_ON}", dim=False)
        raise SystemExit(INTERRUPTED) from None


@contextmanager
def _bar(title: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(title, total=total, completed=min(done, total))
        yield lambda count: bar.advance(task, count)


# ---- Battles -------------------------------------------------------------------------------------


@arena_group.command("vote")
@arena_option
@rater_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after N battles.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of sides and repeats.")
@as_json
def vote_command(arena: Path, rater: str, limit: int | None, seed: int, as_json: bool) -> None:
    """Decide battles yourself, blind.

    Those meet of whom there is most to learn. One battle in ten is shown a second time.
    """
    from cabinos.lab.arena.answers import read_answers
    from cabinos.lab.arena.battles import Battles
    from cabinos.lab.arena.voting import Voting, human_habits
    from cabinos.lab.comparisons.collect import collect

    answers = _read(arena, read_answers(arena))
    with Battles(arena) as battles:
        ballot = Voting(answers, battles, f"human:{rater}", seed=seed)
        if ballot.next() is None:
            note("There is nothing more to compare here: have more models, or more prompts.")
        person = TerminalRater(lambda: f"battle {len(ballot.mine) + 1}")
        new = collect(ballot, person, limit=limit)
        same, leaning = human_habits(ballot.mine)
        count = len(ballot.mine)
    if as_json:
        print_json({"new": new, "battles": count, **habits_json(same, leaning)})
        return
    for line in (f"{new} new, {count} in all: cabin arena leaderboard.", *habits(same, leaning)):
        note(line, dim=False)


@arena_group.command("battle")
@arena_option
@click.option(
    "--by",
    type=click.Choice(["checker", "judge"]),
    required=True,
    help="What was verified while they answered; or a model that is asked both ways round.",
)
@click.option("--judge", metavar="MODEL", help="The judge: none of those who take part.")
@click.option("--battles", "wanted", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of who meets.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the engine.")
@yes_option
@as_json
def battle_command(
    arena: Path,
    by: str,
    judge: str | None,
    wanted: int,
    seed: int,
    threads: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Have a check or a model decide battles.

    A check decides all that there are; a judge, --battles more.
    """
    from cabinos.lab.arena.answers import read_answers
    from cabinos.lab.arena.battles import Battles
    from cabinos.lab.arena.checker import check
    from cabinos.lab.arena.contestants import name_of, open_contestant
    from cabinos.lab.arena.judge import cost

    if (judge is not None) != (by == "judge"):
        raise click.UsageError("--judge MODEL goes with --by judge.")
    answers = _read(arena, read_answers(arena))
    silent = 0
    opened = None if judge is None else open_contestant(name_of(judge), judge, threads)
    if opened is not None and (dollars := cost(opened.model, answers.values(), wanted)):
        _pay(f"{opened.name}: at most ${dollars:,.2f} for {wanted} battles.", yes)
    with Battles(arena) as battles:
        before = len(battles.found)
        if opened is None:
            for battle in list(check(answers, battles.found)):
                battles.add(battle)
        else:
            silent = _judge(opened, answers, battles, wanted, seed)
        new = len(battles.found) - before
    if as_json:
        print_json({"new": new, "without_verdict": silent})
        return
    gave_none = f" {silent} times the judge gave no verdict." if silent else ""
    click.echo(f"{new:,} new battles.{gave_none} See cabin arena leaderboard.")


def _judge(
    opened: "Contestant",
    answers: "dict[tuple[str, str], Answer]",
    battles: "Battles",
    wanted: int,
    seed: int,
) -> int:
    """Has `wanted` battles judged; returns how often there was no verdict."""
    from cabinos.lab.arena.judge import judge_battles

    if any(answer.hash == opened.hash for answer in answers.values()):
        note(f"{opened.name} takes part and judges: it may prefer what it wrote.", dim=False)
    silent = 0

    async def work(told: Callable[[int], None]) -> None:
        nonlocal silent
        try:
            silent = await judge_battles(opened, answers, battles, wanted, seed=seed, told=told)
        finally:
            if close := getattr(opened.model, "close", None):
                await close()

    with _bar(opened.name, wanted) as told:
        _run(work(told))
    return silent


@arena_group.command("pairs")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@arena_option
@click.option("--by", metavar="WHO", default="human", show_default=True, help="human, judge, …")
@as_json
def pairs_command(out: Path, arena: Path, by: str, as_json: bool) -> None:
    """Write the battles to OUT, to learn from.

    They are pairs, as `cabin pairs` reads them.
    """
    from cabinos.lab.arena.answers import read_answers
    from cabinos.lab.arena.battles import read_battles
    from cabinos.lab.arena.voting import as_pairs
    from cabinos.lab.comparisons.formats import write_pairs

    answers = read_answers(arena)
    chosen = [battle for battle in read_battles(arena) if battle.by.partition(":")[0] == by]
    written = write_pairs(as_pairs(chosen, answers), out)
    if as_json:
        print_json({"pairs": written.pairs, "file": str(out)})
    else:
        click.echo(f"{out}: {written.pairs:,} pairs")


def _read(arena: Path, answers: "dict[tuple[str, str], Answer]") -> "dict[tuple[str, str], Answer]":
    """Raises Failure where nobody has answered yet."""
    if not answers:
        raise Failure(f"{arena}: nobody has answered here yet. First: cabin arena run MODEL MODEL.")
    return answers
