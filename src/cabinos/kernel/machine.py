"""The machine: runs processes until they block, and finds them again after a crash.

A process is data (`process.py`); a task is made for it when it is ready and ends when it blocks.
Between two awaits every process is consistent, so a commit may take place at any of them:

    results → image.resume → next syscall (one row) → intent → act → outcome → results → …

Nothing here knows a device, a provider or the web by name.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

from cabinos.kernel import budget
from cabinos.kernel.asks import Ask, Asks, Kind
from cabinos.kernel.budget import Budget
from cabinos.kernel.control import Control
from cabinos.kernel.devices import Devices
from cabinos.kernel.driver import Driver, Model
from cabinos.kernel.errors import KernelError
from cabinos.kernel.escalate import hand_over
from cabinos.kernel.events import Events
from cabinos.kernel.image import Exit, Image
from cabinos.kernel.images import IMAGES
from cabinos.kernel.mail import Mail
from cabinos.kernel.memory import Memory
from cabinos.kernel.monitor import grant_typed
from cabinos.kernel.policy import Policy
from cabinos.kernel.process import Process, State
from cabinos.kernel.settle import pending_calls, settle
from cabinos.kernel.table import ProcessTable
from cabinos.kernel.watchdog import Acting, Watchdog
from cabinos.store.database import Store
from cabinos.store.errors import StoreError, StoreFailed
from cabinos.store.home import config_path
from cabinos.store.journal import Journal
from cabinos.store.pages import Page, Pages

__all__ = ["BY_PERSON", "Machine"]

BY_PERSON = "by a person"  # why a process has stopped, unless something else stopped it
GRACE = 10.0  # seconds that effects under way are given when the kernel closes
log = logging.getLogger("cabinos.kernel")


class Machine(Devices):
    """What `Kernel` is made of, without its public face. Belongs to one event loop."""

    def __init__(
        self,
        store: Store,
        drivers: Sequence[Driver],
        policy: str,
        quantum: int,
        names: Mapping[str, Any],
    ) -> None:
        super().__init__(drivers, policy, quantum, names)
        self.rules = Policy.load(config_path().with_name("policy.toml"))
        self.store = store
        self.pages = Pages(store)
        self.journal = Journal(store)
        self.events = Events()
        self.memory = Memory(self.pages, self.events)
        self.table = ProcessTable(store)
        self.asks = Asks(store)
        self.mail = Mail(store, self.pages)
        self.images: dict[str, Image] = {name: make() for name, make in IMAGES.items()}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._acting: Counter[int] = Counter()  # effects under way, by pid
        self._woken: set[int] = set()  # while they ran
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._settled: dict[int, asyncio.Event] = {}
        self._control = Control(self)
        self._watchdog = Watchdog()
        self._observers: list[Callable[[], None]] = []  # how each of them ends
        self._closing = False
        self.idle = False  # True before it is entered: nothing runs, processes can be changed
        store.on_failure = self._lost

    # ---- the life of a process -------------------------------------------------------------------

    def start(self, process: Process) -> None:
        """Makes a task for a process that is ready."""
        ready = process.state == State.READY  # neither killed nor stopped since it was made
        if ready and process.pid not in self._tasks and not self._closing and not self.idle:
            task = asyncio.get_running_loop().create_task(self._run(process))
            self._tasks[process.pid] = task

    async def _run(self, process: Process) -> None:
        """Resumes the image again and again, until the process blocks, stops or exits."""
        try:
            while not self._closing:
                results = await settle(self, process) if process.pending else None
                if process.waiting is not None:  # a stop was ordered while an effect was under way
                    self._halt(process, process.waiting)
                    return
                if results is None and process.pending:
                    if process.pid in self._woken:
                        self._woken.discard(process.pid)
                        continue
                    self._block(process)
                    return
                step = self.images[process.image].resume(process.image_state, results)
                process.image_state, action = step if isinstance(step, tuple) else await step
                process.step += 1
                if action.seconds:
                    budget.settle(process.accounts(), (0, 0), (0, 0), action.seconds)
                    self.save_lineage(process)
                if isinstance(action, Exit):
                    code = "done" if action.ok else "failed"
                    self._exit(process, code, action.text, action.value, note=action.note)
                    return
                process.pending = pending_calls(action)
                self.store.save(process)
                if action.seconds:
                    budget.require_time(process.accounts())
        except (StoreError, KernelError) as error:
            if self.store.failure is None:
                self._give_up(process, str(error), type(error).__name__)
        except Exception as error:
            log.exception("process %d", process.pid)
            why = f"a fault in Cabin: {type(error).__name__}: {error}"
            self._give_up(process, why, "Fault")
        finally:
            self._tasks.pop(process.pid, None)
            self._woken.discard(process.pid)

    def _block(self, process: Process) -> None:
        waiting = [r for r in process.pending["calls"].values() if r.get("s") != "done"]
        doubt = any("doubt" in r.get("inner", r) and r["s"] == "sent" for r in waiting)
        process.state = State.IN_DOUBT if doubt else State.BLOCKED
        process.waiting = ", ".join(r["why"] for r in waiting)
        wakes = [r["wakes"] for r in waiting if r.get("wakes")]
        process.wake = min(wakes, default=None)
        self.store.save(process)
        self.store.kick()
        if process.wake is not None:
            self._set_timer(process)
        self.events.emit(process.pid, "state", state=process.state.value, why=process.waiting)

    def _set_timer(self, process: Process) -> None:
        assert process.wake is not None
        delay = max(0.0, process.wake - time.time())
        loop = asyncio.get_running_loop()
        self._timers[process.pid] = loop.call_later(delay, self.wake, process.pid)

    def _put(self, process: Process, state: State, why: str | None = None) -> None:
        """Into a state in which the clock does not wake it."""
        process.state, process.waiting, process.wake = state, why, None
        if timer := self._timers.pop(process.pid, None):
            timer.cancel()

    def wake(self, pid: int) -> None:
        """Something that a process may wait for has happened: its calls are asked again."""
        if pid in self._tasks:
            self._woken.add(pid)
            return
        process = self.table.get(pid)
        if process.state in (State.BLOCKED, State.IN_DOUBT):
            self.make_ready(process)

    def make_ready(self, process: Process) -> None:
        """Sets a blocked or stopped process going."""
        self._put(process, State.READY)
        self.store.save(process)
        self.start(process)

    def _halt(self, process: Process, why: str, error: str = "") -> None:
        """Stops a process that has no task, or whose task is about to end."""
        self._put(process, State.STOPPED, why)
        self.journal.append(process.pid, "stop", why=why)
        self.store.save(process)
        self.store.kick()
        self.events.emit(process.pid, "state", state="stopped", why=why, error=error)
        self._tell(process.pid)

    def _give_up(self, process: Process, why: str, error: str) -> None:
        """A process cannot go on: a child fails, so that its parent hears of it; a root stops."""
        if process.parent is not None:
            self._exit(process, "failed", why, None, error)
        else:
            self._halt(process, why, error)

    def _lost(self, error: StoreFailed) -> None:
        """The store takes nothing any more: whoever waits for a process is told."""
        if not self._closing:
            log.critical("%s", error)
        kind = type(error).__name__
        self.events.tell_all("state", state="lost", why=str(error), error=kind)
        self._tell_all()

    def _exit(
        self, process: Process, code: str, text: str, value: Any, error: str = "", note: str = ""
    ) -> None:
        told = {"code": code, "value": value, "note": note or None}
        status = {name: what for name, what in told.items() if what is not None}
        if process.result is None or self.pages.get(process.result).text != text:
            page = self.pages.put(
                "assistant", text, tokens=self.count(process, text), label=process.label
            )
            process.result = page.id
        self._put(process, State.EXITED)
        process.ended, process.status, process.pending = time.time(), status, {}
        self.asks.withdraw(process.pid)
        self.journal.append(process.pid, "exit", page=process.result, **status)
        self.store.save(process)
        self.store.kick()
        self.events.emit(
            process.pid, "exit", status=code, text=text, value=value, error=error, note=note
        )
        self._tell(process.pid)
        if process.parent is not None:
            self.wake(process.parent)

    def _tell(self, pid: int) -> None:
        """Wakes whoever waits for the end, or a stop, of a process."""
        if settled := self._settled.pop(pid, None):
            settled.set()

    def _tell_all(self) -> None:
        """Wakes everybody who waits, since there is nothing to wait for any more."""
        for settled in self._settled.values():
            settled.set()

    def answer_of(self, process: Process) -> tuple[Any, bool]:
        """What an exited process answered, and whether it did what it should."""
        status = process.status or {}
        value = status.get("value")
        if value is None and process.result is not None:
            value = self.pages.get(process.result).text
        return value, status.get("code") == "done"

    # ---- signals ---------------------------------------------------------------------------------

    async def kill(self, pid: int, *, tree: bool = True) -> None:
        """Ends a process now, and with `tree` its descendants. Effects under way may still happen.

        Raises NoSuchProcess.
        """
        process = self.table.get(pid)
        found = True
        while found:  # until there is nobody left: some may have been born meanwhile
            found = False
            for victim in [process, *(self.table.descendants(pid) if tree else [])]:
                await self._cancel(victim.pid)
                if victim.state != State.EXITED:
                    self._exit(victim, "killed", "killed.", None)
                    found = True
        await self.store.commit()

    async def stop(self, pid: int, why: str = BY_PERSON) -> None:
        """Stops a process: a thought is broken off, an effect under way is finished first."""
        process = self.table.get(pid)
        if process.state in (State.EXITED, State.STOPPED):
            return
        if self._acting[pid]:
            process.waiting = why  # which holds even if the machine dies before
            self.store.save(process)
        else:
            await self._cancel(pid)
            if process.state not in (State.EXITED, State.STOPPED):
                self._halt(process, why)
        await self.store.commit()

    async def cont(self, pid: int) -> None:
        """Lets a stopped process go on where it was. Raises KernelError if it is not stopped."""
        process = self.table.get(pid)
        if process.state == State.READY and process.waiting is not None:
            process.waiting = None  # the stop has not happened yet
            self.store.save(process)
        elif process.state == State.STOPPED:
            self.journal.append(pid, "cont")
            self.make_ready(process)
        else:
            raise KernelError(f"process {pid} is not stopped but {process.state}.")
        await self.store.commit()

    async def renice(self, pid: int, nice: int) -> None:
        """Changes what share of the model a process's tree gets."""
        if not -20 <= nice <= 19:
            raise KernelError(f"nice must be from -20 to 19, not {nice}.")
        process = self.table.get(pid)
        process.nice = nice
        self.store.save(process)
        await self.store.commit()

    async def set_model(self, pid: int, name: str) -> None:
        """Gives a process another model from its next thought on. Raises ModelError."""
        process = self.table.get(pid)
        hand_over(self, process, name)
        self.store.save(process)
        await self.store.commit()

    async def set_budget(self, pid: int, limit: Budget) -> None:
        """Sets those limits of a process that `limit` names; what is spent stays spent."""
        process = self.table.get(pid)
        limits, account = limit.account(), process.account
        for name in ("token_limit", "second_limit", "micro_limit"):
            if getattr(limits, name) is not None:
                setattr(account, name, getattr(limits, name))
        self.journal.append(pid, "budget", **asdict(limit))
        self.store.save(process)
        await self.store.commit()

    async def _cancel(self, pid: int) -> None:
        while (task := self._tasks.get(pid)) and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])
            if self._tasks.get(pid) is task:  # it had not begun, so it did not clean up
                del self._tasks[pid]

    async def endorse(self, pid: int) -> None:
        """A person vouches for all that a process has read: from here on it is trusted again.

        The one way in which a label rises; it stands in the journal.
        """
        process = self.table.get(pid)
        self.journal.append(pid, "endorse", label=process.guard.label(process.label).to_json())
        process.label = "trusted"
        self.store.save(process)
        await self.store.commit()

    # ---- what syscalls are made of ---------------------------------------------------------------

    def acting(self, pid: int, outside: bool, seconds: float) -> Acting:
        """A block in which a tool runs: at most for some seconds, and a stop waits for its end."""
        return Acting(self._acting, self._watchdog, pid, outside, seconds)

    def save_lineage(self, process: Process) -> None:
        """Stages the rows of a process and its ancestors, whose accounts have changed."""
        for relative in process.lineage():
            self.store.save(relative)

    def ask(
        self,
        process: Process,
        call: str,
        kind: Kind,
        binding: bytes,
        question: str,
        detail: Mapping[str, Any],
    ) -> int:
        """Asks a person, durably; the process is woken by the answer. Returns the question's id."""
        ask = self.asks.add(process.pid, call, kind, binding, question, detail)
        self.journal.append(process.pid, "ask", ask=ask.id, about=kind, call=call)
        self.events.emit(
            process.pid, "ask", ask=ask.id, about=kind, question=question, detail=dict(detail)
        )
        return ask.id

    async def answer(self, ask_id: int, answer: str) -> Ask:
        """A person's answer. Raises KernelError if there is no such open question."""
        ask = self.reply(ask_id, answer)
        await self.store.commit()
        return ask

    def reply(self, ask_id: int, answer: str) -> Ask:
        """A person's answer, staged. Raises KernelError if there is no such open question."""
        ask = self.asks.answer(ask_id, answer)
        process = self.table.get(ask.pid)
        record = process.pending.get("calls", {}).get(ask.call, {})
        record = record.get("inner", record)
        if ask_id in (record.get("ask"), record.get("doubt")):  # and no other call of that id
            record["answer"] = answer
        if answer == "denied" and self.rules.freeze:  # the person has seen enough
            for relative in process.lineage():
                relative.guard.frozen = True
                self.store.save(relative)
        self.journal.append(ask.pid, "answer", ask=ask_id, answer=answer)
        self.store.save(process)
        self.wake(ask.pid)
        return ask

    def post(
        self,
        pid: int,
        text: str,
        sender: Process | None = None,
        *,
        role: str = "user",
        source: str = "",
    ) -> None:
        """Sends a message to a process; it is read before the next thought.

        Without a sender, it was typed by a person; or it is from a `source` that nobody vouches for
        and counts as untrusted. Raises KernelError if the process has ended.
        """
        process = self.table.get(pid)
        if process.state == State.EXITED:
            raise KernelError(f"process {pid} has ended; fork it to go on from there.")
        label = sender.label if sender is not None else "trusted"
        told = sender.told() if sender is not None else None
        if source:
            label, told = "untrusted", {"from": [source]}
        elif sender is None and role == "user":
            process.guard.frozen = False
            grant_typed(self, process, text)
        page = self.pages.put(role, text, tokens=self.count(process, text), label=label, meta=told)
        self.mail.send(pid, None if sender is None else sender.pid, page)
        self.journal.append(pid, "mail", page=page.id, sender=sender.pid if sender else None)
        self.wake(pid)

    def receive(self, process: Process) -> Page | None:
        """The next message of a process; a chat's becomes part of its conversation."""
        page = self.mail.first(process.pid)
        if page is not None:
            if process.image == "chat":
                model, room = self.model(process.model), self.room(process)
                self.memory.append(process, page, model, room)
            self.mail.drop(process.pid)
        return page

    def take_mail(self, process: Process, model: Model, room: int) -> None:
        """Reads all messages into a conversation."""
        while page := self.mail.first(process.pid):
            self.memory.append(process, page, model, room)
            self.mail.drop(process.pid)

    # ---- beginning and end -----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            self.id = self._identity()
            self._observers = [d.observe(self) for d in self.drivers if d.observe is not None]
            self._note_policy()
            self._recover()
            await self.store.commit()
        except BaseException:
            self.store.abandon()
            raise
        self._control.start()
        self._watchdog.start()
        return self

    def _identity(self) -> str:
        """A random name of this store, so that idempotency keys of two stores never meet."""
        found = self.store.rows("SELECT value FROM meta WHERE key = 'id'")
        if found:
            return str(found[0][0])
        import secrets

        name = secrets.token_hex(6)
        self.store.write("INSERT INTO meta (key, value) VALUES ('id', ?)", (name,))
        return name

    def _note_policy(self) -> None:
        """The text of the policy in force, once in the journal: decisions name it by its hash."""
        known = self.store.rows("SELECT value FROM meta WHERE key = 'policy'")
        if [(self.rules.hash,)] != known:
            self.journal.append(0, "policy", text=self.rules.text)
            self.store.write(
                "REPLACE INTO meta (key, value) VALUES ('policy', ?)", (self.rules.hash,)
            )

    def _recover(self) -> None:
        """Sets everything going that was ready; what was reserved for lost thoughts is spent."""
        for process in list(self.table.where("account LIKE '%reserved%'")):
            if process.account.forget_reservations():
                self.journal.append(process.pid, "lost")
                self.store.save(process)
        for process in list(self.table.where("state = 'ready'")):
            if process.waiting is None:
                self.start(process)
            else:
                self._halt(process, process.waiting)
        for process in list(self.table.where("state = 'blocked' AND wake IS NOT NULL")):
            self._set_timer(process)

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Breaks off thoughts, lets effects end, commits, and closes devices and store."""
        if self._closing:
            return
        self._closing = True
        self._control.stop()
        self._watchdog.stop()
        tasks = dict(self._tasks)
        for pid, task in tasks.items():
            if not self._acting[pid]:
                task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks.values(), timeout=GRACE)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        for timer in self._timers.values():
            timer.cancel()
        try:
            if self.store.failure is None:
                await self.store.commit()
        finally:
            for device in (*self.drivers, *self.images.values()):
                try:
                    if close := getattr(device, "close", None):
                        await close()
                except Exception:
                    log.exception("%s cannot be closed", device)
            await self.store.close()
            for end in self._observers:
                end()
            self._tell_all()

    async def ended(self, pid: int, *, or_stopped: bool = False) -> Process:
        """Waits until a process has ended, and its end is on disk."""
        process = self.table.get(pid)
        until = (State.EXITED, State.STOPPED) if or_stopped else (State.EXITED,)
        while process.state not in until:
            if self.store.failure is not None:
                raise self.store.failure
            await self._settled.setdefault(pid, asyncio.Event()).wait()
        await self.store.commit()
        return process
