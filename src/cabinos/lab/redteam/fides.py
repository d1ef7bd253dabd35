"""The FIDES middleware of Microsoft's agent-framework-core, as a gate beside Cabin's.

Its label tracker and its policy enforcement run around every call, with the declarations that
Cabin's gate has: reading tools return untrusted content and accept an untrusted context, all others
do not. Automatic hiding is off: its variables need a planner that emits references. A violation is
what it would ask the person about.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from cabinos.kernel.errors import KernelError
from cabinos.kernel.policy import Value
from cabinos.lab.redteam.declared import TOOLS, consequential

__all__ = ["Fides", "version"]

MISSING = "pip install agent-framework-core"


def version() -> str:
    """The version that is installed, or ""."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    try:
        return of("agent-framework-core")
    except PackageNotFoundError:
        return ""


class Fides:
    """One episode under the two middlewares."""

    def __init__(self) -> None:
        try:
            from agent_framework import security
        except ImportError:
            raise KernelError(f"agent-framework-core is not installed: {MISSING}") from None
        logging.getLogger("agent_framework").setLevel(logging.CRITICAL)
        scope = security._SecurityScope()
        self._label = security.LabelTrackingFunctionMiddleware(
            auto_hide_untrusted=False, security_scope=scope
        )
        self._policy = security.PolicyEnforcementFunctionMiddleware(
            block_on_violation=False, security_scope=scope
        )

    def decide(self, tool: str, values: Mapping[str, Value]) -> str:
        """See `Gate`."""
        before = len(self._policy.audit_log)
        asyncio.run(self._process(tool, {name: value.value for name, value in values.items()}))
        return "ask" if len(self._policy.audit_log) > before else "allow"

    async def _process(self, tool: str, arguments: dict[str, Any]) -> None:
        from agent_framework import FunctionInvocationContext, FunctionTool

        acts = consequential(tool)
        reads = not acts or TOOLS[tool].reads
        function = FunctionTool(
            name=tool,
            description=tool,
            func=lambda: "",
            additional_properties={
                "source_integrity": "untrusted" if reads else "trusted",
                "accepts_untrusted": not acts,
            },
        )
        context = FunctionInvocationContext(function, arguments)

        async def call() -> None:
            context.result = "a result"

        async def enforce() -> None:
            await self._policy.process(context, call)

        await self._label.process(context, enforce)

    def made(self, tool: str, approved: bool) -> None:
        """See `Gate`."""

    def read(self, tool: str) -> None:
        """See `Gate`: the tracker has seen the result."""

    def refused(self) -> None:
        """See `Gate`: it has no such thing."""
