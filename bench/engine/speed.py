"""Tokens a second on the same weights and threads, interleaved with the peers in one run.

    python bench/engine/speed.py --quick --llama-cpp DIR
    python bench/engine/speed.py --models 1.1B-Q4_0.gguf … --llama-cpp DIR --ik-llama DIR

Each repeat runs ours and then every peer for one figure, so that all meet the same state of the
host; a ratio is the median over repeats of ours ÷ theirs within a repeat. Figures, in tokens/s:

    prefill  a prompt of 512 tokens            deep   single steps after 1024 tokens
    decode   single steps from the start       batch  8 sequences stepping together

and three of ours alone: `read`, decoding's bytes a second ÷ those of a plain read loop that takes
turns with it in this process; `peak`, prefill's operations ÷ the int8 peak; `step4`, a 4-token step
÷ a 1-token step. llama2.c and transformers stand beside the type they compute in themselves.

Memory bandwidth on shared hosts flips between regimes, so a repeat counts as fast, slow or mixed by
how much faster all threads read than one thread, just before and after the peers ran. Other busy
processes spoil everything: the column `others` shows how many cores they took.
"""

import argparse
import importlib.util
import itertools
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import bandwidth
import harness
import peers
from ours import Cost, Ours

FAST = 1.5  # in the fast regime all threads read at least this many times what one thread reads
DRAM = 256 << 20  # bytes of weights that no cache holds
NOISE = 0.1  # cores that others may use before a figure is called noisy
QUANTS = ("Q4_0", "Q8_0")
MEASURES = ("prefill", "decode", "deep", "batch", "read", "peak", "step4")
COLUMNS = (
    "model", "threads", "figure", "peer", "regime", "n", "ours", "best", "spread", "theirs",
    "their best", "ratio", "lowest", "highest", "goal", "ok", "others", "failed",
)  # fmt: skip

Measures = dict[str, Callable[[], float]]


def split_name(path: Path) -> tuple[str, str]:
    """Shape and type of a file named SHAPE-TYPE.gguf."""
    shape, _, kind = path.stem.partition("-")
    return shape, kind


def goal(measure: str, peer: str, path: Path, threads: int, regime: str) -> float | None:
    """The ratio to reach (see docs: bench/README.md), or None where none is set."""
    shape, kind = split_name(path)
    if peer == "ik_llama.cpp":
        return 1.3 if measure in ("prefill", "decode") and kind in QUANTS else None
    if peer != "llama.cpp":
        return None
    if kind not in QUANTS:
        return (
            1.2 if measure in ("prefill", "decode") and kind in ("F16", "BF16", "Q4_K_M") else None
        )
    if measure == "prefill":
        return 2.0 if kind == "Q4_0" else 2.5
    if measure in ("deep", "batch"):
        return 1.6 if measure == "deep" else 2.4
    if shape != "1.1B":
        return 1.8 if kind == "Q4_0" else 1.4
    if threads == 1:
        return 1.4 if kind == "Q4_0" else 1.3
    return {"fast": 1.5, "slow": 1.0}.get(regime)


@dataclass
class Figure:
    """One measure: how to take it from ours and from each peer, and the samples taken so far."""

    name: str
    ours: Callable[[], float]
    theirs: Measures
    samples: dict[str, list[float]] = field(default_factory=dict)
    regimes: list[str] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)  # cores that other processes used meanwhile
    failures: dict[str, str] = field(default_factory=dict)

    def take(self, regime: Callable[[], str]) -> None:
        """One repeat: ours, then each peer that has not failed."""
        start, before = time.perf_counter(), others_seconds()
        self.samples.setdefault("ours", []).append(self.ours())
        seen = regime()
        for name, measure in self.theirs.items():
            if name in self.failures:
                continue
            try:
                self.samples.setdefault(name, []).append(measure())
            except peers.PeerError as error:
                self.failures[name] = str(error)
                self.samples.pop(name, None)
        self.regimes.append(seen if seen == regime() else "mixed")
        self.busy.append((others_seconds() - before) / (time.perf_counter() - start))


