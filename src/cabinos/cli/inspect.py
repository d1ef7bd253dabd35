"""`cabin inspect`: look inside a model, in torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.options import as_json
from cabinos.cli.terminal import clean, note, print_json

if TYPE_CHECKING:
    from cabinos.train.inspect.ablation import Neuron
    from cabinos.train.inspect.report import Picture
    from cabinos.train.inspect.subject import Subject
    from cabinos.train.inspect.views import Reading

model_argument = click.argument("model", type=click.Path(path_type=Path))
out_option = click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="Write report.html and its pictures there.",
)  # fmt: skip
Lines = click.Path(exists=True, dir_okay=False, path_type=Path)


def _open(path: Path) -> "Subject":
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.inspect.subject import open_subject

    return open_subject(path)


@click.group("inspect")
def inspect_group() -> None:
    """Look inside a model: what each part does with a text, and what happens without it.

    MODEL is the folder of a training run, a Hugging Face folder, or a GGUF file of the Llama
    family.
    """


@inspect_group.command("text")
@model_argument
@click.argument("text")
@out_option
@as_json
def text_command(model: Path, text: str, output: Path | None, as_json: bool) -> None:
    """Loss and guesses by token, the logit lens, attention, and heads and neurons left out."""
    subject = _open(model)
    from cabinos.train.inspect import ablation
    from cabinos.train.inspect.views import look

    ids = subject.tokens(text)
    reading = look(subject, ids)
    effects, neurons = ablation.heads(subject, ids), ablation.neurons(subject, ids)
    if output is not None:
        from cabinos.train.inspect import plots
        from cabinos.train.inspect.report import Picture

        pictures = [
            Picture("loss", plots.loss(reading), "What each token cost, in bits."),
            Picture("lens", plots.lens(reading), "The likeliest next word after each layer."),
            Picture("heads", plots.head_effects(effects), "The text's cost without each head."),
            Picture("attention", plots.attention(reading), "Who looks at whom: rows at columns."),
        ]
        _write(output, f"{model.name}: {text[:80]}", pictures, reading, neurons)
    if as_json:
        print_json(
            {
                "tokens": [
                    {"text": s.word, "bits": s.bits, "rank": s.rank, "guesses": s.guesses}
                    for s in reading.steps
                ],
                "next": reading.next,
                "lens": {"words": reading.lens.words, "bits": reading.lens.bits.tolist()},
                "heads": effects.tolist(),
                "neurons": [vars(neuron) for neuron in neurons],
            }
        )
    else:
        _show_reading(reading, effects.tolist(), neurons)


@inspect_group.command("induction")
@model_argument
@click.option("--seed", default=0, show_default=True, help="Of the random tokens.")
@out_option
@as_json
def induction_command(model: Path, seed: int, output: Path | None, as_json: bool) -> None:
    """Which heads look for what came after the same token before."""
    subject = _open(model)
    from cabinos.train.inspect.induction import induction

    found = induction(subject, seed=seed)
    if output is not None:
        from cabinos.train.inspect import plots
        from cabinos.train.inspect.report import Picture

        caption = "Share of attention to what followed the same token before."
        picture = Picture("induction", plots.induction(found), caption)
        _write(output, f"{model.name}: induction heads", [picture])
    if as_json:
        facts = {"scores": found.scores.tolist(), "previous": found.previous.tolist()}
        print_json({**facts, "first_bits": found.first, "second_bits": found.second})
        return
    _grid(found.scores.tolist(), "induction score")
    click.echo(
        f"random tokens cost {found.first:.2f} bits each the first time, {found.second:.2f} the "
        "second"
    )


@inspect_group.command("steer")
@model_argument
@click.argument("text")
@click.option("--toward", required=True, type=Lines, help="Prompts of the wanted kind, one a line.")
@click.option("--away", required=True, type=Lines, help="Prompts of the other kind, one a line.")
@click.option("--strength", default=1.0, show_default=True, help="Times the difference of means.")
@click.option("-n", "count", type=click.IntRange(min=1), default=40, show_default=True)
@out_option
@as_json
def steer_command(
    model: Path,
    text: str,
    toward: Path,
    away: Path,
    strength: float,
    count: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Continue TEXT while the stream is pushed from one kind of prompts to another."""
    subject = _open(model)
    from cabinos.train.inspect.direction import continue_text, find_direction
    from cabinos.train.inspect.hooks import steered

    kinds = [[subject.tokens(line) for line in _lines(path)] for path in (toward, away)]
    direction = find_direction(subject, *kinds)
    ids, said = subject.tokens(text), {}
    for name, push in (("away", -strength), ("as it is", 0.0), ("toward", strength)):
        with steered(subject.model, direction.layer, push * direction.vector):
            found = continue_text(subject, ids, count, frozenset())
        said[name] = "".join(map(subject.word, found))
    if output is not None:
        from cabinos.train.inspect import plots
        from cabinos.train.inspect.report import Picture

        picture = Picture("separation", plots.separation(direction), "Held-out prompts told apart.")
        _write(output, f"{model.name}: steering", [picture])
    if as_json:
        facts = {"layer": direction.layer, "separation": direction.separation}
        print_json({**facts, "said": said})
        return
    shares = " ".join(f"{share:.2f}" for share in direction.separation)
    click.echo(f"held-out prompts told apart, by layer: {shares}; layer {direction.layer} is used")
    for name, words in said.items():
        click.echo(f"{name + ':':10} {clean(text)}▸{clean(words)}")


