"""Rounds on the disk: what was played, with what learning needs of it.

One gzipped file of JSON lines a round: first its figures, then its rollouts. A run that goes on
inside a round finds there the probabilities that the round began with, and a person what the policy
said.
"""

import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cabinos.train.errors import TrainError
from cabinos.train.rl.rollouts import Rollout, Said, Sample

__all__ = ["Played", "figures", "read_round", "round_path", "write_round"]


@dataclass(frozen=True)
class Played:
    """A rollout, and log-probabilities of its decisions: a list for each sample."""

    rollout: Rollout
    old: list[list[float]]  # under the policy that played
    reference: list[list[float]]  # under the model that the run began with; 0 if nobody asks
    values: list[list[float]] = field(default_factory=list)  # by the critic, if there is one


def round_path(out: Path, number: int) -> Path:
    """Where round `number` is kept."""
    return out / "rounds" / f"{number:06d}.jsonl.gz"


def write_round(path: Path, told: dict[str, Any], played: list[Played]) -> None:
    """Write a round, whole or not at all. Raises TrainError if it cannot be written."""
    partial = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(partial, "wt", encoding="utf-8", compresslevel=3) as file:
            file.write(json.dumps(told) + "\n")
            file.writelines(json.dumps(asdict(one)) + "\n" for one in played)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise TrainError(f"{path}: cannot be written ({error.strerror or error}).") from None


def read_round(path: Path) -> tuple[dict[str, Any], list[Played]]:
    """The figures and the rollouts of a round. Raises TrainError if the file is damaged."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            told, *lines = map(json.loads, file)
        return told, [_played(line) for line in lines]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise TrainError(
            f"{path}: damaged ({error}). Remove it, and the round is played again."
        ) from None


def _played(line: dict[str, Any]) -> Played:
    samples = [
        Sample(
            sample["ids"],
            [
                Said(s["start"], s["logprobs"], s["grammar"] and tuple(s["grammar"]))
                for s in sample["said"]
            ],
        )
        for sample in line["rollout"]["samples"]
    ]
    rollout = Rollout(**{**line["rollout"], "samples": samples})
    return Played(rollout, line["old"], line["reference"], line.get("values", []))


def figures(out: Path) -> Iterator[dict[str, Any]]:
    """What every round of a run gave, in order; damaged ones are left out."""
    for path in sorted((out / "rounds").glob("*.jsonl.gz")):
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                yield json.loads(file.readline())
        except (OSError, EOFError, ValueError):
            continue
