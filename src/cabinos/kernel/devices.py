"""What is plugged in: tools and models by name, a queue for each model, and who is shown what."""

from collections.abc import Sequence

from cabinos.kernel.driver import Driver, Model, Tool
from cabinos.kernel.errors import KernelError, ModelError
from cabinos.kernel.memory import Memory, Offer
from cabinos.kernel.process import Process
from cabinos.kernel.scheduler import POLICIES, ModelQueue
from cabinos.kernel.syscall import SYSCALLS, client_tool, model_tools

__all__ = ["Devices"]

NO_TOOLS = Offer(())
OFFERS = 1000  # sets of tools whose offers are kept; clients may bring any number of sets


class Devices:
    """The part of `Machine` that knows its devices."""

    memory: Memory

    def __init__(self, drivers: Sequence[Driver], policy: str, quantum: int, brain: str) -> None:
        self.drivers = list(drivers)
        self.tools: dict[str, Tool] = {}
        self.models: dict[str, Model] = {}
        self.queues: dict[str, ModelQueue] = {}
        self.brain = brain  # of processes that name no model; "": the first there is
        self._policy, self._quantum = POLICIES[policy], quantum
        self._syscall_tools = model_tools()
        self._offers: dict[tuple[object, ...], Offer] = {}
        for driver in drivers:
            for tool in driver.tools:
                self.add_tool(tool)
            for model in driver.models:
                self.add_model(model)

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
        """The tools a model is shown for this process; a program calls them itself."""
        if process.image == "code":
            return NO_TOOLS
        c = process.capabilities
        key = (c.tools, bool(c.files), bool(c.web), c.shell, c.client)
        offer = self._offers.get(key)
        if offer is None:
            every = [*self.tools.values(), *self._syscall_tools.values()]
            own = [
                t
                for t in every
                if c.allows_tool(t.name)
                and not c.of_client(t.name)
                and (not t.needs or getattr(c, t.needs))
            ]
            offer = Offer([*own, *map(client_tool, c.client)])
            if len(self._offers) >= OFFERS:
                self._offers.clear()
            self._offers[key] = offer
        return offer

    def count(self, process: Process, text: str) -> int:
        """Tokens of a text, as the process's model counts them."""
        model = self.models.get(process.model)
        return model.count(text) if model is not None else len(text) // 3 + 1

    def room(self, process: Process) -> int:
        """Tokens for pages in the process's window."""
        model = self.model(process.model)
        answer = (process.image_state.get("think") or {}).get("max_tokens") or model.window
        return self.memory.room(model, self.offered(process), min(answer, model.window // 4))
