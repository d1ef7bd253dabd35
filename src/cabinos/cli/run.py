"""`cabin run MODEL [PROMPT]`: the model continues a text, raw. A base model dreams a document."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.errors import Failure
from cabinos.cli.terminal import print_json, show

if TYPE_CHECKING:
    from cabinos.engine.constraints import Constraint
    from cabinos.engine.request import Delta
    from cabinos.engine.sampling import SampledToken, SamplingParams
    from cabinos.engine.speculation import Speculation
    from cabinos.engine.tokenizer import Tokenizer

File = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass
class Run:
    """What came out of one run, and how long each part took in seconds."""

    prompt_tokens: int
    seed: int
    load_seconds: float
    text: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list["SampledToken"] = field(default_factory=list)
    finish_reason: str = "cancelled"
    prompt_seconds: float = 0.0
    generate_seconds: float = 0.0
    first_tokens: int = 0  # came with the prompt's own step; they are not part of the speed

    @property
    def prompt_speed(self) -> float:
        """Prompt tokens per second."""
        return self.prompt_tokens / max(self.prompt_seconds, 1e-9)

    @property
    def speed(self) -> float:
        """Generated tokens per second, after the first step; 0 if there was only one step."""
        rest = len(self.tokens) - self.first_tokens
        return rest / self.generate_seconds if rest and self.generate_seconds else 0.0


@click.command("run")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("prompt", required=False)
@click.option(
    "-n",
    "--max-tokens",
    default=256,
    show_default=True,
    metavar="N",
    help="Generate at most N tokens; 0: until the context is full.",
)
@click.option(
    "-t",
    "--temperature",
    default=0.8,
    show_default=True,
    metavar="T",
    help="0 always takes the likeliest token.",
)
@click.option("--top-k", default=0, metavar="K", help="Only the K likeliest; 0: all.")
@click.option(
    "--top-p",
    default=0.95,
    show_default=True,
    metavar="P",
    help="Only the likeliest that together have probability P.",
)
@click.option(
    "--min-p",
    default=0.0,
    metavar="P",
    help="Only those at least P times as likely as the likeliest.",
)
@click.option(
    "--seed",
    type=int,
    metavar="N",
    help="The same seed gives the same text. [default: a fresh one]",
)
@click.option("--stop", multiple=True, metavar="TEXT", help="End before TEXT; may be repeated.")
@click.option(
    "--logprobs",
    type=int,
    metavar="N",
    help="With --json: log-probabilities of each token and the N likeliest.",
)
@click.option("--json-schema", type=File, help="The text must be JSON that fits this schema.")
@click.option("--regex", metavar="PATTERN", help="The text must match this regular expression.")
@click.option("--grammar", type=File, help="The text must fit this Lark grammar.")
@click.option(
    "--draft",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Guess ahead with a smaller model of the same vocabulary: same text, faster.",
)
@click.option("--lookup", is_flag=True, help="Guess ahead by copying from the text so far.")
@click.option(
    "--lora",
    multiple=True,
    metavar="DIR[:SCALE]",
    help="Run with this LoRA adapter (Hugging Face PEFT) merged in; may be repeated.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Compute threads. [default: usable CPUs]",
)
@click.option(
    "--context",
    type=click.IntRange(min=1),
    metavar="N",
    help="Room for N tokens of prompt and text. [default: as many as needed]",
)
@click.option("--echo", is_flag=True, help="Print the prompt first.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.option("-q", "--quiet", is_flag=True, help="No speed line on stderr.")
def run_command(
    model: Path,
    prompt: str | None,
    *,
    json_schema: Path | None,
    regex: str | None,
    grammar: Path | None,
    draft: Path | None,
    lookup: bool,
    lora: tuple[str, ...],
    threads: int | None,
    context: int | None,
    echo: bool,
    as_json: bool,
    quiet: bool,
    **sampling: Any,
) -> None:
    """Continue PROMPT with the MODEL, a GGUF file.

    The text streams to stdout, the speed goes to stderr. PROMPT is read from stdin if it is "-", or
    if it is not given and stdin is not a terminal. Without any prompt, the model dreams from
    nothing.
    """
    text = read_prompt(prompt)
    if sampling["logprobs"] is not None and not as_json:
        raise click.UsageError("--logprobs is part of the JSON output: add --json.")
    constraint = read_constraint(json_schema, regex, grammar)
    if draft and lookup:
        raise click.UsageError("--draft and --lookup exclude each other.")
    params = sampling_params(constraint, sampling)

    from cabinos.engine.generate import generate
    from cabinos.engine.model import Model
    from cabinos.engine.tokenizer import Tokenizer

    started = time.perf_counter()
    if lora:
        from cabinos.engine.lora import merge_cached

        model = merge_cached(model, lora)
    tokenizer = Tokenizer.from_gguf(model)
    tokens = prompt_ids(tokenizer, text)
    if context is None and params.max_tokens is not None:
        context = len(tokens) + params.max_tokens
    with ExitStack() as opened:
        engine = opened.enter_context(Model(model, threads=threads, kv_tokens=context))
        speculation: Speculation | None = None
        if draft or lookup:
            speculation = open_speculation(draft, threads, context, opened)
        assert params.seed is not None
        run = Run(len(tokens), params.seed, time.perf_counter() - started)
        deltas = generate(engine, tokenizer, tokens, params, speculation=speculation)
        texts = follow(deltas, run)
        if as_json:
            run.text = "".join(texts)
            print_json(report(model, run, tokenizer))
            return
        if echo:
            show([text], end="")
        show(texts)
        if not quiet:
            click.echo(summary(run), err=True)


def read_prompt(prompt: str | None) -> str:
    """The prompt: the argument itself, or what stdin holds."""
    if prompt == "-" or (prompt is None and not sys.stdin.isatty()):
        return decode(sys.stdin.buffer.read(), "stdin")
    return prompt or ""


def decode(data: bytes, source: str | Path) -> str:
    """UTF-8 bytes as text; raises Failure, naming the `source`, if they are something else."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        message = f"{source}: not UTF-8 text (byte {error.start} is {data[error.start]:#04x})."
        raise Failure(message) from error


def read_constraint(
    json_schema: Path | None, regex: str | None, grammar: Path | None
) -> "Constraint | None":
    """What the text must fit; raises UsageError if it is more than one thing."""
    if sum(option is not None for option in (json_schema, regex, grammar)) > 1:
        raise click.UsageError("--json-schema, --regex and --grammar exclude each other.")
    if json_schema is None and regex is None and grammar is None:
        return None
    from cabinos.engine.constraints import Constraint

    if regex is not None:
        return Constraint.regex(regex)
    if json_schema is not None:
        return Constraint.json_schema(decode(json_schema.read_bytes(), json_schema))
    assert grammar is not None
    return Constraint.lark(decode(grammar.read_bytes(), grammar))


def sampling_params(constraint: "Constraint | None", options: dict[str, Any]) -> "SamplingParams":
    """The options as `SamplingParams` with a seed; raises UsageError if one makes no sense."""
    from cabinos.engine.errors import InvalidRequest
    from cabinos.engine.sampling import SamplingParams

    options["max_tokens"] = options["max_tokens"] or None
    try:
        return SamplingParams(constraint=constraint, **options).with_seed()
    except InvalidRequest as error:
        raise click.UsageError(str(error)) from error


def prompt_ids(tokenizer: "Tokenizer", text: str) -> list[int]:
    """The prompt's tokens, as the model expects a document to begin: never none."""
    ids = tokenizer.encode(text)
    if ids:
        return ids
    if tokenizer.bos_id is not None:
        return [tokenizer.bos_id]
    if tokenizer.end_ids:  # what ends one document stands before the next
        return [min(tokenizer.end_ids)]
    raise Failure("this model has no token that begins a document: give it a prompt.")


def open_speculation(
    draft: Path | None, threads: int | None, context: int | None, opened: ExitStack
) -> "Speculation":
    """Guessing with a draft model, which `opened` closes, or by prompt lookup."""
    from cabinos.engine.model import Model
    from cabinos.engine.speculation import DraftModel, PromptLookup

    if draft is None:
        return PromptLookup()
    return DraftModel(opened.enter_context(Model(draft, threads=threads, kv_tokens=context)))


def follow(deltas: "Iterator[Delta]", run: Run) -> Iterator[str]:
    """Yield the text of each delta, noting tokens and times in `run`."""
    began = time.perf_counter()
    for delta in deltas:
        now = time.perf_counter()
        if not run.tokens:
            run.prompt_seconds, run.first_tokens = now - began, len(delta.tokens)
        run.generate_seconds = now - began - run.prompt_seconds
        run.tokens += delta.tokens
        run.logprobs += delta.logprobs or ()
        run.finish_reason = delta.finish_reason or run.finish_reason
        yield delta.text


def summary(run: Run) -> str:
    """One line: how much, how fast, why it ended, and the seed that gives it again."""
    return (
        f"[{run.prompt_tokens} prompt tokens at {run.prompt_speed:,.0f}/s · "
        f"{len(run.tokens)} tokens at {run.speed:,.0f}/s · {run.finish_reason} · seed {run.seed}]"
    )


def report(model: Path, run: Run, tokenizer: "Tokenizer") -> dict[str, Any]:
    """All of `run` as plain data; speeds in tokens per second."""

    def shown(token: int, logprob: float | None) -> dict[str, Any]:
        text = tokenizer.token_bytes(token).decode(errors="replace")
        return {"id": token, "text": text, "logprob": logprob}

    data = {
        "model": str(model),
        "text": run.text,
        "finish_reason": run.finish_reason,
        "seed": run.seed,
        "prompt_tokens": run.prompt_tokens,
        "generated_tokens": len(run.tokens),
        "timings": {
            "load_seconds": round(run.load_seconds, 6),
            "prompt_seconds": round(run.prompt_seconds, 6),
            "generate_seconds": round(run.generate_seconds, 6),
            "prompt_tokens_per_second": round(run.prompt_speed, 1),
            "generated_tokens_per_second": round(run.speed, 1),
        },
    }
    if run.logprobs:
        data["logprobs"] = [
            {
                **shown(sampled.id, sampled.logprob),
                "top": [shown(token, logprob) for token, logprob in sampled.top_logprobs],
            }
            for sampled in run.logprobs
        ]
    return data
