"""Where Cabin keeps things: one folder by the platform's convention, or `$CABIN_HOME`."""

import os
import sys
from pathlib import Path

__all__ = ["cabin_home", "config_path", "store_path"]


def cabin_home() -> Path:
    """The folder for Cabin's data. It need not exist yet."""
    if override := os.environ.get("CABIN_HOME"):
        return Path(override).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "cabin"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "cabin"


def store_path() -> Path:
    """The SQLite file of processes, pages and journal."""
    return cabin_home() / "cabin.db"


def config_path() -> Path:
    """The configuration: models, devices, policy."""
    return cabin_home() / "config.toml"
