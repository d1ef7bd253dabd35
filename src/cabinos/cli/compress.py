"""`cabin compress` and `cabin decompress`: lossless, by what a model finds likely."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from cabinos.cli.errors import Failure
from cabinos.cli.options import as_json
from cabinos.cli.terminal import clean, note, print_json

if TYPE_CHECKING:
    from cabinos.lab.compress.explain import Piece
    from cabinos.lab.compress.predictor import Predictor

ENDING = ".cz"
SHORTEST = 4096  # bytes that are worth an estimate
LONGEST = 1 << 20  # bytes that are explained

file_argument = click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
model_option = click.option(
    "--model", metavar="NAME|FILE", help="A local model. Default: the base model in the box."
)
threads_option = click.option("--threads", type=click.IntRange(min=1), metavar="N")
force_option = click.option("--force", is_flag=True, help="Overwrite an existing file.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")


def _size(_context: click.Context, _option: click.Parameter, text: str) -> int:
    """`64k` as a number of bytes."""
    digits, unit = (text[:-1], text[-1]) if text[-1:].lower() in ("k", "m") else (text, "")
    if not digits.isdecimal():
        raise click.BadParameter(f"{text!r}; write it as 64k or 1m.")
    size = int(digits) * {"": 1, "k": 1 << 10, "m": 1 << 20}[unit.lower()]
    if not 1 << 10 <= size <= 1 << 24:
        raise click.BadParameter(f"{text!r}; a chunk has 1k to 16m bytes.")
    return size


@click.command("compress")
@file_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, allow_dash=True),
    help="Default: FILE.cz; - for stdout.",
)  # fmt: skip
@model_option
@click.option(
    "--chunk", default="256k", show_default=True, callback=_size, metavar="SIZE",
    help="What is packed by itself: small is unpacked faster, large is packed better.",
)  # fmt: skip
@click.option("--plain", is_flag=True, help="The model alone: a little faster, a little larger.")
@threads_option
@click.option("--explain", is_flag=True, help="Pack nothing: show the bits that each word takes.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write that as a page instead."
)
@force_option
@quiet_option
@as_json
def compress_command(
    file: Path,
    output: Path | None,
    *,
    model: str | None,
    chunk: int,
    plain: bool,
    threads: int | None,
    explain: bool,
    html: Path | None,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Pack FILE (- for stdin) losslessly with a model; the same model unpacks it.

    English text like what the model has read comes out much smaller than with xz or brotli, but
    slowly: some kilobytes a second. What is no text is packed with LZMA. FILE is kept.
    """
    from cabinos.lab.compress.predictor import Predictor
    from cabinos.lab.compress.stream import compress

    target = output or (Path("-") if str(file) == "-" else file.with_name(file.name + ENDING))
    explaining = explain or html is not None
    if not explaining:
        _check_target(target, force)
    elif html is not None and html.exists() and not force:
        raise Failure(f"{html}: exists already; --force overwrites it.")
    with _source(file) as (source, size), Predictor(_model(model), threads=threads) as predictor:
        if explaining:
            _explain(source, file, predictor, not plain, html, as_json)
            return
        with _target(target) as out, _progress("packing", size, quiet) as told:
            if size and size > SHORTEST and not quiet:
                _announce(source, predictor, size, not plain)
            read, written = compress(
                source, out, predictor, chunk=chunk, adapt=not plain, told=told
            )  # fmt: skip
    _report(target, read, written, quiet, as_json, packing=True)


