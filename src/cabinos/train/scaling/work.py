"""Running a ladder: whoever works takes the next rung that nobody has, until none is left.

Workers are processes that share the ladder's folder: several on one machine, or on several
machines with one file system. A rung is taken by locking a file in its folder; the lock goes with
the process that holds it, so that one who was killed leaves the rung to the next, who goes on from
its last checkpoint, bit for bit.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cabinos.train.errors import TrainError
from cabinos.train.scaling.ladder import Ladder, Result, Rung, write_json

__all__ = ["Running", "progress_of", "tether", "together", "work"]

SAVE_EVERY = 60.0  # seconds
COMPILED = 3e13  # operations of a run, from which on compiling it takes less than it saves
OFTEN = 0.5  # seconds from one look at the workers to the next
WORDS = 2000  # characters of a worker's last words


@dataclass(frozen=True)
class Running:
    """How runs are made: what does not change their results."""

    device: str | None = None
    dtype: str | None = None
    compiled: bool | None = None
    threads: int | None = None

    def words(self) -> list[str]:
        """The same as options of `cabin scale run`."""
        given = {"--device": self.device, "--dtype": self.dtype, "--threads": self.threads}
        words = [str(word) for pair in given.items() if pair[1] is not None for word in pair]
        if self.compiled is not None:
            words.append("--compile" if self.compiled else "--no-compile")
        return words


def work(
    ladder: Ladder,
    rungs: Sequence[Rung],
    data: Path,
    running: Running,
    tell: Callable[[str], None] = lambda _text: None,
) -> list[Rung]:
    """Run those of the rungs that are not done. Returns those that another worker has.

    Under torchrun all processes train each rung together. Raises TrainError as `pretrain` does.
    """
    from cabinos.train.hardware import processes
    from cabinos.train.session import process_group

    ladder.check_data(data)
    with process_group(processes(), running.device) as group:
        while True:
            missing = [rung for rung in rungs if ladder.result(rung) is None]
            ran = sum(_take(ladder, rung, data, running, group.rank == 0, tell) for rung in missing)
            # Whoever had a rung may have left it. Processes of one group must not look at different
            # moments, or one would wait for the other.
            if not ran or group.count > 1:
                return [rung for rung in missing if group.rank == 0 and not ladder.result(rung)]


def _take(
    ladder: Ladder,
    rung: Rung,
    data: Path,
    running: Running,
    first: bool,
    tell: Callable[[str], None],
) -> bool:
    """Run a rung that nobody has; False if it is done, or somebody has it."""
    with _claimed(ladder.place(rung), wanted=first) as mine:
        if not mine or ladder.result(rung) is not None:
            return False
        result = _run(ladder, rung, data, running)
        if first:
            write_json(ladder.place(rung) / "result.json", asdict(result))
            tell(f"{rung.name}: {result.loss:.4f} bits per byte in {result.seconds:,.0f} s")
        return True


def _run(ladder: Ladder, rung: Rung, data: Path, running: Running) -> Result:
    from cabinos.train.metrics import read_log
    from cabinos.train.pretrain import Options, pretrain

    config, shape = rung.run(ladder.base, ladder.vocabulary)
    flops, out = ladder.flops(rung), ladder.place(rung)
    small = running.compiled is None and flops < COMPILED
    options = Options(
        running.device,
        running.dtype,
        False if small else running.compiled,
        running.threads,
        save_every=SAVE_EVERY,
        test_every=config.steps + 1,  # only when it is over
        test_tokens=ladder.wish.held_out,
        snapshots=False,
    )
    done = pretrain(config, data, out, options, shape)
    tests = [line["held_out"] for line in read_log(out / "metrics.jsonl") if "held_out" in line]
    held_out = {k: v for k, v in (tests[-1] if tests else {}).items() if config.mix.get(k)}
    if done.processes.rank == 0 and not held_out:
        raise TrainError(f"{data}: no held-out texts to measure by. Prepare it: cabin data get.")
    tokens = config.steps * config.batch_tokens
    vectors = (2 * shape.depth + 1) * shape.width
    layers = shape.parameters - vectors - shape.vocabulary * shape.width
    loss = sum(held_out.values()) / max(1, len(held_out))
    return Result(
        rung.name, shape.parameters, layers, tokens, flops, round(loss, 6), held_out,
        round(done.progress.seconds, 3),
    )  # fmt: skip


@contextmanager
def _claimed(folder: Path, *, wanted: bool) -> Iterator[bool]:
    """Hold a rung, unless another does. Without `wanted`, only go along with whoever holds it."""
    if not wanted:
        yield True
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def together(
    ladder: Ladder,
    rungs: Sequence[Rung],
    data: Path,
    running: Running,
    workers: int,
    watch: Callable[[], None] = lambda: None,
) -> list[Rung]:
    """Run the rungs by so many workers, each a process. Returns those that are not done.

    They end with this process, however it ends. `watch` is called twice a second. Raises TrainError
    with the last words of a worker that failed.
    """
    command = [sys.executable, "-m", "cabinos", "scale", "run", str(ladder.folder)]
    command += ["--data", str(data), "--tethered", *running.words()]
    logs = [ladder.folder / f"worker-{number}.log" for number in range(1, workers + 1)]
    started = []
    try:
        for log in logs:
            with log.open("w") as out:
                piped = subprocess.PIPE
                started.append(
                    subprocess.Popen(
                        command, stdin=piped, stdout=out, stderr=out, start_new_session=True
                    )
                )
        while any(process.poll() is None for process in started):
            time.sleep(OFTEN)
            watch()
    finally:
        for process in started:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
    watch()
    for process, log in zip(started, logs, strict=True):
        if process.returncode:
            words = log.read_text(encoding="utf-8", errors="replace").strip()[-WORDS:]
            raise TrainError(f"a worker ended with code {process.returncode}; {log}:\n{words}")
    return [rung for rung in rungs if ladder.result(rung) is None]


def tether() -> None:
    """End this process when whoever started it has gone: when its standard input ends.

    Nothing is lost by that but the time since the last checkpoint.
    """

    def wait() -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(0, 1):
                pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def progress_of(ladder: Ladder, rung: Rung) -> float:
    """The share of a rung that is trained, by the last whole line of its metrics."""
    if ladder.result(rung) is not None:
        return 1.0
    try:
        with (ladder.place(rung) / "metrics.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1000))
            lines = file.read().split(b"\n")[:-1]
        tokens = [json.loads(line).get("tokens", 0) for line in lines[-2:]]
        return min(1.0, max(tokens, default=0) / rung.tokens)
    except (OSError, ValueError):
        return 0.0