@inspect_group.command("refusal")
@click.argument("model", required=False, type=click.Path(path_type=Path))
@out_option
@as_json
def refusal_command(model: Path | None, output: Path | None, as_json: bool) -> None:
    """The direction between calling a tool and declining, and what turning it does.

    Default: the brain in the box.
    """
    from cabinos.drivers.model.brain import BUILT_IN

    subject = _open(model or BUILT_IN)
    from cabinos.train.inspect.refusal import refusal

    found = refusal(subject)
    if output is not None:
        from cabinos.train.inspect import plots
        from cabinos.train.inspect.report import Picture

        pictures = [
            Picture("refusal", plots.refusal(found), "How likely the answer begins with a call."),
            Picture("separation", plots.separation(found.direction), "Held-out requests."),
        ]
        _write(output, f"{Path(subject.name).name}: calling and declining", pictures)
    if as_json:
        facts = {"layer": found.direction.layer, "separation": found.direction.separation}
        print_json({**facts, "chances": found.chances})
        return
    click.echo(f"direction after layer {found.direction.layer}, held-out requests told apart: "
               f"{found.direction.separation[found.direction.layer]:.2f}")  # fmt: skip
    click.echo("how likely a call is, for a request for …    a tool    none of them")
    for name, (call, decline) in found.chances.items():
        click.echo(f"  {name:40} {call:8.1%} {decline:15.1%}")


# ---- What a person sees --------------------------------------------------------------------------


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _write(
    folder: Path,
    title: str,
    pictures: "Sequence[Picture]",
    reading: "Reading | None" = None,
    neurons: "Sequence[Neuron]" = (),
) -> None:
    from cabinos.train.inspect.report import page

    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        (folder / f"{picture.name}.png").write_bytes(picture.png)
    (folder / "report.html").write_text(page(title, pictures, reading, neurons), encoding="utf-8")
    note(f"{folder / 'report.html'} is written.", dim=False)


def _quoted(word: str) -> str:
    return repr(clean(word))


def _show_reading(
    reading: "Reading", effects: list[list[float]], neurons: "Sequence[Neuron]"
) -> None:
    for step in reading.steps:
        guesses = ", ".join(f"{_quoted(word)} {share:.0%}" for word, share in step.guesses[:3])
        click.echo(f"{step.bits:7.2f} bits  {_quoted(step.word):16}  {guesses}")
    following = ", ".join(f"{_quoted(word)} {share:.0%}" for word, share in reading.next)
    click.echo(f"then: {following}")
    means = reading.lens.bits.mean(1).tolist()
    layers = ", ".join(f"{bits:.2f}" for bits in means)
    click.echo(f"logit lens, bits a token from the embedding to the last layer: {layers}")
    _grid(effects, "bits a token more without the head")
    for neuron in neurons[:5]:
        words = ", ".join(map(_quoted, neuron.promotes[:3]))
        click.echo(
            f"neuron {neuron.layer}.{neuron.index}: {neuron.effect:+.3f} bits a token without it; "
            f"fires at {_quoted(neuron.where)}, raises {words}"
        )


def _grid(values: list[list[float]], title: str) -> None:
    shown: list[Any] = [f"{title} (a row for each layer, a column for each head)"]
    shown += ["  ".join(f"{value:6.3f}" for value in row) for row in values]
    click.echo("\n".join(shown))
