"""`cabin label` and `cabin pairs`: collect comparisons; take them from format to format."""

import hashlib
import secrets
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.errors import Failure
from cabinos.cli.options import as_json
from cabinos.cli.rater import TerminalRater, habits, habits_json, rater_option
from cabinos.cli.terminal import note, print_json, show

if TYPE_CHECKING:
    from cabinos.lab.comparisons.labelling import Labelling

ExistingFile = click.Path(exists=True, dir_okay=False, path_type=Path)
NewFile = click.Path(dir_okay=False, path_type=Path)
FORMATS = ("pairs", "hh", "ultrafeedback")


@click.command("label")
@click.argument("file", type=ExistingFile)
@click.option(
    "--out",
    type=NewFile,
    help="Where the pairs go; what was said is kept beside it, in NAME.votes.jsonl. Default: "
    "FILE-labelled.jsonl.",
)
@rater_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after N answers.")
@click.option("--seed", type=int, help="Of sides and order. Default: a new one, which is kept.")
@click.option("--report", is_flag=True, help="Ask nothing: only write the pairs and the figures.")
@as_json
def label_command(
    file: Path,
    out: Path | None,
    rater: str,
    limit: int | None,
    seed: int | None,
    report: bool,
    as_json: bool,
) -> None:
    """Compare answers, blind, and write down which is better.

    FILE has lines of {"prompt": [messages], "responses": [[messages], [messages]]}, or pairs in any
    format that `cabin pairs` reads, which are compared once more. One answer in ten is asked for a
    second time. Whoever stops, in whatever way, goes on with the same command.
    """
    from cabinos.lab.comparisons.collect import collect
    from cabinos.lab.comparisons.formats import read_candidates, write_pairs
    from cabinos.lab.comparisons.labelling import Labelling
    from cabinos.lab.comparisons.log import Log, read_log

    out = out or file.with_name(f"{file.name.partition('.')[0]}-labelled.jsonl")
    votes = out.with_suffix(".votes.jsonl")
    if out.resolve() == file.resolve():
        raise click.UsageError("--out is the file that is read: name another.")
    items = list(read_candidates(file))
    if not items:
        raise Failure(f"{file}: there is nothing to compare.")
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if seed is None:
        seed = read_log(votes, "labels")[0].get("seed", secrets.randbits(31))
    with Log(votes, {"log": "labels", "items": digest, "seed": seed}) as log:
        labelling = Labelling(items, log, rater)
        if not report:
            person = TerminalRater(lambda: f"{labelling.done + 1} of {labelling.total}")
            collect(labelling, person, limit=limit)
        written = write_pairs(labelling.pairs(), out)
    _tell(labelling, out, written.pairs, as_json)


def _tell(labelling: "Labelling", out: Path, pairs: int, as_json: bool) -> None:
    from cabinos.lab.comparisons.labelling import summary

    same, leaning = summary(labelling.votes)
    said = Counter(vote.verdict for vote in labelling.votes if not vote.repeat)
    if as_json:
        print_json({
            "pairs": pairs,
            "of": labelling.total,
            "file": str(out),
            "ties": said["tie"],
            "both_bad": said["bad"],
            "skipped": said["skip"],
            **habits_json(same, leaning),
        })  # fmt: skip
        return
    note(
        f"{labelling.done} of {labelling.total} done: {said['tie']} ties, {said['bad']} both bad, "
        f"{said['skip']} skipped. {pairs} pairs are in {out}.",
        dim=False,
    )
    for line in habits(same, leaning):
        note(line, dim=False)


# ---- Files of pairs ------------------------------------------------------------------------------


@click.group("pairs")
def pairs_group() -> None:
    """Files of comparisons: what is in one, and other people's formats."""


@pairs_group.command("convert")
@click.argument("source", type=ExistingFile)
@click.argument("target", type=NewFile)
@click.option(
    "--as",
    "form",
    type=click.Choice(FORMATS),
    default="pairs",
    show_default=True,
    help="What TARGET is to be.",
)
@as_json
def convert_command(source: Path, target: Path, form: str, as_json: bool) -> None:
    """Write SOURCE to TARGET in another format.

    What SOURCE is can be seen from it: Cabin's pairs, HH-RLHF, or UltraFeedback; also packed, .gz
    or .xz. What a format has no place for (ties, tools) is left out and counted.
    """
    from cabinos.lab.comparisons.formats import read_pairs, write_pairs

    written = write_pairs(read_pairs(source), target, form)
    if as_json:
        print_json({"pairs": written.pairs, "left_out": dict(written.left_out)})
        return
    left = "".join(f"; left out: {count} {why}" for why, count in written.left_out.items())
    click.echo(f"{target}: {written.pairs:,} pairs{left}")


@pairs_group.command("report")
@click.argument("file", type=ExistingFile)
@as_json
def report_command(file: Path, as_json: bool) -> None:
    """Count what is in FILE.

    Pairs, ties, sources, raters, and how often the longer answer won.
    """
    facts = _facts(file)
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name or '(none)'} {n:,}" for name, n in value.items())  # noqa: PLW2901
        show([f"{key.replace('_', ' '):<24} {value}"])


def _facts(file: Path) -> dict[str, Any]:
    from cabinos.lab.comparisons.formats import read_pairs
    from cabinos.lab.comparisons.pair import text_of
    from cabinos.lab.evaluate.scoring import wilson

    counts: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    raters: Counter[str] = Counter()
    prompts: set[str] = set()
    for pair in read_pairs(file):
        counts.update({"pairs": 1, "ties": pair.tie, "both_bad": pair.both_bad})
        sources[pair.source] += 1
        raters[pair.rater] += 1
        prompts.add(hashlib.sha256(repr(pair.prompt).encode("utf-8", "replace")).hexdigest())
        chosen, rejected = len(text_of(pair.chosen)), len(text_of(pair.rejected))
        if not pair.tie and chosen != rejected:
            counts.update({"longer": chosen > rejected, "of_unequal": 1})
    low, high = wilson(counts["longer"], counts["of_unequal"])
    return {
        "pairs": counts["pairs"],
        "prompts": len(prompts),
        "ties": counts["ties"],
        "both_bad": counts["both_bad"],
        "longer_won": counts["longer"],
        "of_unequal_length": counts["of_unequal"],
        "longer_won_interval": [round(low, 4), round(high, 4)],
        "sources": dict(sources.most_common(20)),
        "raters": dict(raters.most_common(20)),
    }
