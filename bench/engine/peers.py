"""The other engines: where their binaries are, and one function for each figure we take from them.

Nothing here builds or fetches a peer. A peer that is not given, or lacks a binary, is reported as
absent with the reason; it is never left out silently.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness
import llama2c_export


class PeerError(Exception):
    """A peer that is here failed at its work; the message has its last words."""


def run(
    command: list[str], *, env: dict[str, str] | None = None, timeout: float = 900
) -> subprocess.CompletedProcess[str]:
    """Run a peer to its end. Raises PeerError if it fails or needs over `timeout` seconds."""
    with tempfile.TemporaryDirectory() as folder:  # some leave a log where they run
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                check=False,
                text=True,
                errors="replace",
                timeout=timeout,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
            )
        except subprocess.TimeoutExpired:
            name = Path(command[0]).name
            raise PeerError(f"{name} took more than {timeout:.0f} s") from None
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip())[-500:]
        raise PeerError(f"{Path(command[0]).name} ended with {done.returncode}: {words}")
    return done


@dataclass
class Peer:
    """One engine on this machine; `missing` says why it is absent, or is empty."""

    name: str
    folder: Path | None
    flags: list[str] = field(default_factory=list)  # of llama-bench
    batch_flags: list[str] = field(default_factory=list)  # of llama-batched-bench
    missing: str = ""

    def binary(self, name: str) -> str:
        """The path of a binary, in the folder, bin/ or build/bin/. Raises PeerError."""
        for folder in ("", "bin", "build/bin"):
            path = (self.folder or Path()) / folder / name
            if self.folder is not None and os.access(path, os.X_OK) and path.is_file():
                return str(path.resolve())
        raise PeerError(f"{self.name} has no {name} in {self.folder}")

    def has(self, name: str) -> bool:
        try:
            return bool(self.binary(name))
        except PeerError:
            return False

    def describe(self) -> dict[str, Any]:
        """What the results file says about this peer."""
        if self.missing or self.folder is None:
            return {"absent": self.missing}
        return {"commit": self.commit(self.folder), "flags": self.flags}

    def commit(self, folder: Path) -> str:
        """The commit it was built from: of its own git checkout, else what its binary says."""
        if (folder / ".git").exists() and (found := harness.commit(folder)) != "unknown":
            return found
        try:
            shown = run([self.binary("llama-bench"), "--version"])
        except PeerError:
            return "unknown"
        words = shown.stdout + shown.stderr
        stamp = re.search(r"(?:commit |version: \d+ \()([0-9a-f]{7,40})", words)
        return stamp.group(1) if stamp else "unknown"

    def bench(
        self, model: Path, threads: int, *, prompt: int = 0, gen: int = 0, depth: int = 0
    ) -> float:
        """Tokens a second of llama-bench, warmed up: `prompt` at once or `gen` single steps.

        `depth` tokens stand in the context before them, untimed.
        """
        test = ["-p", str(prompt), "-n", str(gen)]
        if depth and self.name == "llama.cpp":
            test += ["-d", str(depth)]
        elif depth:  # ik_llama.cpp has a pair for it: tokens before, tokens generated
            test = ["-p", "0", "-n", "0", "-gp", f"{depth},{gen}"]
        command = [self.binary("llama-bench"), "-m", str(model), "-t", str(threads), *test]
        command += ["-r", "1", "-o", "json", *self.flags]
        shown = run(command).stdout
        return float(json.loads(shown[shown.index("[") :])[0]["avg_ts"])

    def batch(self, model: Path, threads: int, sequences: int, steps: int) -> float:
        """Tokens a second of `steps` steps of `sequences` together, after 16 tokens each."""
        command = [
            self.binary("llama-batched-bench"), "-m", str(model), "-t", str(threads),
            "-c", str(sequences * (16 + steps) + 64), "-npp", "16", "-ntg", str(steps),
            "-npl", str(sequences), *self.batch_flags,
        ]  # fmt: skip
        done = run(command)
        # the table's columns: PP TG B N_KV T_PP S_PP T_TG S_TG T S
        rows = re.findall(
            r"^\|(?: *[\d.]+ \|){7} *([\d.]+) \|", done.stdout + done.stderr, re.MULTILINE
        )
        if not rows:
            raise PeerError(f"llama-batched-bench printed no speed: {done.stdout[-300:]}")
        return float(rows[-1])


def find(options: argparse.Namespace) -> dict[str, Peer]:
    """The GGUF-reading peers by name, present or absent."""
    found = {
        "llama.cpp": Peer("llama.cpp", options.llama_cpp and Path(options.llama_cpp)),
        # run-time repacking and flash attention: its documented fast setting on CPUs
        "ik_llama.cpp": Peer(
            "ik_llama.cpp",
            options.ik_llama and Path(options.ik_llama),
            ["-rtr", "1", "-fa", "1"],
            ["-rtr", "-fa", "on"],
        ),
        "llama2.c": Peer("llama2.c", options.llama2c and Path(options.llama2c)),
    }
    for peer in found.values():
        wanted = "run" if peer.name == "llama2.c" else "llama-bench"
        if peer.folder is None:
            peer.missing = "not given"
        elif not peer.has(wanted):
            peer.missing = f"no {wanted} in {peer.folder}"
    return found


def llama2c(peer: Peer, model: Path, threads: int, steps: int, *, int8: bool) -> float:
    """Decode tokens a second of llama2.c's `run` (float32) or `runq` (int8).

    Both take their thread count from OpenMP and report their own speed, without the first token.
    """
    weights, tokenizer = llama2c_export.export(model, int8=int8)
    command = [
        peer.binary("runq" if int8 else "run"), str(weights), "-z", str(tokenizer),
        "-t", "1.0", "-p", "1.0", "-s", "1", "-n", str(steps + 1),
    ]  # fmt: skip
    done = run(command, env={"OMP_NUM_THREADS": str(threads)})
    found = re.search(r"achieved tok/s: ([0-9.]+)", done.stderr)
    if found is None:
        raise PeerError(
            f"llama2.c reported no speed (it stops at a sampled BOS): {done.stderr[-200:]}"
        )
    return float(found.group(1))


def transformers(model: Path, threads: int, *, prompt: int = 0, gen: int = 0) -> float:
    """Tokens a second of transformers in bfloat16: `prompt` at once or `gen` steps."""
    script = Path(__file__).resolve().with_name("transformers_peer.py")
    command = [sys.executable, str(script), str(model), str(threads), str(prompt), str(gen)]
    return float(json.loads(run(command).stdout.splitlines()[-1])["speed"])
