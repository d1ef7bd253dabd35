"""The device: what processes find, how far it is believed, and what comes before a model."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from cabinos.kernel.capability import Capabilities, files
from cabinos.kernel.driver import Driver, Labelled
from cabinos.kernel.errors import Denied, KernelError, ToolError
from cabinos.kernel.kernel import Kernel
from cabinos.skills.catalog import installed_folder
from cabinos.skills.device import driver
from cabinos.skills.install import install
from tests.drivers.support import call, context, named
from tests.kernel.models import ScriptedModel
from tests.skills.conftest import Make

SANDBOX = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


def ask(device: Driver, tool: str, **given: Any) -> Labelled:
    result = call(named(device, tool), context(), **given)
    assert isinstance(result, Labelled)
    return result


def test_a_question_finds_principles_with_their_sources() -> None:
    found = ask(driver({}), "skill_search", query="why does it know A is B but not B is A")
    assert found.label == "trusted"
    assert "[llm-operating-systems#reversal-curse]" in found.value
    assert "sources/reversal.md:" in found.value


def test_a_principle_brings_its_links() -> None:
    found = ask(driver({}), "knowledge_get", principle="llm-operating-systems#emergence")
    assert "Link: contrasts [llm-operating-systems#metric-mirage]" in found.value
    with pytest.raises(ToolError, match="llm-operating-systems#emergence"):
        ask(driver({}), "knowledge_get", principle="llm-operating-systems#emergance")


def test_what_strangers_wrote_is_untrusted(make: Make) -> None:
    install(make())
    device = driver({})
    assert ask(device, "skill_search", query="bread dough").label == "untrusted"
    assert ask(device, "skill_read", skill="bread").label == "untrusted"
    assert ask(device, "skill_read", skill="securing-an-agent").label == "trusted"
    assert device.brief is not None
    assert device.brief("How to bake bread when dough does not rise?", len, 10_000) == ""


def test_what_is_trusted_guides(make: Make) -> None:
    install(make(), trust=True)
    device = driver({})
    assert device.brief is not None
    told = device.brief("How to bake bread when dough does not rise?", len, 10_000)
    assert told.startswith("The skill bread is about this.")
    assert "[bread#warmth]" in told
    assert device.brief("what is the time in Rome", len, 10_000) == ""
    assert device.brief("How to bake bread when dough does not rise?", len, 10) == ""


def test_a_pinned_skill_is_never_dropped(make: Make) -> None:
    install(make(), trust=True)
    pinned = driver({"pin": ["bread"]})
    assert pinned.brief is not None
    assert "The skill bread" in pinned.brief("what is the time in Rome", len, 10)


def test_a_pinned_skill_that_cannot_guide_is_told_of(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    install(make())
    pinned = driver({"pin": ["bread", "nothing"]})
    assert pinned.brief is not None
    assert pinned.brief("what is the time in Rome", len, 1_000) == ""
    assert "bread is not trusted" in caplog.text
    assert "there is no skill 'nothing'" in caplog.text


def test_nothing_outside_of_a_skill_is_read(make: Make) -> None:
    install(make())
    for inner in ("../../secret", "/etc/passwd", "nothing.md"):
        with pytest.raises(ToolError, match="has no text"):
            ask(driver({}), "skill_read", skill="bread", file=inner)
    with pytest.raises(ToolError, match="no skill"):
        ask(driver({}), "skill_read", skill="../bread")


def test_a_damaged_catalog_does_not_keep_anybody_from_work() -> None:
    installed_folder().mkdir(parents=True)
    (installed_folder() / "trust.json").write_text("{")
    device = driver({})
    assert device.brief is not None
    assert device.brief("prompt injection in agents", len, 1_000) == ""
    with pytest.raises(ToolError, match="trust nothing"):
        ask(device, "skill_search", query="prompt injection")


@pytest.mark.parametrize("config", [{"pins": []}, {"pin": "bread"}, {"brief": "many"}])
def test_wrong_configuration(config: dict[str, Any]) -> None:
    with pytest.raises(KernelError, match="skills"):
        driver(config)


# ---- Scripts -------------------------------------------------------------------------------------


def test_scripts_need_a_shell(make: Make) -> None:
    install(make(files={"scripts/a.py": "print(1)"}))
    with pytest.raises(Denied, match="may not run"):
        call(named(driver({}), "skill_run"), context(), skill="bread", script="scripts/a.py")


@pytest.mark.parametrize("script", ["SKILL.md", "scripts/../a.py", "scripts/none.py", "/a.py"])
def test_only_scripts_are_run(make: Make, script: str) -> None:
    install(make(files={"scripts/a.py": "print(1)", "a.py": "print(2)"}))
    with pytest.raises(ToolError):
        call(named(driver({}), "skill_run"), context(Capabilities(shell=True)), skill="bread",
             script=script)  # fmt: skip


@SANDBOX
def test_a_script_runs_in_the_sandbox(make: Make, tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "print(sys.argv[1:], pathlib.Path('/files/in/a.txt').read_text())\n"
        "try:\n    pathlib.Path(__file__).write_text('x')\nexcept OSError as error:\n"
        "    print('read-only')\n"
        f"print(os.path.exists({str(tmp_path)!r}))\n"
    )
    install(make(files={"scripts/a.py": code}))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("granted")
    allowed = Capabilities(shell=True, files=(files(tmp_path / "in"),))
    said = call(
        named(driver({}), "skill_run"),
        context(allowed),
        skill="bread",
        script="scripts/a.py",
        arguments=["$(id)", "b c"],
    )
    assert said == "['$(id)', 'b c'] granted\nread-only\nFalse"


# ---- In a kernel ---------------------------------------------------------------------------------


def test_a_brief_comes_before_the_request(tmp_path: Path) -> None:
    model = ScriptedModel("Done.")

    async def main() -> None:
        store, devices = tmp_path / "s.db", [driver({})]
        async with Kernel.open(store, drivers=devices, models=[model]) as kernel:
            process = await kernel.spawn(
                "Secure my agent against prompt injection and exfiltration."
            )
            await process.result()
            plain = await kernel.spawn("What is the weather in Rome?")
            await plain.result()

    asyncio.run(main())
    first, second = (request.messages[0] for request in model.requests)
    assert first.role == second.role == "system"
    assert "The skill securing-an-agent is about this." in first.text
    assert "skill" not in second.text
