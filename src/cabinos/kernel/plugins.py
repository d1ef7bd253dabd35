"""What is installed and how it is configured.

    [cabin]
    model = "nano"           # the brain; otherwise the first model below
    escalate = "smart"       # the one it may hand over to

    [model.smart]            # every other table belongs to the device of that name
    provider = "openai"
    model = "gpt-5"

A package offers a driver in the group `cabinos.drivers` (a function from its configuration to a
`Driver`, or to None where there is nothing to drive), or a tool in the group `cabinos.tools`.
Cabin's own drivers come the same way.
"""

import difflib
import logging
import tomllib
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from cabinos.kernel.driver import Driver, Tool
from cabinos.kernel.errors import KernelError

__all__ = ["load_drivers", "read_config"]

OWN = {"model": str, "escalate": str, "private": list}  # the keys of [cabin], and what they hold
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


def read_config(path: Path) -> dict[str, Any]:
    """The file as a mapping from table to contents; empty if there is none.

    Raises KernelError, naming the file and the line or the key, if it is wrong. What a device's
    table may hold is checked by the device.
    """
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise KernelError(f"{path}: not UTF-8 text (byte {error.start}).") from None
    try:
        config = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise KernelError(f"{path}: not TOML: {error}.") from None
    known = {"cabin", *(entry.name for entry in entry_points(group="cabinos.drivers"))}
    for name, table in config.items():
        if name not in known:
            raise KernelError(
                f"{path}: there is no device {name!r}.{_perhaps(name, known, '[{}]')}"
            )
        if not isinstance(table, Mapping):
            raise KernelError(f"{path}: {name!r} must be a table: [{name}].")
    for key, value in config.get("cabin", {}).items():
        if key not in OWN:
            raise KernelError(f"{path}: [cabin] has no key {key!r}.{_perhaps(key, OWN, '{}')}")
        if not isinstance(value, OWN[key]):
            raise KernelError(f"{path}: [cabin] {key} must be a {OWN[key].__name__}.")
    return config


def _perhaps(word: str, known: Any, shape: str) -> str:
    near = difflib.get_close_matches(word, known, 1)
    names = near or sorted(known)
    lead = " Did you mean " if near else " There are "
    return f"{lead}{', '.join(shape.format(name) for name in names)}{'?' if near else '.'}"
