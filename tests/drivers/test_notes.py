"""Notes, in a real store."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cabinos.drivers.notes import driver
from cabinos.kernel.capability import Capabilities
from cabinos.kernel.driver import Context, Integrity, Labelled
from cabinos.kernel.errors import InvalidArguments, ToolError
from cabinos.store.database import Store
from tests.drivers.support import acall, named

Notes = Callable[..., Awaitable[Any]]


def with_notes(path: Path, work: Callable[[Notes], Awaitable[None]]) -> None:
    """Runs `work` with a function that calls `notes_<verb>` on the store at `path`."""

    async def run() -> None:
        store = Store.open(path)
        device = driver({})

        async def notes(verb: str, label: Integrity = "trusted", **given: Any) -> Any:
            context = Context(1, "k", Capabilities(), store, label)
            answer = await acall(named(device, f"notes_{verb}"), context, **given)
            return answer.value if isinstance(answer, Labelled) else answer

        try:
            await work(notes)
        finally:
            await store.close()

    asyncio.run(run())


def test_declared() -> None:
    assert {(t.name, t.effect, t.egress) for t in driver({}).tools} == {
        ("notes_remember", "local", False),
        ("notes_todo_add", "local", False),
        ("notes_todo_done", "local", False),
        ("notes_forget", "local", False),
        ("notes_recall", "pure", False),
        ("notes_list", "pure", False),
    }


def test_remembered_recalled_and_forgotten(tmp_path: Path) -> None:
    async def work(notes: Notes) -> None:
        assert (
            await notes("remember", text="Anna's birthday is on 3 May.") == "Remembered as note 1."
        )
        await notes("remember", text="The key is under the flower pot.")
        found = await notes("recall", query="birthdays")
        assert found.startswith("1 (20")
        assert found.endswith("): Anna's birthday is on 3 May.")
        assert await notes("recall", query="dragon") == "Nothing like that was remembered."
        assert await notes("forget", id=1) == "1 is forgotten."
        assert await notes("recall", query="birthday") == "Nothing like that was remembered."
        with pytest.raises(ToolError, match="there is no note 1"):
            await notes("forget", id=1)

    with_notes(tmp_path / "x.db", work)


def test_notes_outlive_the_store(tmp_path: Path) -> None:
    async def write(notes: Notes) -> None:
        await notes("remember", text="kept")

    async def read(notes: Notes) -> None:
        assert (await notes("recall", query="kept")).endswith("kept")
        assert await notes("remember", text="next") == "Remembered as note 2."

    with_notes(tmp_path / "x.db", write)
    with_notes(tmp_path / "x.db", read)


def test_the_list_of_things_to_do(tmp_path: Path) -> None:
    async def work(notes: Notes) -> None:
        assert await notes("list") == "There is nothing to do."
        assert await notes("todo_add", text="bake bread") == "Added to the list as 1."
        await notes("todo_add", text="buy flour")
        await notes("remember", text="a note")
        assert await notes("list") == "2 (to do): buy flour\n1 (to do): bake bread"
        assert await notes("todo_done", id=2) == "2 is done."
        assert await notes("todo_done", id=2) == "2 is done."
        assert await notes("list") == "1 (to do): bake bread"
        assert (await notes("list", kind="done")).startswith("2 (done 20")
        assert (await notes("list", kind="note")).endswith(": a note")
        for wrong, problem in ((3, "note 3 is nothing to do"), (9, "there is no note 9")):
            with pytest.raises(ToolError, match=problem):
                await notes("todo_done", id=wrong)

    with_notes(tmp_path / "x.db", work)


def test_a_note_is_as_trustworthy_as_what_its_writer_had_read(tmp_path: Path) -> None:
    async def work() -> None:
        store = Store.open(tmp_path / "x.db")
        device = driver({})
        trusted = Context(1, "k", Capabilities(), store, "trusted")
        tainted = Context(1, "k", Capabilities(), store, "untrusted")
        recall, listing = named(device, "notes_recall"), named(device, "notes_list")
        remember = named(device, "notes_remember")
        await acall(remember, trusted, text="typed words")
        await acall(remember, tainted, text="words of a web page")
        assert (await acall(recall, trusted, query="typed")).label == "trusted"
        assert (await acall(recall, trusted, query="page")).label == "untrusted"
        assert (await acall(recall, trusted, query="words")).label == "untrusted"
        assert (await acall(listing, trusted, kind="note")).label == "untrusted"
        assert (await acall(listing, trusted)).label == "trusted"
        await store.close()

    asyncio.run(work())


def test_notes_made_at_once_have_numbers_of_their_own(tmp_path: Path) -> None:
    async def work(notes: Notes) -> None:
        answers = await asyncio.gather(*(notes("remember", text=f"n{n}") for n in range(50)))
        assert len(set(answers)) == 50
        assert len((await notes("list", kind="note")).splitlines()) == 50

    with_notes(tmp_path / "x.db", work)


def test_a_call_that_did_not_end_left_nothing(tmp_path: Path) -> None:
    """The note is staged with the result: a crash before the commit leaves neither."""

    async def crash() -> None:
        store = Store.open(tmp_path / "x.db")
        await acall(
            named(driver({}), "notes_remember"),
            Context(1, "k", Capabilities(), store),
            text="lost",
        )
        store.abandon()

    async def read(notes: Notes) -> None:
        assert await notes("recall", query="lost") == "Nothing like that was remembered."

    asyncio.run(crash())
    with_notes(tmp_path / "x.db", read)


@pytest.mark.parametrize(
    "query", ['"', "a AND", "x:y*", "(", "NEAR(a b)", "-", "'; DROP TABLE note"]
)
def test_any_query_is_words(tmp_path: Path, query: str) -> None:
    async def work(notes: Notes) -> None:
        await notes("remember", text="something else")
        try:
            assert await notes("recall", query=query) == "Nothing like that was remembered."
        except ToolError as error:
            assert "no words" in str(error)  # noqa: PT017 - either is right
        assert (await notes("recall", query="something")).endswith("something else")

    with_notes(tmp_path / "x.db", work)


def test_bounds(tmp_path: Path) -> None:
    async def work(notes: Notes) -> None:
        for text in ("", "x" * 10_001):
            with pytest.raises(InvalidArguments):
                await notes("remember", text=text)
        with pytest.raises(ToolError, match="the text is empty"):
            await notes("remember", text="  \n")
        for number in range(60):
            await notes("todo_add", text=f"thing {number}")
        lines = (await notes("list")).splitlines()
        assert len(lines) == 51
        assert lines[-1] == "[only the first 50 are shown]"

    with_notes(tmp_path / "x.db", work)
