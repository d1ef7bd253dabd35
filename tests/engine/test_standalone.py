"""The other face of run.c: a program of one file, compiled and run as the README says."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cabinos.engine import library
from cabinos.engine.model import Model
from cabinos.engine.tokenizer import Tokenizer
from tests.engine.conftest import ModelMaker

RUN_C = Path(library.__file__).parent / "run.c"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = os.environ.get("CC") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    path = tmp_path_factory.mktemp("run") / "run"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, RUN_C, "-o", path, "-lm", "-lpthread"], check=True)
    return path


def run(program: Path, *arguments: object, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, input=text, errors="replace")


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_it_writes_what_the_library_writes(
    program: Path, architecture: str, tiny_model: ModelMaker
) -> None:
    path = tiny_model("q8_0", architecture)
    prompt = "It was 1900, and Dorothy's house (the grey one) flew.\n\n  Well?"
    ours = run(program, path, "-p", prompt, "-n", 30, "--temp", 0, "--no-cache", "-t", 1)
    assert ours.returncode == 0, ours.stderr
    tokenizer, ids = Tokenizer.from_gguf(path), []
    with Model(path, threads=1, cache=False) as model, model.sequence() as sequence:
        logits = sequence.feed(tokenizer.encode(prompt))
        for _ in range(30):
            assert logits is not None
            ids.append(int(logits.argmax()))
            if ids[-1] in tokenizer.end_ids:
                break
            logits = sequence.feed([ids[-1]])
    written = b"".join(tokenizer.token_bytes(token) for token in ids)
    assert ours.stdout == written.decode(errors="replace")


def test_seeds_and_options(program: Path, tiny_model: ModelMaker) -> None:
    path = tiny_model("q8_0")
    same = [run(program, path, "Once", "-n", 20, "--seed", 5, "--no-cache").stdout for _ in "ab"]
    assert same[0] == same[1]
    assert same[0] != run(program, path, "Once", "-n", 20, "--seed", 6, "--no-cache").stdout


def test_chat_answers_each_line(program: Path, tiny_model: ModelMaker) -> None:
    result = run(program, tiny_model("q8_0"), "-i", "-n", 4, "--no-cache", text="hello\nand you?\n")
    assert result.returncode == 0
    assert result.stderr.count("tokens read") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "usage: run MODEL.gguf"),
        (["absent.gguf", "hi"], 1, "run: cannot open 'absent.gguf': No such file or directory"),
        (["MODEL", "-n", "many"], 2, "run: -n needs a number"),
        (["MODEL", "-n"], 2, "run: -n needs a number"),
        (["MODEL", "hi", "--frequency"], 2, "usage: run"),
        (["MODEL", "word " * 600], 1, "pass the context of 512"),
    ],
)
def test_mistakes_are_explained(
    program: Path, tiny_model: ModelMaker, arguments: list[str], code: int, message: str
) -> None:
    path = str(tiny_model("q8_0"))
    result = run(program, *[path if word == "MODEL" else word for word in arguments])
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