def others_seconds() -> float:
    """Processor seconds of all that is neither this process nor its ended children."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:8]]
    except OSError:
        return 0.0
    everyone = (sum(ticks) - ticks[3] - ticks[4]) / 100  # less idle and waiting for disks
    mine = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return everyone - sum(usage.ru_utime + usage.ru_stime for usage in mine)


def figures(
    path: Path, ours: Ours, cost: Cost, found: dict[str, peers.Peer], wanted: list[str]
) -> list[Figure]:
    """The four measures that peers share, for those who can take them."""
    threads, gen = ours.threads, 64 if cost.bytes > DRAM else 128
    kind = split_name(path)[1]
    llama_bench = [found[n] for n in ("llama.cpp", "ik_llama.cpp") if not found[n].missing]

    def each(**test: int) -> Measures:
        return {peer.name: partial(peer.bench, path, threads, **test) for peer in llama_bench}

    prefill, decode = each(prompt=512), each(gen=gen)
    llama2c = found["llama2.c"]
    if not llama2c.missing and kind in ("Q8_0", "F32"):
        int8 = kind == "Q8_0"
        name = f"llama2.c {'int8' if int8 else 'fp32'}"
        decode[name] = partial(peers.llama2c, llama2c, path, threads, gen, int8=int8)
    if kind == "BF16" and importlib.util.find_spec("transformers"):
        prefill["transformers"] = partial(peers.transformers, path, threads, prompt=512)
        decode["transformers"] = partial(peers.transformers, path, threads, gen=32)
    batch: Measures = {p.name: partial(p.batch, path, threads, 8, 32) for p in llama_bench}
    every = [
        Figure("prefill", lambda: ours.prefill(512), prefill),
        Figure("decode", lambda: ours.decode(gen), decode),
        Figure("deep", lambda: ours.decode(32, depth=1024), each(gen=32, depth=1024)),
        Figure("batch", lambda: ours.batch(8, 32), batch),
    ]
    return [figure for figure in every if figure.name in wanted]


def ratio_rows(figure: Figure, path: Path, threads: int) -> list[harness.Row]:
    """One row for each peer and regime that occurred."""
    rows: list[harness.Row] = []
    base = {"model": path.stem, "threads": threads, "figure": figure.name}
    for peer, why in figure.failures.items():
        rows.append({**base, "peer": peer, "failed": why[:60]})
    peer_names = [name for name in figure.samples if name != "ours"]
    if not peer_names:
        ours = harness.summary(figure.samples["ours"])
        rows.append(
            {**base, "ours": ours["median"], "best": ours["best"], "spread": ours["spread"]}
        )
    for peer, regime in itertools.product(peer_names, sorted(set(figure.regimes))):
        both = zip(figure.samples["ours"], figure.samples[peer], figure.regimes, strict=True)
        pairs = [(mine, his) for mine, his, when in both if when == regime]
        ours, theirs = (harness.summary(side) for side in zip(*pairs, strict=True))
        ratios = [mine / his for mine, his in pairs]
        ratio = statistics.median(ratios)
        wanted = goal(figure.name, peer, path, threads, regime)
        rows.append({
            **base, "peer": peer, "regime": regime, "n": len(pairs),
            "ours": ours["median"], "best": ours["best"], "spread": ours["spread"],
            "theirs": theirs["median"], "their best": theirs["best"],
            "their spread": theirs["spread"],
            "ratio": ratio, "lowest": min(ratios), "highest": max(ratios),
            "goal": wanted, "ok": None if wanted is None else ratio >= wanted,
            "others": max(figure.busy), "samples": pairs,
        })  # fmt: skip
    return rows


def own_rows(path: Path, threads: int, own: dict[str, list[float]]) -> list[harness.Row]:
    """Rows of the figures that compare ours with the machine or with itself."""
    rows = []
    shape, kind = split_name(path)
    judged = shape == "1.1B" and kind in QUANTS
    for name, samples in own.items():
        wanted = {"read": 0.92, "peak": 0.65, "step4": 1.4}[name] if judged else None
        value = statistics.median(samples)
        met = None if wanted is None else (value <= wanted if name == "step4" else value >= wanted)
        against = {"read": "plain read", "peak": "int8 peak", "step4": "1-token step"}[name]
        rows.append({
            "model": path.stem, "threads": threads, "figure": name, "peer": against,
            "n": len(samples), "ratio": value, "lowest": min(samples), "highest": max(samples),
            "goal": wanted, "ok": met,
        })  # fmt: skip
    return rows


def measure(
    path: Path, threads: int, options: argparse.Namespace, found: dict[str, peers.Peer]
) -> list[harness.Row]:
    """All rows of one model at one thread count."""
    cost = Cost(path)
    probe = bandwidth.Probe(cost.bytes)
    ours = Ours(path, threads)
    shared = figures(path, ours, cost, found, options.measures)
    own: dict[str, list[float]] = {}

    def regime() -> str:
        if threads == 1 or cost.bytes < DRAM:
            return "any"
        return "fast" if probe.read(threads) >= FAST * probe.read(1) else "slow"

    for _ in range(options.repeats):
        for figure in shared:
            figure.take(regime)
        if "read" in options.measures:
            own.setdefault("read", []).append(ours.read_share(cost, probe))
        if "step4" in options.measures:
            own.setdefault("step4", []).append(ours.step_cost(4))
        peak = probe.peak("int8", threads)
        if "peak" in options.measures and peak is not None:
            own.setdefault("peak", []).append(ours.prefill(512) * cost.operations / peak)
    ours.close()
    probe.close()
    return [row for f in shared for row in ratio_rows(f, path, threads)] + own_rows(
        path, threads, own
    )


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--measures", nargs="+", choices=MEASURES, help="figures to take (default: all)"
    )
    options = harness.finish(parser.parse_args())
    quick = [name for name in MEASURES if name != "deep"]
    options.measures = options.measures or (quick if options.quick else list(MEASURES))
    found = peers.find(options)
    for name, peer in found.items():
        print(f"{name}: {'absent, ' + peer.missing if peer.missing else peer.describe()['commit']}")
    rows: list[harness.Row] = []
    for path in harness.models(options):
        for threads in options.threads:
            rows += measure(path, threads, options, found)
            print(f"measured {path.stem} at {threads} threads", file=sys.stderr)
    detail: dict[str, Any] = {"peers": {name: peer.describe() for name, peer in found.items()}}
    others = max((row.get("others", 0.0) for row in rows), default=0.0)
    if others > NOISE:
        print(f"NOISY: other processes used up to {others:.1f} cores; do not quote these figures")
    return harness.report(
        "speed", options, rows, columns=COLUMNS, detail={**detail, "noisy": others > NOISE}
    )


if __name__ == "__main__":
    sys.exit(main())
