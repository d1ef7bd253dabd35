"""The command as a whole: what it lists, how fast, and how it ends when something is wrong."""

import resource
import subprocess
import sys

import click
import pytest

import cabinos
from cabinos.cli.main import COMMANDS, SECTIONS, main

HEAVY = ("numpy", "rich", "tokenizers", "jinja2", "llguidance", "gguf", "torch", "cabinos.engine")


def cabin(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cabinos", *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_what_help_says_of_a_command_is_what_the_command_says() -> None:
    for verbs in SECTIONS.values():
        for verb, (_, sentence) in verbs.items():
            command = main.get_command(click.Context(main), verb)
            assert command is not None
            assert command.get_short_help_str(200) == sentence


def test_help_lists_every_command_with_a_sentence() -> None:
    result = cabin("--help")
    assert result.returncode == 0
    listed = result.stdout[result.stdout.index("-h, --help") :]
    for name in COMMANDS:
        assert any(
            line.split()[:1] == [name] and len(line.split()) > 3 for line in listed.split("\n")
        )


def test_help_answers_within_150_ms_of_processor_time() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        cabin("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(seconds() for _ in range(5)) <= 0.150


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from cabinos.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        f"print('heavy:', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.endswith("heavy: []\n"), result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = cabin(command, "--help")
    assert result.returncode == 0
    assert f"cabin {command}" in result.stdout


def test_version() -> None:
    assert cabin("--version").stdout == f"cabin {cabinos.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["modles"], "'models'"),
        (["run"], "MODEL"),
        (["run", "m.gguf", "x", "--nonsense"], "--nonsense"),
        (["run", "m.gguf", "x", "--seed", "tomorrow"], "tomorrow"),
        (["run", "m.gguf", "x", "--temperature", "-1"], "temperature"),
        (["run", "m.gguf", "x", "--max-tokens", "-5"], "max_tokens"),
        (["run", "m.gguf", "x", "--logprobs", "2"], "--json"),
        (["run", "m.gguf", "x", "--regex", "a", "--grammar", "."], "grammar"),
        (["run", "m.gguf", "x", "--draft", "d.gguf", "--lookup"], "--lookup"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_says_what(arguments: list[str], word: str) -> None:
    result = cabin(*arguments)
    assert result.returncode == 2
    assert word in result.stderr
    assert "Usage: cabin" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_engine_error_is_one_line_with_exit_code_1() -> None:
    result = cabin("run", "/nowhere/model.gguf", "x")
    assert result.returncode == 1
    assert result.stderr.startswith("cabin: error: ")
    assert "/nowhere/model.gguf" in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_debug_shows_the_traceback() -> None:
    result = cabin("--debug", "run", "/nowhere/model.gguf", "x")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "ModelFileError" in result.stderr
