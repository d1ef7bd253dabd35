"""Following a process at the terminal: its answer, what it does, and what it asks."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cabinos.cli.errors import BLOCKED
from cabinos.cli.terminal import Answers, Page, visible
from cabinos.render.answer import Origin, rendered

if TYPE_CHECKING:
    from cabinos.cli.session import Feed, Session
    from cabinos.kernel.asks import Ask
    from cabinos.kernel.events import Event

__all__ = ["Ending", "Follower", "draw_ask", "how_to_answer", "one_line"]

Why = Literal["exit", "stopped", "waits", "message"]
SHOWN = 100  # characters of a call's arguments or result in a line of progress
QUIET = ("recv",)  # of which no line tells
SOURCES = 3  # that are named below an answer

YES = {"y": "approved", "yes": "approved"}
DOUBT = {"a": "again", "h": "happened", "f": "failed"}


@dataclass(slots=True)
class Ending:
    """Why following ended: it has exited, stopped, waits for a person, or for a message."""

    why: Why
    text: str = ""  # of the answer, or the reason
    status: str = ""  # of one that has exited: done, failed or killed
    value: Any = None  # a structured answer
    error: str = ""  # the kind of error that stopped it

    @property
    def code(self) -> int:
        """The exit code that says it."""
        if self.why == "exit":
            return 0 if self.status == "done" else 1
        return 0 if self.why == "message" else BLOCKED


@dataclass(slots=True)
class Follower:
    """Shows the events of one process until it ends or cannot go on; asks who is there."""

    session: "Session"
    pid: int
    feed: "Feed"
    page: Page
    person: Answers | None
    calls: list[dict[str, Any]] = field(default_factory=list)  # that were made, for --json
    open_asks: dict[int, "Event"] = field(default_factory=dict)  # nobody has answered
    origin: "Origin | None" = None  # of the answer, where somebody else may speak in it
    _said: str = ""  # of the present thought

    def run(self) -> Ending:
        """Follows to the end, or to the end of a turn."""
        ending: Ending | None = None
        while True:
            # A state is the end only if nothing came after it: a message may be on its way.
            if ending is not None and self.session.at_end(self.pid, self.feed):
                return ending
            event = self.feed.get()
            if isinstance(event, BaseException):
                raise event
            found = self._see(event)
            if found is not None and found.why == "exit":
                return found
            if found is not None or event.pid == self.pid:
                ending = found

    def _see(self, event: "Event") -> Ending | None:
        own, data = event.pid == self.pid, event.data
        match event.kind:
            case "text" if own:
                if not self._said:
                    self.origin = self.session.origin(self.pid, data["label"])
                    self.page.begin(self.origin)
                self._said += data["text"]
                self.page.stream(data["text"])
            case "thought" if own and data["finish"] != "length":
                self.page.flush()
            case "retry" if own:
                self._said = ""
                self.page.note(f"· asked again: {one_line(data['reason'])}")
            case "call":
                self._began(event, own)
            case "result" if data["name"] not in QUIET:
                self._settled(event, own)
            case "ask":
                return self._asked(event)
            case "thought" if own and data["finish"] == "length":
                self.page.note("· cut off: it reached the most tokens it may have")
            case "fault":
                self.page.note(f"· {data['pages']} pages: {data['action']}")
            case "state" if own:
                return self._state(data["state"], data["why"] or "", data.get("error") or "")
            case "state":
                return self._nobody_there()
            case "exit" if own:
                return self._exit(data)
        return None

    def _began(self, event: "Event", own: bool) -> None:
        name, arguments = event.data["name"], event.data["arguments"]
        if own:
            self._said = ""
            self.calls.append({"id": event.data["id"], "name": name, "arguments": arguments})
        who = "" if own else f"{event.pid}: "
        self.page.note(f"· {who}{name} {_arguments(arguments)}")

    def _settled(self, event: "Event", own: bool) -> None:
        data = event.data
        if own:
            self._said = ""
            same = (c for c in self.calls if (c["id"], c["name"]) == (data["id"], data["name"]))
            made = next((c for c in same if "ok" not in c), None)
            if made is None:  # a syscall: it is not announced
                made = {"id": data["id"], "name": data["name"]}
                self.calls.append(made)
            made["ok"] = data["ok"]
        sign = "→" if data["ok"] else "✗"
        text, _ = rendered(data["text"][: SHOWN * 4], Origin())
        self.page.note(f"  {sign} {one_line(text)}")

    def _state(self, state: str, why: str, error: str) -> Ending | None:
        if state == "stopped":
            return Ending("stopped", why, error=error)
        if why == "a message":
            self.page.rest()
            self._tell_origin()
            return Ending("message", self._said)
        return self._nobody_there()

    def _exit(self, data: Mapping[str, Any]) -> Ending:
        text, status = str(data["text"]), str(data["status"])
        self.origin = self.session.origin(self.pid)
        if status == "done" and (text.strip() != self._said.strip() or not self.page.streams):
            self.page.answer(text, self.origin)
        self.page.rest()
        self._tell_origin()
        return Ending("exit", text, status, data.get("value"))

    def provenance(self, text: str) -> dict[str, Any]:
        """For --json: the label of an answer, and what in it is quoted from what was read."""
        origin = self.session.origin(self.pid)
        if origin is None:
            return {"label": "trusted"}
        from cabinos.render.answer import quotes

        found = [asdict(quote) for quote in quotes(text, origin)]
        return {"label": "untrusted", "sources": list(origin.sources), "annotations": found}

    def _tell_origin(self) -> None:
        """Whose words the answer may hold, where the person sees it and has not been told."""
        if self.origin is None or not self.page.streams:
            return
        if self.origin.sources != self.page.named:
            self.page.named = self.origin.sources
            names = ", ".join(self.origin.sources[:SOURCES]) or "what came with the request"
            more = len(self.origin.sources) - SOURCES
            others = f" and {more} more" if more > 0 else ""
            self.page.note(f"┆ may repeat {one_line(names + others)}: nobody vouches for that")

    # ---- questions -------------------------------------------------------------------------------

    def _asked(self, event: "Event") -> Ending | None:
        number = event.data["ask"]
        if number not in self.session.open_asks():  # answered meanwhile, or told twice
            return None
        self.open_asks[number] = event
        if self.person is None:
            return self._nobody_there()
        self.page.rest()
        batch = self._batch(event)
        answer = put(self.person, batch)
        if answer is None:
            return self._nobody_there()
        from cabinos.kernel.errors import KernelError

        for ask in batch:
            try:
                self.session.do(self.session.kernel.answer(ask.id, answer))
            except KernelError as error:  # answered from elsewhere meanwhile
                self.page.note(f"· {error}")
        self.open_asks.pop(number, None)
        return None

    def _batch(self, event: "Event") -> "list[Ask]":
        """The question, and those for approval that the same process has beside it."""
        found = self.session.asks(event.pid)
        own = [ask for ask in found if ask.id == event.data["ask"]]
        together = [ask for ask in found if ask.kind == "approval" and ask not in own]
        return own + (together if own and own[0].kind == "approval" else [])

    def _nobody_there(self) -> Ending | None:
        """The end, if nothing goes on before somebody has answered."""
        if not self.open_asks or not self.session.waits_for_person(self.pid):
            return None
        for number in set(self.open_asks) - self.session.open_asks():
            del self.open_asks[number]
        if not self.open_asks:
            return None
        return Ending("waits", "\n".join(map(_told, self.open_asks.values())))


def _told(event: "Event") -> str:
    question, how = event.data["question"], how_to_answer(event.data["ask"], event.data["about"])
    return f"{one_line(question)} {how}."


def put(person: Answers, batch: "list[Ask]") -> str | None:
    """Puts questions to a person and returns the answer as the kernel takes it; None: none.

    Several approvals are put together: whoever is asked ten times reads none of them.
    """
    if not batch:
        return None
    about = batch[0].kind
    prompt = "\n".join(draw_ask(ask.pid, ask.kind, ask.question, ask.detail) for ask in batch)
    if about == "approval":
        every = f"All {len(batch)} of them? " if len(batch) > 1 else ""
        typed = person.line(f"{prompt}\n{every}[y/N] ")
        return None if typed is None else YES.get(typed.lower(), "denied")
    if about == "doubt":
        typed = person.line(f"{prompt}\nDo it [a]gain, it [h]appened, or it [f]ailed? ")
        return DOUBT.get((typed or "").lower()[:1])
    typed = person.line(f"{prompt}\n> ")
    return typed or None


def draw_ask(pid: int, about: str, question: str, detail: Mapping[str, Any]) -> str:
    """A question as a person sees it.

    Whatever came from a model or a tool stands behind a bar, with everything hidden written out, so
    that it cannot pass for the kernel's own words.
    """
    if about == "question":
        return f"Process {pid} asks:\n{_barred(rendered(question, Origin())[0])}"
    lines = [f"Process {pid}: {visible(question)}"]
    for name, value in dict(detail.get("arguments") or {}).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        lines.append(f"  {visible(str(name))}:\n{_barred(text)}")
        if origin := (detail.get("origins") or {}).get(name):
            lines.append(f"  from {visible(origin)}")
    return "\n".join(lines)


def _barred(text: str) -> str:
    return "\n".join(f"  │ {line}" for line in visible(text).split("\n"))


def how_to_answer(number: int, about: str) -> str:
    """How to answer a question from a shell."""
    match about:
        case "approval":
            return f"`cabin approve {number}` or `cabin deny {number}`"
        case "doubt":
            return f"`cabin answer {number} again`, `happened` or `failed`"
        case _:
            return f'`cabin answer {number} "…"`'


def one_line(text: str, most: int = SHOWN) -> str:
    """The beginning of a text, in one line."""
    words = " ".join(visible(text[: most * 4]).split())
    return words if len(words) <= most and len(text) <= most * 4 else f"{words[: most - 1]}…"


def _arguments(arguments: Mapping[str, Any] | None) -> str:
    if not arguments:
        return ""
    parts = (f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in arguments.items())
    return one_line(" ".join(parts))
