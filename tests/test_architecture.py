"""The house stays light: who is imported by merely opening the door."""

import pkgutil
import subprocess
import sys

import cabinos.engine

# A subclass of jinja2's own classes, imported when the first template is rendered.
THEMSELVES_LAZY = {"cabinos.engine.template_sandbox"}
LAZY = (
    "gguf",
    "jinja2",
    "llguidance",
    "rich",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
)


def test_importing_the_engine_imports_nothing_heavy() -> None:
    """Every module of the engine, in a fresh process; heavy packages wait until they are used."""
    found = pkgutil.walk_packages(cabinos.engine.__path__, "cabinos.engine.")
    modules = [module.name for module in found if module.name not in THEMSELVES_LAZY]
    assert len(modules) > 10
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        f"print([name for name in {LAZY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr
