"""`cabin run` with a real model in a real process."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CABIN = [sys.executable, "-m", "cabinos"]


def run(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [*CABIN, "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, input=stdin or "")


def run_json(*arguments: str | Path, stdin: str | None = None) -> dict[str, object]:
    result = run(*arguments, "--json", stdin=stdin)
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert isinstance(data, dict)
    return data


def test_streams_text_and_says_how_fast(oz_model: Path) -> None:
    result = run(oz_model, "Dorothy", "-n", "30", "--seed", "1")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) > 10
    assert result.stdout.endswith("\n")
    last = result.stderr.splitlines()[-1]
    assert re.search(r"30 tokens at [\d,]+/s · length · seed 1\]$", last)


def test_the_words_are_the_books(oz_model: Path) -> None:
    """A bigram model of the book says mostly its words: tokenizer and weights fit together."""
    book = set(re.findall(r"[a-z]+", Path("tools/oz.txt").read_text().lower()))
    text = str(run_json(oz_model, "The", "-n", "200", "-t", "0.5", "--seed", "3")["text"])
    words = re.findall(r"[a-z]+", text.lower())
    assert len(words) > 80
    assert sum(word in book for word in words) > 0.9 * len(words)


def test_the_same_seed_gives_the_same_text_on_any_number_of_threads(oz_model: Path) -> None:
    one, two = (
        run(oz_model, "Toto", "-n", "40", "--seed", "5", "--threads", n, "-q") for n in ("1", "2")
    )
    assert one.stdout == two.stdout
    assert one.stderr == ""


def test_temperature_zero_takes_the_likeliest(oz_model: Path) -> None:
    data = run_json(oz_model, "The", "-n", "5", "-t", "0", "--logprobs", "2")
    for token in data["logprobs"]:  # type: ignore[attr-defined]
        assert token["id"] == token["top"][0]["id"]
        assert len(token["top"]) == 2
        assert token["logprob"] == token["top"][0]["logprob"] <= 0


def test_json_accounts_for_everything(oz_model: Path) -> None:
    data = run_json(oz_model, "Dorothy said", "-n", "12", "--seed", "9")
    assert set(data) == {
        "model", "text", "finish_reason", "seed", "prompt_tokens", "generated_tokens", "timings",
    }  # fmt: skip
    assert (data["seed"], data["generated_tokens"], data["finish_reason"]) == (9, 12, "length")
    assert all(seconds >= 0 for seconds in data["timings"].values())  # type: ignore[attr-defined]


def test_a_fresh_seed_is_reported_and_gives_the_text_again(oz_model: Path) -> None:
    first = run_json(oz_model, "Oz", "-n", "20")
    again = run_json(oz_model, "Oz", "-n", "20", "--seed", str(first["seed"]))
    assert first["text"] == again["text"]


@pytest.mark.parametrize("arguments", [["-"], []])
def test_the_prompt_comes_from_stdin(oz_model: Path, arguments: list[str]) -> None:
    piped = run(oz_model, *arguments, "-n", "20", "--seed", "2", stdin="The Lion")
    given = run(oz_model, "The Lion", "-n", "20", "--seed", "2")
    assert piped.stdout == given.stdout != ""


def test_stdin_that_is_not_text_is_refused(oz_model: Path) -> None:
    command = [*CABIN, "run", str(oz_model), "-"]
    result = subprocess.run(command, input=b"The \xff Lion", capture_output=True)
    assert result.returncode == 1
    assert result.stderr == b"cabin: error: stdin: not UTF-8 text (byte 4 is 0xff).\n"


def test_a_terminal_with_a_small_alphabet_gets_question_marks(oz_model: Path) -> None:
    command = [*CABIN, "run", str(oz_model), "né", "--echo", "-n", "1", "-q"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, capture_output=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(b"n?")


def test_without_a_prompt_it_dreams_from_nothing(oz_model: Path) -> None:
    assert run_json(oz_model, "", "-n", "5")["prompt_tokens"] == 1


def test_echo_prints_the_prompt_first(oz_model: Path) -> None:
    plain = run(oz_model, "The Tin", "-n", "8", "--seed", "4")
    echoed = run(oz_model, "The Tin", "-n", "8", "--seed", "4", "--echo")
    assert echoed.stdout == "The Tin" + plain.stdout


def test_stop_ends_before_the_text(oz_model: Path) -> None:
    data = run_json(oz_model, "The", "-n", "400", "--seed", "1", "--stop", "the", "--stop", ".")
    assert data["finish_reason"] == "stop"
    assert "the" not in str(data["text"])
    assert "." not in str(data["text"])


def test_regex_holds(oz_model: Path) -> None:
    text = run_json(oz_model, "Dorothy is ", "--regex", "[0-9]{2} years", "-n", "20")["text"]
    assert re.fullmatch("[0-9]{2} years", str(text))


def test_json_schema_holds(oz_model: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(
        '{"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},'
        ' "required": ["n"], "additionalProperties": false,'
        ' "x-guidance": {"whitespace_flexible": false}}'
    )
    text = run_json(oz_model, "", "--json-schema", schema, "-n", "60", "--seed", "1")["text"]
    assert json.loads(str(text))["n"] <= 99


def test_grammar_holds(oz_model: Path, tmp_path: Path) -> None:
    grammar = tmp_path / "yes.lark"
    grammar.write_text('start: ("yes" | "no") "!"')
    assert run_json(oz_model, "", "--grammar", grammar, "-n", "9")["text"] in {"yes!", "no!"}


def test_guessing_ahead_changes_nothing(oz_model: Path) -> None:
    common = (oz_model, "The Witch", "-n", "60", "--seed", "8", "-t", "0.3")
    plain = run_json(*common)["text"]
    assert run_json(*common, "--lookup")["text"] == plain
    assert run_json(*common, "--draft", oz_model)["text"] == plain


def test_what_a_terminal_would_obey_is_not_shown_to_it(oz_model: Path) -> None:
    command = [*CABIN, "run", str(oz_model), "a\x1b[31mb\x9bc", "--echo", "-n", "1", "-q"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    assert process.wait(60) == 0
    shown = os.read(ours, 4096)
    os.close(ours)
    assert shown.startswith(b"a[31mbc")
    assert b"\x1b" not in shown


def test_control_c_stops_at_once_with_130(oz_model: Path) -> None:
    command = [*CABIN, "run", str(oz_model), "The", "-n", "0", "--seed", "1"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert time.monotonic() - began < 20


def test_a_reader_who_goes_away_ends_it_quietly(oz_model: Path) -> None:
    command = [*CABIN, "run", str(oz_model), "The", "-n", "0", "--seed", "1"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(20)
    process.stdout.close()
    stderr = process.stderr.read()
    assert process.wait(60) == 141
    assert stderr == b""


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model" * 100])
def test_a_bad_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    result = run(path, "x")
    assert result.returncode == 1
    assert result.stderr.startswith("cabin: error: ")
    assert "bad.gguf" in result.stderr


def test_a_prompt_longer_than_the_context_is_refused(oz_model: Path) -> None:
    result = run(oz_model, "-", stdin="The Lion was. " * 2000)
    assert result.returncode == 1
    assert "2048" in result.stderr
    assert result.stderr.startswith("cabin: error: ")
