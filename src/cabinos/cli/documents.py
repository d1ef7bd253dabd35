"""`cabin "question" --from FOLDER`: answers out of documents, with quotes that stand in them."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.errors import Failure
from cabinos.cli.terminal import note, print_json, show, visible
from cabinos.render.answer import Origin, rendered

if TYPE_CHECKING:
    from cabinos.answers.ask import Library
    from cabinos.answers.quote import Answer
    from cabinos.drivers.reader import Passage, Reader
    from cabinos.kernel.budget import Budget
    from cabinos.kernel.kernel import Kernel

__all__ = ["NOT_FOUND", "answer_from", "as_answer", "print_answer"]

PATIENCE = 120.0  # seconds of reading
DOCUMENTS = 500  # PDF, Word and HTML files of one question: each takes a process
UNREAD_SHOWN = 3  # files that could not be read, by name
NOT_FOUND = 1  # the exit code when the documents do not hold the answer


def answer_from(
    question: str,
    folders: Sequence[str],
    *,
    model: str | None,
    budget: "Budget",
    as_json: bool,
    quiet: bool,
) -> None:
    """Answers a question from the documents in some folders, prints it, and exits with 0 or 1."""
    from cabinos.answers.ask import Library
    from cabinos.drivers.ranking import stems

    if not stems(question):
        raise click.UsageError("the question has no words to look for.")
    reader = asyncio.run(_read(folders))
    if not quiet:
        _tell_unread(reader)
    if not reader.files:
        raise Failure(f"{', '.join(folders)}: no document there can be read.")
    library = Library.of(reader)
    brain = _brain(model)
    if brain is None:
        answer, by = library.answer(question), "extraction"
    else:
        answer, by = _asked(question, library, brain, budget, folders), "brain"
    if as_json:
        print_json(_report(answer, by, reader))
    else:
        print_answer(answer)
    if not answer.found:
        raise SystemExit(NOT_FOUND)


async def _read(folders: Sequence[str]) -> "Reader":
    from cabinos.drivers.beneath import Place
    from cabinos.drivers.reader import Reader
    from cabinos.kernel.capability import files
    from cabinos.kernel.errors import InvalidArguments

    try:
        places = [Place(files(folder), ()) for folder in folders]
    except InvalidArguments as error:
        raise click.UsageError(str(error).replace("granted", "read")) from None
    reader = Reader(PATIENCE, DOCUMENTS)
    await reader.read(places)
    return reader


def _tell_unread(reader: "Reader") -> None:
    for problem in reader.unread[:UNREAD_SHOWN]:
        note(f"Left out: {visible(problem)}")
    if len(reader.unread) > UNREAD_SHOWN:
        note(f"Left out: {len(reader.unread) - UNREAD_SHOWN} more.")
    if reader.left_out:
        note(f"Not everything was read: {reader.left_out}.", dim=False)


def _brain(model: str | None) -> str | None:
    """The brain that writes the answer; None: there is none but a small one, like the built-in."""
    from cabinos.drivers.model.brain import BUILT_IN, choose_brain
    from cabinos.engine.gguf import read_gguf
    from cabinos.kernel.plugins import read_config
    from cabinos.store.home import config_path

    config, name = choose_brain(read_config(config_path()), model)
    models = config.get("model", {})
    chosen = models.get(name or BUILT_IN.stem, {})
    if name is None and not chosen:
        return None
    path = chosen.get("path") if chosen.get("provider") == "local" else None
    small = path is not None and read_gguf(Path(path)).metadata.get("cabin.assistant") is True
    return None if small else name


def _asked(
    question: str, library: "Library", brain: str, budget: "Budget", folders: Sequence[str]
) -> "Answer":
    """A brain's answer: it is shown the passages and has no tools, and its quotes are checked."""
    from cabinos.answers.ask import INSTRUCTIONS, SCHEMA, shown_to_brain
    from cabinos.answers.quote import Answer, of_brain
    from cabinos.cli.session import open_session
    from cabinos.kernel.kernel import Spawn

    passages: list[Passage] = library.find(question)
    if not passages:
        return Answer("")
    with open_session(brain) as session:
        session.require_brain()
        _keep_private(session.kernel, session.model or brain, folders)
        spawn = Spawn(
            request=question,
            context=shown_to_brain(passages),
            system=INSTRUCTIONS,
            tools=(),
            model=session.model,
            schema=SCHEMA,
            budget=budget,
            interactive=True,
        )
        try:
            pid, _ = session.spawn(spawn)
            value = session.do(_result(session.kernel, pid))
        except BaseException:  # Ctrl-C, or a brain that fails: nobody asks it again later
            if session.own is not None:
                session.do(session.kernel.kill(session.own))
            raise
    return of_brain(value, passages)


def _keep_private(kernel: "Kernel", brain: str, folders: Sequence[str]) -> None:
    """Raises Failure if a folder is for this machine alone, and the brain is not on it."""
    from cabinos.kernel.capability import Capabilities, files

    if kernel.model(brain).local:
        return
    for folder in folders:
        grant = files(folder)
        if Capabilities(files=(grant,), private=kernel.secluded).holds_private(grant.name):
            raise Failure(
                f"{folder}: holds what [cabin] private keeps on this machine, and {brain} is not "
                f"on it: name a local model with --model."
            )


async def _result(kernel: "Kernel", pid: int) -> Any:
    return await kernel.process(pid).result()


def print_answer(answer: "Answer") -> None:
    """The answer with its quotes; or that there is none."""
    from cabinos.answers.ask import NOT_HERE

    if not answer.found:
        show([NOT_HERE])
    else:
        show([_shown(answer.text)])
        for number, quote in enumerate(answer.quotes, 1):
            show([f'  [{number}] {visible(quote.where)}: "{_shown(quote.words)}"'])
    if answer.note:
        note(f"{answer.note[0].upper()}{answer.note[1:]}.", dim=False)


def _shown(text: str) -> str:
    """Words of documents: at a terminal nothing in them leads anywhere, in a pipe they are data."""
    return rendered(text, Origin())[0] if sys.stdout.isatty() else visible(text)


def as_answer(answer: "Answer") -> dict[str, Any]:
    """An answer for `--json`."""
    return {
        "found": answer.found,
        "answer": answer.text,
        "quotes": [{"words": quote.words, "where": quote.where} for quote in answer.quotes],
        "confidence": None if answer.confidence is None else round(answer.confidence, 3),
        "note": answer.note,
    }


def _report(answer: "Answer", by: str, reader: "Reader") -> dict[str, Any]:
    return {
        **as_answer(answer),
        "by": by,
        "files": reader.files,
        "unread": reader.unread,
        "left_out": reader.left_out,
    }