@click.command("decompress")
@file_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, allow_dash=True),
    help="Default: FILE without its .cz; - for stdout.",
)  # fmt: skip
@model_option
@threads_option
@force_option
@quiet_option
@as_json
def decompress_command(
    file: Path,
    output: Path | None,
    *,
    model: str | None,
    threads: int | None,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Unpack FILE (- for stdin) with the model that packed it.

    FILE was packed by `cabin compress`. Each chunk is checked before it is written, and a file
    appears only when all of it is right.
    """
    from cabinos.lab.compress.stream import decompress, open_for

    if output is None and str(file) != "-" and file.suffix != ENDING:
        raise click.UsageError(f"{file}: does not end in {ENDING}, so say where to: -o OUTPUT.")
    target = output or (Path("-") if str(file) == "-" else file.with_suffix(""))
    _check_target(target, force)

    def opener(identity: bytes) -> "Predictor":
        path = _model(model) if model else _in_the_box(identity)
        return open_for(identity, path, str(file), threads=threads)

    with (
        _source(file) as (source, size),
        _target(target) as out,
        _progress("unpacking", None, quiet) as told,
    ):
        written = decompress(source, out, opener, name=str(file), told=told)
    _report(target, size or 0, written, quiet, as_json)


# ---- Which model ---------------------------------------------------------------------------------


def _model(name: str | None) -> Path:
    """The file of a local model; by default the base model in the box, the better one at texts."""
    from cabinos.drivers.model.brain import BUILT_IN, choose_brain
    from cabinos.kernel.plugins import read_config
    from cabinos.store.home import config_path

    if name is None:
        return BUILT_IN.with_name("nano-base.gguf")
    config, chosen = choose_brain(read_config(config_path()), name)
    table: dict[str, Any] = config.get("model", {}).get(chosen or name, {})
    if table.get("provider") != "local":
        raise Failure(f"{name}: not a local model; odds come from a GGUF file. See `cabin models`.")
    return Path(table["path"]).expanduser()


def _in_the_box(identity: bytes) -> Path:
    """The one in the box that packed it, or else the default, which will be refused."""
    from cabinos.drivers.model.brain import BUILT_IN
    from cabinos.lab.compress.predictor import digest

    default = _model(None)
    return BUILT_IN if BUILT_IN.is_file() and digest(BUILT_IN) == identity else default


# ---- Files and pipes -----------------------------------------------------------------------------


@contextmanager
def _source(path: Path) -> "Iterator[tuple[BinaryIO, int | None]]":
    """What is read, and its size if that is known."""
    if str(path) == "-":
        yield sys.stdin.buffer, None
        return
    with path.open("rb") as file:
        yield file, path.stat().st_size if path.is_file() else None


def _check_target(path: Path, force: bool) -> None:
    if str(path) == "-":
        if sys.stdout.isatty():
            raise click.UsageError("bytes are not for a terminal: redirect them, or give -o FILE.")
    elif path.exists() and not force:
        raise Failure(f"{path}: exists already; --force overwrites it, -o writes another.")


@contextmanager
def _target(path: Path) -> "Iterator[BinaryIO]":
    """Where to write: stdout, or a file that appears only when all went well."""
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    from cabinos.engine.pack.write import replacing

    with replacing(path) as partial, partial.open("wb") as file:
        yield file


# ---- What a person sees --------------------------------------------------------------------------


def _announce(source: BinaryIO, predictor: "Predictor", size: int, adapt: bool) -> None:
    """How long it will take, if the beginning of `source`, a file, is text."""
    from cabinos.lab.compress.chunk import pace, reads_as_text

    beginning = source.read(SHORTEST)
    source.seek(0)
    if not reads_as_text(beginning):
        note(f"{size:,} bytes that begin as no text: what is none is packed with LZMA, or stored.")
        return
    predictor.probe()  # warms it up
    speed = pace(predictor, adapt=adapt)
    threads = f"{predictor.threads} thread{'s' * (predictor.threads > 1)}"
    note(
        f"{size:,} bytes with {predictor.path.name} on {threads}: about {_time(size / speed)} at "
        f"{speed / 1e3:.1f} kB/s, and as long to unpack, if it is text."
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def _progress(what: str, size: int | None, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr that follows the bytes."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    more = (TransferSpeedColumn(), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, *more, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=size)
        yield lambda done: bar.advance(task, done)


def _report(
    target: Path, read: int, written: int, quiet: bool, as_json: bool, *, packing: bool = False
) -> None:
    if as_json and str(target) != "-":
        print_json({"path": str(target), "read": read, "written": written})
    elif not quiet:
        share = f" ({8 * written / read:.3f} bits a byte)" if packing and read > written else ""
        note(f"{target}: {read:,} → {written:,} bytes{share}", dim=False)


# ---- What each word costs ------------------------------------------------------------------------


def _explain(
    source: BinaryIO,
    file: Path,
    predictor: "Predictor",
    adapt: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    from cabinos.lab.compress.explain import page, pieces

    data = source.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise Failure(f"{file}: explained is up to {LONGEST:,} bytes; cut it.")
    found = pieces(data, predictor, adapt=adapt)
    bits = sum(piece.bits for piece in found)
    summary = (
        f"{len(data):,} bytes, {bits / 8:,.0f} packed by {predictor.path.name}: "
        f"{bits / max(1, len(data)):.3f} bits a byte"
    )
    if as_json:
        print_json({"bytes": len(data), "bits": bits, "pieces": [_plain(p) for p in found]})
    elif html is not None:
        with _target(html) as out:
            out.write(page(found, str(file), summary).encode())
        note(f"{html}: {summary}", dim=False)
    else:
        _heat(found, summary)


def _plain(piece: "Piece") -> dict[str, Any]:
    return {
        "text": piece.text,
        "bits": round(piece.bits, 4),
        "guesses": [{"text": text, "p": round(share, 6)} for text, share in piece.guesses],
    }


COLOURS = ("bright_black", "", "yellow", "bright_yellow", "bright_red", "bold white on red")


def _heat(found: "list[Piece]", summary: str) -> None:
    """The text in colours where that can be seen, and what surprised most."""
    from rich.console import Console
    from rich.text import Text

    from cabinos.lab.compress.explain import legend, level

    console = Console(soft_wrap=True)
    if console.is_terminal and not console.no_color:
        text = Text()
        for piece in found:
            text.append(clean(piece.text), style=COLOURS[level(piece.bits)])
        console.print(text)
        key = Text("bits: ")
        for name, colour in zip(legend(), COLOURS, strict=True):
            key.append(f" {name} ", style=colour)
        console.print(key)
    console.print(summary, highlight=False)
    for piece in sorted(found, key=lambda p: -p.bits)[:10]:
        guesses = ", ".join(f"{clean(t)!r} {share:.0%}" for t, share in piece.guesses)
        line = f"{piece.bits:6.2f} bits  {clean(piece.text)!r}, not {guesses}"
        console.print(line, markup=False, highlight=False)
