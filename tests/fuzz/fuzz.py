"""Fuzzes the GGUF loader and the tokenizer of run.c, coverage-guided, under ASan and UBSan.

    python tests/fuzz/fuzz.py --seconds 1800

Needs clang with libFuzzer. Seeds are tiny models of every type and tokenizer. Ends with one JSON
line; a fault leaves its input in the working folder and exits with 1.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cabinos.engine.gguf import read_gguf
from tests.engine.fixtures import tiny_gguf

HERE = Path(__file__).parent
FLAGS = ["-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=undefined"]
SEEDS = [("q8_0", "llama"), ("q4_0", "qwen2"), ("f16", "mistral"), ("q4_k", "qwen3"),
         ("q5_k", "llama")]  # fmt: skip


def make_seeds(folder: Path) -> None:
    """Models of one layer and 32 or 256 wide: the fewest bytes that load."""
    for kind, architecture in SEEDS:
        wide = 256 if kind.endswith("_k") else 32
        shape = {"layers": 1, "vocab": 320, "hidden": wide, "inner": wide, "tied": True}
        heads = {"heads": 2, "kv_heads": 1, "head_dim": 16}
        path = folder / f"{architecture}-{kind}.gguf"
        tiny_gguf(path, kind, architecture, **shape, **heads)  # type: ignore[arg-type]
        if kind == "q8_0":
            path = folder / "spm.gguf"
            tiny_gguf(path, kind, tokenizer="spm", **shape, **heads)  # type: ignore[arg-type]


def make_dictionary(path: Path, folder: Path) -> None:
    """Names the loader looks up, so that the fuzzer need not guess them."""
    names: set[str] = set()
    for seed in folder.glob("*.gguf"):
        file = read_gguf(seed)
        names |= set(file.metadata) | set(file.tensors)
    path.write_text("".join(f'"{name}"\n' for name in sorted(names)))


def main(arguments: list[str] | None = None) -> int:
    """Builds the target, runs it, prints executions, coverage and faults as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="keep corpus and faults here")
    parser.add_argument("--clang", default=shutil.which("clang") or shutil.which("clang-14"))
    options = parser.parse_args(arguments)
    if not options.clang:
        parser.error("clang was not found; name it with --clang")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    target = folder / "fuzz"
    build = [options.clang, *FLAGS, HERE / "fuzz.c", "-o", target, "-lm", "-lpthread"]
    subprocess.run(build, check=True)
    make_seeds(corpus)
    make_dictionary(folder / "names.dict", corpus)
    limits = [f"-max_total_time={options.seconds}", "-max_len=400000", "-timeout=20",
              "-rss_limit_mb=4096", "-print_final_stats=1"]  # fmt: skip
    command = [target, corpus, f"-dict={folder / 'names.dict'}", f"-artifact_prefix={folder}/"]
    result = subprocess.run([*command, *limits], stderr=subprocess.PIPE, text=True, check=False)
    executions = re.search(r"number_of_executed_units: (\d+)", result.stderr)
    coverage = re.findall(r"cov: (\d+)", result.stderr)
    if result.returncode:
        sys.stderr.write(result.stderr[-4000:])
    report = {
        "executions": int(executions[1]) if executions else 0,
        "seconds": options.seconds,
        "edges": int(coverage[-1]) if coverage else 0,
        "faults": int(result.returncode != 0),
        "folder": str(folder),
    }
    sys.stdout.write(json.dumps(report) + "\n")
    return int(result.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
