"""Devices and tools that are installed: found by entry point, opened with their part of the config.

A package offers a driver in the group `cabinos.drivers` (a function from its configuration to a
`Driver`, or to None where there is nothing to drive), or a tool in the group `cabinos.tools`.
Cabin's own drivers come the same way.
"""

import logging
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from cabinos.kernel.driver import Driver, Tool
from cabinos.kernel.errors import KernelError

__all__ = ["load_drivers"]

log = logging.getLogger("cabinos.kernel")


def load_drivers(config: Mapping[str, Any]) -> list[Driver]:
    """Opens every installed driver with `config[its name]`.

    A foreign one that fails is left out with a warning; a wrong configuration raises KernelError.
    """
    drivers = []
    for entry in entry_points(group="cabinos.drivers"):
        section = config.get(entry.name, {})
        if not isinstance(section, Mapping):
            raise KernelError(f"config: [{entry.name}] must be a table.")
        try:
            driver = entry.load()(section)
        except KernelError:
            raise
        except Exception:
            log.warning("the driver %r cannot be used", entry.name, exc_info=True)
            continue
        if driver is not None:
            drivers.append(driver)
    tools = []
    for entry in entry_points(group="cabinos.tools"):
        try:
            tool = entry.load()
        except Exception:
            log.warning("the tool %r cannot be used", entry.name, exc_info=True)
            continue
        if isinstance(tool, Tool):
            tools.append(tool)
    return [*drivers, Driver("plugins", tools)]
