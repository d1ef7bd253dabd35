"""`cabin chat`: a conversation. It is a process, and its number is all it takes to go on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.errors import Failure
from cabinos.cli.follow import Ending, Follower
from cabinos.cli.interrupt import control_c_waits
from cabinos.cli.options import (
    PID,
    budget,
    budget_options,
    capabilities,
    grant_options,
)
from cabinos.cli.prompt import Prompt
from cabinos.cli.slash import SLASHES, Slash, help_text
from cabinos.cli.terminal import Answers, Page, note, show

if TYPE_CHECKING:
    from cabinos.cli.session import Feed, Session
    from cabinos.kernel.kernel import Spawn
    from cabinos.kernel.process import Process

__all__ = ["Chat", "chat_command"]


@click.command("chat")
@click.argument("pid", type=PID, required=False)
@click.option("--resume", is_flag=True, help="Go on with the last conversation.")
@click.option(
    "-m", "--model", metavar="NAME", help="The brain: a configured model, or a GGUF file."
)
@grant_options
@budget_options
@click.option("-q", "--quiet", is_flag=True, help="Only the answers, nothing on the way.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each answer.")
def chat_command(
    pid: int | None,
    resume: bool,
    model: str | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    r"""Talk: begin a conversation, or go on with process PID.

    /help lists the commands. A line that ends with \ goes on in the next, and so does everything
    between two lines of three quotes. Ctrl-C stops an answer; Ctrl-D leaves, and the conversation
    stays.
    """
    from cabinos.cli.session import open_session
    from cabinos.kernel.kernel import Spawn

    if pid is not None and resume:
        raise click.UsageError("PID and --resume exclude each other.")
    granted = capabilities(options)
    first = Spawn(
        tools=None if granted.tools is None else sorted(granted.tools),
        files=granted.files,
        web=granted.web,
        shell=granted.shell,
        budget=budget(options),
        interactive=True,
        stay=True,
    )
    with open_session(model) as session:
        session.require_brain()
        chat = Chat(session, first, quiet=quiet, as_json=as_json)
        if resume:
            pid = session.last_conversation()
        if pid is not None:
            chat.take_up(pid)
        chat.loop()


class Chat:
    """The conversation at this terminal. `pid` None: it begins with the next message."""

    def __init__(self, session: "Session", first: "Spawn", *, quiet: bool, as_json: bool) -> None:
        self.session = session
        self.first = first
        self.pid: int | None = None
        self.prompt = Prompt(SLASHES)
        self._as_json = as_json
        self._page = Page(silent=as_json, quiet=quiet or as_json)
        self._person = Answers.at_terminal()
        self._feed: Feed
        session.bell.after = self.prompt.again

    def loop(self) -> None:
        """Reads and answers until the end of input, or /quit."""
        if self.prompt.interactive:
            note("Say something. /help lists the commands, Ctrl-D leaves.")
        from cabinos.kernel.errors import KernelError

        while True:
            try:
                text = self.prompt.read()
            except KeyboardInterrupt:  # a line that is thrown away
                note("")
                continue
            if text is None or text == "/quit":
                break
            try:
                if text.startswith("/"):
                    self._command(text)
                elif text:
                    self._turn(text)
            except (Failure, KernelError) as error:
                note(f"cabin: {error}", dim=False)
        self.prompt.close()
        if self.pid is not None and not self._as_json:
            note(f"`cabin chat {self.pid}` goes on.")

    # ---- turns -----------------------------------------------------------------------------------

    def take_up(self, pid: int) -> None:
        """Goes on with a process; where it has ended, with a child that stays."""
        process = self.process(pid)
        if process.image != "chat":
            raise Failure(f"process {pid} runs a program: there is nothing to talk to.")
        if process.state == "exited":
            pid = self.session.fork(pid)
            note(f"Process {pid} goes on from there.")
        self.pid, self._feed = pid, self.session.watch(pid)
        if self.prompt.interactive:
            for role, text in self.session.last_words(pid):
                note(f"{'> ' if role == 'user' else ''}{text}")
        if process.state not in ("exited", "stopped") and process.waiting != "a message":
            with self._stoppable():
                self.session.tell_present(pid, self._feed)
                self._answer()

    def _turn(self, text: str) -> None:
        """One message and its answer."""
        with self._stoppable():
            self._send(text)
            self._answer()

    def _send(self, text: str) -> None:
        """Brings a message to the conversation, which begins with the first."""
        from dataclasses import replace

        if self.pid is not None and self.process().state == "exited":
            self.take_up(self.pid)
        if self.pid is None:
            spawn = replace(self.first, request=text, model=self.session.model)
            with control_c_waits():
                self.pid, self._feed = self.session.spawn(spawn)
        else:
            self.session.say(self.pid, text)

    def _answer(self) -> None:
        """Follows to the end of the turn."""
        assert self.pid is not None
        follower = Follower(self.session, self.pid, self._feed, self._page, self._person)
        self._tell(follower.run(), follower)

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """A block in which Ctrl-C stops the answer, not the program."""
        try:
            yield
        except KeyboardInterrupt:
            self._page.rest()
            if self.pid is not None:
                self.session.stop(self.pid)
                self._feed = self.session.watch(self.pid)
            note("\nStopped. Your next message goes on from here.")

    def _tell(self, ending: Ending, follower: Follower) -> None:
        if self._as_json:
            import json

            status = ending.status or ending.why
            data = {"pid": self.pid, "status": status, "text": ending.text}
            show([json.dumps(data | follower.provenance(ending.text))])
        elif ending.why == "message":
            if not self._page.streams:
                self._page.answer(ending.text)
        elif ending.why == "waits":
            note(f"It waits for you.\n{ending.text}", dim=False)
        elif ending.code:
            note(f"It has {ending.status or 'stopped'}: {ending.text}", dim=False)

    # ---- what commands use -----------------------------------------------------------------------

    def process(self, pid: int | None = None) -> "Process":
        """A process, by default that of the conversation. Raises Failure if there is none yet."""
        number = pid or self.pid
        if number is None:
            raise Failure("the conversation has not begun: say something first.")

        async def read() -> "Process":
            return self.session.kernel.table.get(number)

        return self.session.do(read())

    def switch(self, pid: int | None) -> None:
        """Goes on with another process, or begins anew with the next message."""
        self.pid = pid
        if pid is not None:
            self._feed = self.session.watch(pid)

    def _command(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        command: Callable[[Slash], None] | None = SLASHES.get(name)
        if command is None:
            note(f"There is no {name}.\n{help_text()}", dim=False)
            return
        command(Slash(self, rest.strip()))
