"""`cabin doctor`: what is there, what is missing, what is broken."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

import cabinos
from cabinos.cli.options import as_json
from cabinos.cli.terminal import clean, print_json
from cabinos.cli.view import View, holder, look

EXTRAS = {  # extra → what it is for, and the modules that tell whether it is there
    "remote": ("models behind a web API", ("openai", "anthropic")),
    "web": ("fetching web pages", ("httpx2", "trafilatura")),
    "documents": ("text of PDF and Word files", ("pypdf", "docx")),
    "mcp": ("MCP servers as devices", ("mcp",)),
    "serve": ("the HTTP API", ("starlette", "uvicorn")),
    "pack": ("making GGUF files", ("gguf", "safetensors")),
    "tracing": ("OpenTelemetry spans", ("opentelemetry.sdk",)),
    "sign": ("checking signatures", ("cryptography",)),
}
SANDBOX = ("--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "true")
MARKS = {"ok": ("green", "ok"), "missing": ("yellow", "missing"), "broken": ("red", "broken")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "missing", "broken"]
    detail: str


@click.command("doctor")
@as_json
def doctor_command(as_json: bool) -> None:
    """Say what is there, what is missing and what is broken. Exit code 1 if something is broken."""
    findings = [finding for check in CHECKS for finding in _safely(check)]
    if as_json:
        print_json({"version": cabinos.__version__, "findings": [asdict(f) for f in findings]})
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            colour, word = MARKS[finding.state]
            mark = click.style(f"{word:<7}", fg=colour)
            click.echo(f"{mark}  {finding.name:<{width}}  {clean(finding.detail)}")
    if any(finding.state == "broken" for finding in findings):
        raise SystemExit(1)


def _safely(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of a check; one that fails is a finding itself."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        yield Finding(check.__name__.removeprefix("_"), "broken", str(error) or repr(error))


def _python() -> Iterator[Finding]:
    import platform
    import sqlite3

    system = f"{platform.system()} {platform.machine()}"
    facts = f"{platform.python_version()} on {system}, SQLite {sqlite3.sqlite_version}"
    yield Finding("python", "ok", facts)


def _engine() -> Iterator[Finding]:
    from cabinos.engine.library import library, library_path

    library()
    level = library_path().stem.removeprefix("librun-")
    yield Finding("engine", "ok", f"run.c for {level}: {library_path()}")


def _config() -> Iterator[Finding]:
    from cabinos.kernel.plugins import load_drivers, read_config
    from cabinos.store.home import config_path

    path = config_path()
    drivers = load_drivers(read_config(path))
    state = f"{path}" if path.exists() else f"none ({path} would be read)"
    yield Finding("config", "ok", state)
    tools = sum(len(driver.tools) for driver in drivers)
    names = ", ".join(driver.name for driver in drivers)
    yield Finding("devices", "ok", f"{len(drivers)} with {tools} tools: {names}")
    if models := [model for driver in drivers for model in driver.models]:
        brains = [m.name + " (built in)" * getattr(m, "built_in", False) for m in models]
        yield Finding("brains", "ok", ", ".join(brains))
    else:
        yield Finding(
            "brains", "missing", "no chat model: see `cabin models`, and [model.…] in the config"
        )


def _papers() -> Iterator[Finding]:
    """Whether the brain in the box is the signed one."""
    from cabinos.brain.manifest import examine
    from cabinos.brain.minisign import PublicKey
    from cabinos.cli.verify import OURS, RUNNER
    from cabinos.drivers.model.brain import BUILT_IN

    if not BUILT_IN.is_file():
        yield Finding("signature", "missing", "no brain in the box")
        return
    if not _installed("cryptography"):
        yield Finding("signature", "missing", "not checked: pip install 'cabinos[sign]'")
        return
    papers = examine(BUILT_IN, RUNNER, PublicKey.read(OURS))
    if papers.problem:
        yield Finding("signature", "broken", f"{BUILT_IN}: {papers.problem}")
    else:
        yield Finding("signature", "ok", f"run.c and {BUILT_IN.name} as signed ({papers.comment})")


def _store() -> Iterator[Finding]:
    from cabinos.store.home import store_path

    path = store_path()
    if not path.exists():
        yield Finding("store", "missing", f"{path}: the first request makes it")
        return
    with look() as view:
        kernel = holder(path)
        size = sum(Path(f"{path}{end}").stat().st_size for end in ("", "-wal")
                   if Path(f"{path}{end}").exists())  # fmt: skip
        by = f", in use by process {kernel}" if kernel else ""
        processes = view.store.rows("SELECT count(*) FROM process")[0][0]
        yield Finding("store", "ok", f"{path}: {size / 1e6:.1f} MB, {processes} processes{by}")
        yield _integrity(view)
        yield Finding("pages", "ok", f"{view.pages.verify()}, each as its hash says")
        yield Finding("journal", "ok", f"{view.journal.verify()} rows, the chain holds")


def _integrity(view: View) -> Finding:
    """SQLite's own check of the file."""
    problems = [row[0] for row in view.store.rows("PRAGMA integrity_check(3)")]
    if problems == ["ok"]:
        return Finding("integrity", "ok", "the file is sound")
    return Finding("integrity", "broken", "; ".join(problems))


def _extras() -> Iterator[Finding]:
    for extra, (purpose, modules) in EXTRAS.items():
        absent = [module for module in modules if not _installed(module)]
        if absent:
            yield Finding(extra, "missing", f"{purpose}: pip install 'cabinos[{extra}]'")
        else:
            yield Finding(extra, "ok", purpose)


def _installed(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _sandbox() -> Iterator[Finding]:
    import shutil
    import subprocess

    path = shutil.which("bwrap")
    if path is None:
        advice = "no process may run commands: install the package bubblewrap"
        yield Finding("sandbox", "missing", advice if sys.platform == "linux" else "Linux only")
        return
    try:
        tried = subprocess.run(
            [path, *SANDBOX], capture_output=True, text=True, timeout=10, check=False
        )
    except subprocess.TimeoutExpired:
        yield Finding("sandbox", "broken", f"{path} hangs: a test took more than 10 s")
        return
    if tried.returncode == 0:
        yield Finding("sandbox", "ok", path)
    else:
        reason = tried.stderr.strip() or f"status {tried.returncode}"
        yield Finding("sandbox", "missing", f"{path} cannot make one here: {reason}")


CHECKS = (_python, _engine, _config, _papers, _store, _extras, _sandbox)
