"""Device: what processes choose to remember, what is to be done, and when to be told of it.

Notes are rows of the store. A write is staged and committed in one transaction with the call's
result, so a crash leaves both or neither: that is what makes it `local`. A note is as trustworthy
as what its writer had read, and whoever recalls it has read that too. It goes to no model elsewhere
but the one that it was written with: a note made with a brain on this machine stays on it.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from datetime import time as clock_time
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from cabinos.drivers import noted
from cabinos.drivers.ranking import stems
from cabinos.drivers.recall import Recall
from cabinos.drivers.reminders import Reminders
from cabinos.drivers.when import parse
from cabinos.drivers.zones import system_zone, zone_of
from cabinos.kernel.driver import Context, Driver, Labelled, Tool, tool
from cabinos.kernel.errors import ToolError

__all__ = ["driver"]

MAX_TEXT = 10_000  # characters of one note
MAX_ROWS = 50  # notes of one answer
MAX_CANDIDATES = 5  # things that are named where several fit
MORNING = clock_time(9)  # of a reminder that names only a day

COLUMNS = (
    "note.id, note.kind, note.list, note.text, note.created, note.done, note.due, note.label, "
    "note.readers"
)
Row = tuple[Any, ...]
STATEMENT, LIST_NAME = {"x-copy": "statement"}, {"x-copy": "list"}
NoteText = Annotated[
    str, Field(min_length=1, max_length=MAX_TEXT, json_schema_extra=dict(STATEMENT))
]
ListName = Annotated[
    str, Field(max_length=60, description="like shopping", json_schema_extra=dict(LIST_NAME))
]
Thing = Annotated[
    str,
    BeforeValidator(lambda thing: str(thing) if isinstance(thing, int) else thing),
    Field(
        min_length=1,
        max_length=1_000,
        description="its number, or words that are in it",
        json_schema_extra=dict(STATEMENT),
    ),
]
NUMBER = re.compile(r"(?:#|(?:number|no\.?|note|item|task|reminder) )?(\d{1,18})")
LINE = re.compile(r"^(\d+) \(([^)]*)\): ")  # what `_line` puts before a text
ENDED = re.compile(r"^\d+ is (?:done|forgotten): ")
MAX_TOLD = 3  # notes that a person is told who asked for one
LAST_NUMBER = re.compile(r"(?:#|\b(?:number|no\.?|note|item|task|reminder) )(\d{1,18})\W*$")
OPEN = "kind = 'todo' AND done IS NULL"


def driver(
    config: Mapping[str, Any], now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Driver:
    """The notes device. `config`: zone (of reminders; default: the system's).

    `now` is whose time it goes by: an instant with its zone.
    """
    zone = zone_of(str(config["zone"])) if config.get("zone") else system_zone()
    reminders = Reminders()

    def here() -> datetime:
        return now().astimezone(zone)

    tools = [*_writers(here, reminders), _recall(), notes_list, _done(now), notes_forget]
    return Driver("notes", tools=tools, observe=reminders.observe)


def _writers(now: Callable[[], datetime], reminders: Reminders) -> list[Tool]:
    numbering = asyncio.Lock()  # between the highest number read and the next one staged

    async def put(
        context: Context, kind: str, text: str, list_: str = "todo", due: float | None = None
    ) -> int:
        if not text.strip():
            raise ToolError("there is nothing to remember: the text is empty.")
        async with numbering:
            ((highest,),) = await context.store.read("SELECT coalesce(max(id), 0) FROM note")
            row = (highest + 1, kind, list_, text.strip(), context.label, context.pid)
            readers = None if context.readers is None else sorted(context.readers)
            context.store.write(
                "INSERT INTO note (id, kind, list, text, label, pid, created, due, readers) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, now().timestamp(), due, json.dumps(readers)),
            )
        return int(highest + 1)

    @tool(
        effect="local",
        label="trusted",
        payload=["text"],
        says=lambda given, result: (
            f"I'll remember that: {given['text']}" if result.startswith("Remembered") else result
        ),
        hints="<states> learn likes for later remember that note this down keep in mind save "
        "write down don't forget make a note memo jot record log fyi my name is i like my "
        "favorite password code number size birthday commit to memory left parked should know "
        "tell you",
    )
    async def notes_remember(text: NoteText, *, context: Context) -> str:
        """Remembers something for later conversations, in words that will make sense then."""
        return f"Remembered as note {await put(context, 'note', text)}."

    @tool(
        effect="local",
        label="trusted",
        payload=["text"],
        says=lambda given, result: (
            f"Added to your {list_name(given.get('list', ''))} list: {given['text']}"
            if result.startswith("Added")
            else result
        ),
        hints="add to my todo to do shopping grocery packing list put on the list task i need to "
        "buy get things to do new item include also",
    )
    async def notes_todo_add(
        text: NoteText,
        list: ListName = "todo",  # noqa: A002
        *,
        context: Context,
    ) -> str:
        """Adds a thing to a list: to the things to do, or to a list of another name."""
        name = list_name(list)
        return f"Added to the {name} list as {await put(context, 'todo', text, name)}."

    @tool(
        effect="local",
        label="trusted",
        payload=["text"],
        hints="remind me to reminder set start a timer alarm for in minutes hours tomorrow at pm "
        "am wake me up alert notify later don't let me forget ring let me know",
    )
    async def notes_remind(
        text: NoteText,
        when: Annotated[
            str,
            Field(
                max_length=60,
                description="in 10 minutes, tomorrow at 5pm, friday 9:00",
                json_schema_extra={"x-copy": "time"},
            ),
        ],
        *,
        context: Context,
    ) -> str:
        """Reminds the user of something at a time."""
        present = now()
        due = _moment(parse(when, present), present)
        if due <= present:
            raise ToolError(f"{when!r} is in the past; it is {_minute(present)} now.")
        number = await put(context, "todo", text, "reminders", due.timestamp())
        reminders.expect(due.timestamp())
        return f"Reminder {number} is set for {_minute(due)}: {text.strip()}"

    return [notes_remember, notes_todo_add, notes_remind]


def list_name(name: str) -> str:
    """`my Shopping List` as `shopping`; todo for the list of things to do."""
    words = " ".join(name.lower().replace("-", " ").strip(" .!?\"'").split())
    words = re.sub(r"^(?:my|the|our|a) ", "", words).removesuffix(" list")
    return "todo" if words in ("", "to do", "todos", "to dos", "list", "task", "tasks") else words


def _moment(day: date, present: datetime) -> datetime:
    if isinstance(day, datetime):
        return day.astimezone(present.tzinfo)
    return datetime.combine(day, MORNING, present.tzinfo)


def _minute(moment: datetime) -> str:
    return f"{moment:%A} {moment:%Y-%m-%d %H:%M}"


# ---- Reading -------------------------------------------------------------------------------------


def _recalled(_arguments: Mapping[str, Any], result: str) -> str:
    """The best of the notes found, without their numbers and dates."""
    found = [text for line in result.splitlines() if (text := LINE.sub("", line)) != line]
    if not found:
        return "I don't know: nothing like that was remembered."
    return "\n".join(f"You told me: {text}" for text in found[:MAX_TOLD])


def _recall() -> Tool:
    recall = Recall(exact=True)

    @tool(
        effect="pure",
        says=_recalled,
        hints="<asks> <my> what did i tell you do you remember recall what is my where did i when "
        "is my who find note about did i say look up memory know i forgot told noted birthday "
        "remind me owe where is",
    )
    async def notes_recall(
        query: Annotated[
            str,
            Field(
                min_length=1,
                max_length=1_000,
                description="a few words",
                json_schema_extra={"x-asked": "memory"},
            ),
        ],
        *,
        context: Context,
    ) -> Labelled:
        """Finds what was remembered, by words: the best matches first."""
        words = noted.match(query)
        if not words:
            raise ToolError("the query has no words to look for.")
        rows = await context.store.read(noted.by_words(COLUMNS, MAX_ROWS + 1), (words,))
        every = await context.store.read(noted.newest(COLUMNS))
        rows = await noted.with_near(query, rows, every, 3, recall)
        return _told(rows, "Nothing like that was remembered.")

    return notes_recall


def _listed(arguments: Mapping[str, Any], result: str) -> str:
    """`On your shopping list: ` and the things, with their numbers where there are several."""
    kind, name = arguments.get("kind", "todo"), list_name(str(arguments.get("list") or ""))
    where = f"On your {name} list" if arguments.get("list") and name != "todo" else "To do"
    head = {"note": "Your notes", "done": "Done"}.get(kind, where)
    lines = result.splitlines()
    if not LINE.match(result):
        return result
    if len(lines) == 1:
        return f"{head}: {_item(result).partition('. ')[2]}"
    return "\n".join([f"{head}:", *map(_item, lines)])


def _item(line: str) -> str:
    """`3. call mom (2026-11-25 09:00)`: a time is told, the other states are not."""
    if (found := LINE.match(line)) is None:
        return line
    number, state = found.groups()
    return f"{number}. {line[found.end() :]}{f' ({state})' if ':' in state else ''}"


@tool(
    effect="pure",
    says=_listed,
    hints="remember remembered told contain include show list what's on my todo to do shopping "
    "grocery packing list what do i have to do read my notes all notes tasks reminders alarms "
    "timers things anything everything left open done finished see which",
)
async def notes_list(
    kind: Annotated[
        Literal["todo", "note", "done"], Field(description="open things to do, notes, or done")
    ] = "todo",
    list: Annotated[  # noqa: A002
        str,
        Field(
            max_length=60,
            description="like shopping; otherwise all",
            json_schema_extra=dict(LIST_NAME),
        ),
    ] = "",
    *,
    context: Context,
) -> Labelled:
    """Lists what is to be done, or the notes: the newest first."""
    which = {"todo": OPEN, "done": "kind = 'todo' AND done IS NOT NULL", "note": "kind = 'note'"}
    where = which[kind]
    given: tuple[str, ...] = ()
    name = list_name(list) if list.strip() else ""
    if name and kind != "note":
        where, given = f"{where} AND list = ?", (name,)
    rows = await context.store.read(
        f"SELECT {COLUMNS} FROM note WHERE {where} ORDER BY id DESC LIMIT {MAX_ROWS + 1}", given
    )
    nothing = "There is nothing to do." if kind == "todo" else "There is none."
    if name and name != "todo":
        nothing = f"There is nothing on the {name} list."
    return _told(rows, nothing)


def _told(rows: Sequence[Row], nothing: str) -> Labelled:
    """Notes as lines of text, as trustworthy as the least of them."""
    lines = [_line(row) for row in rows[:MAX_ROWS]]
    if len(rows) > MAX_ROWS:
        lines.append(f"[only the first {MAX_ROWS} are shown]")
    shown = rows[:MAX_ROWS]
    return Labelled("\n".join(lines) or nothing, _label(shown), _readers(shown))


def _line(row: Row) -> str:
    number, kind, list_, text, created, done, due, *_ = row
    if done:
        state = f"done {_date(done)}"
    elif due:
        state = f"{datetime.fromtimestamp(due):%Y-%m-%d %H:%M}"
    elif kind == "todo":
        state = "to do" if list_ == "todo" else list_
    else:
        state = _date(created)
    return f"{number} ({state}): {text}"


def _label(rows: Sequence[Row]) -> Literal["trusted", "untrusted"]:
    return "untrusted" if any(row[-2] != "trusted" for row in rows) else "trusted"


def _readers(rows: Sequence[Row]) -> frozenset[str] | None:
    """Who may read all of the notes beyond this machine; None: anybody."""
    known = [json.loads(row[-1] or "[]") for row in rows]
    bound = [frozenset(names) for names in known if names is not None]
    return frozenset.intersection(*bound) if bound else None


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).date().isoformat()


# ---- Ending --------------------------------------------------------------------------------------


def _done(now: Callable[[], datetime]) -> Tool:
    """The tool `notes_todo_done`, with its clock."""

    @tool(
        effect="local",
        label="trusted",
        authority=["thing"],
        reversible=True,
        says=lambda _, result: ENDED.sub("Done: ", result, count=1),
        hints="done finished completed mark as done check off tick off cross off strike i bought "
        "i did i have got already complete task took care of",
    )
    async def notes_todo_done(thing: Thing, *, context: Context) -> Labelled:
        """Marks a thing to do as done, by its number or its words."""
        row = await _find(context, thing, OPEN)
        number, kind, _, text, _, done, _, label, _ = row
        if kind != "todo":
            raise ToolError(f"note {number} is nothing to do.")
        if done is None:
            moment = now().timestamp()
            context.store.write("UPDATE note SET done = ? WHERE id = ?", (moment, number))
        return Labelled(f"{number} is done: {text}", label, _readers([row]))

    return notes_todo_done


@tool(
    effect="local",
    label="trusted",
    authority=["thing"],
    says=lambda _, result: ENDED.sub("Forgotten: ", result, count=1),
    hints="forget delete remove cancel erase drop clear scrap stop note reminder alarm timer from "
    "my list take off get rid of never mind about no longer need anymore out of date change "
    "instead actually",
)
async def notes_forget(thing: Thing, *, context: Context) -> Labelled:
    """Forgets a note, a reminder or a thing to do for good, by its number or its words."""
    row = await _find(context, thing, "1")
    number, _, _, text, _, _, _, label, _ = row
    context.store.write("DELETE FROM note WHERE id = ?", (number,))
    return Labelled(f"{number} is forgotten: {text}", label, _readers([row]))


async def _find(context: Context, thing: str, among: str) -> Row:
    """The note of a number, or the one among some that the words mean.

    Raises ToolError if that is none, or several.
    """
    if number := NUMBER.fullmatch(thing.strip().lower()):
        return await _numbered(context, int(number[1]))
    wanted = set(stems(thing))
    rows = await context.store.read(f"SELECT {COLUMNS} FROM note WHERE {among} ORDER BY id DESC")
    scored = [(_fit(wanted, row[3]), row) for row in rows]
    most = max((score for score, _ in scored), default=(0, 0.0))
    if not most[0] and (number := LAST_NUMBER.search(thing)):  # "erase #2"
        return await _numbered(context, int(number[1]))
    if not most[0]:
        raise ToolError(f"nothing is noted with the words of {thing[:100]!r}.")
    fitting = [row for score, row in scored if score == most]
    if len(fitting) > 1:
        named = "; ".join(map(_named, fitting[:MAX_CANDIDATES]))
        raise ToolError(
            f"{thing[:100]!r} may be one of these: {named}. Say its number.",
            readers=_readers(fitting),
        )
    return fitting[0]


async def _numbered(context: Context, number: int) -> Row:
    rows = await context.store.read(f"SELECT {COLUMNS} FROM note WHERE id = ?", (number,))
    if not rows:
        raise ToolError(f"there is no note {number}; notes_list and notes_recall tell the numbers.")
    return rows[0]


def _fit(wanted: set[str], text: str) -> tuple[int, float]:
    """How many of the words are in a text, and whether it is nothing but them."""
    words = set(stems(text))
    shared = len(wanted & words)
    return shared, float(words == wanted)


def _named(row: Row) -> str:
    """A candidate in an error, which is trusted: the words of others stay out of it."""
    return f"{row[0]}, {row[3][:60]}" if row[-2] == "trusted" else f"{row[0]}"
