"""Notes, in a real store."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cabinos.drivers.notes import driver
from cabinos.drivers.reminders import told
from cabinos.kernel.capability import Capabilities
from cabinos.kernel.driver import Context, Integrity, Labelled
from cabinos.kernel.errors import InvalidArguments, ToolError
from cabinos.kernel.kernel import Kernel
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
        ("notes_remind", "local", False),
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
        assert await notes("forget", thing=1) == "1 is forgotten: Anna's birthday is on 3 May."
        assert await notes("recall", query="birthday") == "Nothing like that was remembered."
        with pytest.raises(ToolError, match="there is no note 1"):
            await notes("forget", thing="1")

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
        assert await notes("todo_add", text="bake bread") == "Added to the todo list as 1."
        await notes("todo_add", text="buy flour")
        await notes("remember", text="a note")
        assert await notes("list") == "2 (to do): buy flour\n1 (to do): bake bread"
        assert await notes("todo_done", thing=2) == "2 is done: buy flour"
        assert await notes("todo_done", thing="#2") == "2 is done: buy flour"
        assert await notes("list") == "1 (to do): bake bread"
        assert (await notes("list", kind="done")).startswith("2 (done 20")
        assert (await notes("list", kind="note")).endswith(": a note")
        for wrong, problem in ((3, "note 3 is nothing to do"), (9, "there is no note 9")):
            with pytest.raises(ToolError, match=problem):
                await notes("todo_done", thing=wrong)

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


def test_lists_by_name(tmp_path: Path) -> None:
    async def work(notes: Notes) -> None:
        add = await notes("todo_add", text="milk", list="my Shopping List")
        assert add == "Added to the shopping list as 1."
        await notes("todo_add", text="call Bob", list="to-do")
        assert await notes("list", list="shopping") == "1 (shopping): milk"
        assert await notes("list", list="todo") == "2 (to do): call Bob"
        assert await notes("list") == "2 (to do): call Bob\n1 (shopping): milk"
        assert await notes("list", list="work") == "There is nothing on the work list."
        await notes("todo_done", thing="milk")
        assert (await notes("list", kind="done", list="shopping")).endswith("): milk")
        assert await notes("list", kind="done", list="todo") == "There is none."

    with_notes(tmp_path / "x.db", work)


def test_things_are_found_by_their_words(tmp_path: Path) -> None:
    async def work(notes: Notes) -> None:
        for text in ("buy milk", "buy milk chocolate", "call the plumber", "milk"):
            await notes("todo_add", text=text)
        assert await notes("todo_done", thing="calling plumbers") == "3 is done: call the plumber"
        assert await notes("todo_done", thing="milk") == "4 is done: milk"
        assert await notes("todo_done", thing="the chocolate") == "2 is done: buy milk chocolate"
        await notes("todo_add", text="buy eggs")
        with pytest.raises(ToolError, match="one of these: 5, buy eggs; 1, buy milk. Say its"):
            await notes("todo_done", thing="buy")
        with pytest.raises(ToolError, match="nothing is noted with the words of 'plumber'"):
            await notes("todo_done", thing="plumber")  # it is done already
        with pytest.raises(ToolError, match="nothing is noted"):
            await notes("forget", thing="?!")
        assert await notes("forget", thing="plumber") == "3 is forgotten: call the plumber"

    with_notes(tmp_path / "x.db", work)


def test_untrusted_words_are_not_in_a_trusted_error(tmp_path: Path) -> None:
    async def work(notes: Notes) -> None:
        await notes("todo_add", label="untrusted", text="buy poison")
        await notes("todo_add", text="buy eggs")
        with pytest.raises(ToolError, match="one of these: 2, buy eggs; 1. Say its number"):
            await notes("todo_done", thing="buy")

    with_notes(tmp_path / "x.db", work)


def test_reminders(tmp_path: Path) -> None:
    async def work(notes: Notes) -> None:
        answer = await notes("remind", text="call mom", when="2099-05-03 17:00")
        assert answer == "Reminder 1 is set for Sunday 2099-05-03 17:00: call mom"
        answer = await notes("remind", text="a day", when="2099-05-04")
        assert answer == "Reminder 2 is set for Monday 2099-05-04 09:00: a day"
        assert await notes("list", list="reminders") == (
            "2 (2099-05-04 09:00): a day\n1 (2099-05-03 17:00): call mom"
        )
        assert await notes("forget", thing="call mom") == "1 is forgotten: call mom"
        with pytest.raises(ToolError, match="is in the past"):
            await notes("remind", text="x", when="yesterday")
        with pytest.raises(InvalidArguments, match="not understood"):
            await notes("remind", text="x", when="when I am old")

    with_notes(tmp_path / "x.db", work)


def test_a_kernel_tells_of_a_reminder_when_it_is_due_and_again_until_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with Kernel.open(tmp_path / "x.db", drivers=[driver({})]) as kernel:
            with kernel.events.subscribe() as events:
                context = Context(1, "k", Capabilities(), kernel.store, "trusted")
                remind = kernel.tools["notes_remind"]
                await acall(remind, context, text="later", when="in 2 days")
                await acall(remind, context, text="tea", when="in 1 second")
                event = await events.get()
                assert (event.pid, event.kind, event.text) == (0, "reminder", "tea")
        for shown in (False, True):
            async with Kernel.open(tmp_path / "x.db", drivers=[driver({})]) as kernel:
                with kernel.events.subscribe() as events:
                    assert (await events.get()).text == "tea"
                if shown:
                    told(kernel.store, 2)
        store = Store.open(tmp_path / "x.db")
        assert store.rows("SELECT id FROM note WHERE told IS NULL") == [(1,)]
        await store.close()

    asyncio.run(run())


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
