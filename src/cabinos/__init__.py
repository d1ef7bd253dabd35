"""Cabin: an operating system whose kernel process is a language model.

The names below are loaded when first used, so that a command that needs no kernel starts at once.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cabinos.kernel.budget import Budget
    from cabinos.kernel.capability import files
    from cabinos.kernel.driver import Driver, Tool, tool
    from cabinos.kernel.errors import KernelError, ToolError
    from cabinos.kernel.events import Event
    from cabinos.kernel.kernel import Kernel, ProcessHandle, Spawn

__version__ = "0.5.0"

_HOMES = {
    "budget": ("Budget",),
    "capability": ("files",),
    "driver": ("Driver", "Tool", "tool"),
    "errors": ("KernelError", "ToolError"),
    "events": ("Event",),
    "kernel": ("Kernel", "ProcessHandle", "Spawn"),
}

__all__ = [
    "Budget",
    "Driver",
    "Event",
    "Kernel",
    "KernelError",
    "ProcessHandle",
    "Spawn",
    "Tool",
    "ToolError",
    "__version__",
    "files",
    "tool",
]


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"cabinos.kernel.{home}"), name)
    raise AttributeError(f"module 'cabinos' has no attribute {name!r}")
