"""How long from starting a process to its first token.

    python bench/engine/startup.py --models 30M-Q4_0.gguf 1.1B-Q4_0.gguf --llama-cpp DIR

The standalone program, Python and llama.cpp; files are in the page cache. "first open" finds no
repacked weights beside the model, "second open" does. For ours the goal is judged on the whole
process, its end included, since that needs no agreement on what the first token is; for llama.cpp
both times are shown, without its warm-up run, and the ratio is its first byte ÷ the end of our
second open. Times in milliseconds.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness
import peers
import standalone

GOALS = {"30M": 20.0, "1.1B": 100.0}  # milliseconds, second open
PROMPT = "The cabin stands"
IN_PYTHON = """
import sys
from cabinos.engine.model import Model
with Model(sys.argv[1], threads=int(sys.argv[2])) as model, model.sequence() as sequence:
    print(int(sequence.feed([1, 300, 301]).argmax()))
"""


def measure(
    model: Path, program: Path, threads: int, options: argparse.Namespace, llama: peers.Peer
) -> list[harness.Row]:
    samples: dict[str, list[standalone.Ended]] = {}
    failures: dict[str, str] = {}

    def take(name: str, command: list[str]) -> None:
        try:
            samples.setdefault(name, []).append(standalone.start(command))
        except standalone.ProgramError as error:
            failures[name] = str(error)

    with standalone.private_copy(model) as copy:
        ask = ["-p", PROMPT, "-n", "1", "-t", str(threads), "--temp", "0"]
        standalone.warm(copy)
        for _ in range(options.repeats):
            standalone.forget_cache(copy)
            take("run, first open", [str(program), str(copy), *ask])
            take("run, second open", [str(program), str(copy), *ask])
            take("Python, second open", [sys.executable, "-c", IN_PYTHON, str(copy), str(threads)])
            if not llama.missing:
                extra = ["-no-cnv", "--no-display-prompt", "--no-warmup"]
                take(
                    "llama-completion",
                    [llama.binary("llama-completion"), "-m", str(copy), *ask, *extra],
                )
    rows: list[harness.Row] = []
    shape = model.stem.partition("-")[0]
    second = statistics.median([e.end for e in samples.get("run, second open", [])] or [0.0])
    for name in [*samples, *(set(failures) - set(samples))]:
        row: harness.Row = {"model": model.stem, "threads": threads, "what": name}
        if name in failures:
            rows.append({**row, "failed": failures[name][:80], "ok": False})
            continue
        ends = [1e3 * ended.end for ended in samples[name]]
        row |= {"first byte": 1e3 * statistics.median(e.first for e in samples[name])}
        row |= {
            "end": statistics.median(ends),
            "best": min(ends),
            "worst": max(ends),
            "n": len(ends),
        }
        if second and name == "llama-completion":
            row["ratio"] = row["first byte"] / (1e3 * second)
        if name == "run, second open" and shape in GOALS:
            row |= {"goal": GOALS[shape], "ok": row["end"] <= GOALS[shape]}
        rows.append(row)
    return rows


def main() -> int:
    options = harness.arguments(__doc__, repeats=9)
    found = peers.find(options)
    os.environ["PYTHONPATH"] = str(harness.ROOT / "src")
    rows: list[harness.Row] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            program = standalone.build(Path(folder))
        except standalone.ProgramError as error:
            raise SystemExit(f"startup: {error}") from None
        for model in harness.models(options):
            for threads in options.threads:
                rows += measure(model, program, threads, options, found["llama.cpp"])
    detail: dict[str, Any] = {"peers": {name: peer.describe() for name, peer in found.items()}}
    return harness.report("startup", options, rows, detail=detail)


if __name__ == "__main__":
    sys.exit(main())
