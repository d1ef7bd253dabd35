"""What is plugged in: tools and models by name, a queue for each model, and who is shown what."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cabinos.kernel.driver import Driver, Model, Tool
from cabinos.kernel.errors import KernelError, ModelError
from cabinos.kernel.memory import Memory, Offer
from cabinos.kernel.process import Process
from cabinos.kernel.retrieval import ESCALATE, shown
from cabinos.kernel.scheduler import POLICIES, ModelQueue
from cabinos.kernel.syscall import SYSCALLS, client_tool, model_tools

__all__ = ["Devices"]

NO_TOOLS = Offer(())
OFFERS = 1000  # sets of tools whose offers are kept; clients may bring any number of sets


class Devices:
    """The part of `Machine` that knows its devices."""

    memory: Memory

    def __init__(
        self, drivers: Sequence[Driver], policy: str, quantum: int, names: Mapping[str, Any]
    ) -> None:
        self.drivers = list(drivers)
        self.tools: dict[str, Tool] = {}
        self.models: dict[str, Model] = {}
        self.queues: dict[str, ModelQueue] = {}
        self.brain = names.get("model", "")  # of who names none; "": the first there is
        self.escalate = names.get("escalate", "")  # that others may hand over to; "": none
        self.secluded = tuple(map(_folder, names.get("private", ())))  # for this machine alone
        self._policy, self._quantum = POLICIES[policy], quantum
        self.syscall_tools = model_tools()
        self._offers: dict[tuple[object, ...], Offer] = {}
        for driver in drivers:
            for tool in driver.tools:
                self.add_tool(tool)
        every = (model for driver in drivers for model in driver.models)
        for model in sorted(every, key=lambda model: getattr(model, "built_in", False)):
            self.add_model(model)
        if self.escalate:
            self.model(self.escalate)  # raises if it is not there

    def add_tool(self, tool: Tool) -> None:
        """Makes a tool known. Raises KernelError if its name is another one's, or a syscall's."""
        if tool.name in SYSCALLS:
            raise KernelError(f"a tool may not be called {tool.name!r}: that is a syscall.")
        if self.tools.setdefault(tool.name, tool) is not tool:
            raise KernelError(f"there are two tools called {tool.name!r}.")
        self._offers.clear()

    def add_model(self, model: Model) -> None:
        """Makes a model known; the first one is the default."""
        if model.name in self.models:
            raise KernelError(f"there are two models called {model.name!r}.")
        self.models[model.name] = model
        self.queues[model.name] = ModelQueue(model.slots, self._policy, self._quantum)

    def model(self, name: str) -> Model:
        """The model; raises ModelError if it is not configured."""
        model = self.models.get(name)
        if model is None:
            known = ", ".join(self.models) or "none; see `cabin doctor`"
            raise ModelError(f"there is no model {name!r}. There are: {known}.")
        return model

    def offered(self, process: Process) -> Offer:
        """The tools a model may call for this process; a program calls them itself."""
        if process.image == "code":
            return NO_TOOLS
        c = process.capabilities
        larger = self.larger(process) is not None
        key = (c.tools, bool(c.files), bool(c.web), c.shell, c.client, larger)
        offer = self._offers.get(key)
        if offer is None:
            every = [*self.tools.values(), *self.syscall_tools.values()]
            own = [
                t
                for t in every
                if c.allows_tool(t.name)
                and not c.of_client(t.name)
                and (not t.needs or getattr(c, t.needs))
                and (larger or t.name != ESCALATE)
            ]
            offer = Offer([*own, *map(client_tool, c.client)])
            if len(self._offers) >= OFFERS:
                self._offers.clear()
            self._offers[key] = offer
        return offer

    def shown(self, process: Process, model: Model, offer: Offer) -> Sequence[Tool]:
        """Those of the tools that a model is shown now: few, if it is small."""
        limit = getattr(model, "tools_shown", None)
        return offer if not limit else shown(offer, self.memory.newest_first(process), limit)

    def larger(self, process: Process) -> Model | None:
        """The model that a process may hand over to; none where its client makes the calls."""
        if process.model == self.escalate or process.image_state.get("hand_back"):
            return None
        return self.models.get(self.escalate)

    def count(self, process: Process, text: str) -> int:
        """Tokens of a text, as the process's model counts them."""
        model = self.models.get(process.model)
        return model.count(text) if model is not None else len(text) // 3 + 1

    def room(self, process: Process) -> int:
        """Tokens for pages in the process's window."""
        model = self.model(process.model)
        answer = (process.image_state.get("think") or {}).get("max_tokens") or model.window
        return self.memory.room(model, self.offered(process), min(answer, model.window // 4))


def _folder(path: object) -> Path:
    """A folder that the configuration calls private. Raises KernelError for what is no path."""
    try:
        return Path(str(path)).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise KernelError(f"cabin.private: {path}: {error}.") from None
