"""Devices stay light until they are used, and a device says which extra it lacks."""

import pkgutil
import subprocess
import sys

import pytest

import cabinos.drivers
from cabinos.drivers.web import driver as web
from cabinos.kernel.capability import Capabilities
from cabinos.kernel.errors import ToolError
from tests.drivers.support import call, context, named

HEAVY = ("docx", "httpx2", "jsonschema", "lxml", "matplotlib", "mcp", "pypdf", "trafilatura")


def test_importing_the_devices_imports_no_library_of_an_extra() -> None:
    modules = [m.name for m in pkgutil.walk_packages(cabinos.drivers.__path__, "cabinos.drivers.")]
    assert {"cabinos.drivers.web", "cabinos.drivers.mcp"} <= set(modules)
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    tool = named(web({}), "web_fetch")
    with pytest.raises(ToolError, match=r"pip install 'cabinos\[web\]'"):
        call(tool, context(Capabilities(web=("*",))), url="https://example.org/")
