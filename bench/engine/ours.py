"""Our engine under the stop-watch, through the Python interface that users have."""

import statistics
import time
from pathlib import Path

import numpy as np

import bandwidth
import harness
import llama2c_export


class Cost:
    """What one token costs: bytes of matrices read, and operations of a prefill position."""

    def __init__(self, path: Path) -> None:
        model = llama2c_export.Gguf(path)
        matrices = {
            name: tensor for name, tensor in model.tensors.items() if len(tensor.shape) == 2
        }
        embedding = matrices.pop("token_embd.weight")
        head = matrices.pop("output.weight", embedding)  # a tied head is the embedding, read whole
        self.bytes = int(head.n_bytes + sum(tensor.n_bytes for tensor in matrices.values()))
        # a multiply and an add for each weight; the head runs once per prompt, not per position
        self.operations = 2 * int(sum(tensor.n_elements for tensor in matrices.values()))


class Ours:
    """An open model; speeds are in tokens a second, and tokens are random, as in llama-bench."""

    def __init__(self, path: Path, threads: int) -> None:
        self.model = harness.engine().Model(path, threads=threads, kv_tokens=4096)
        self.threads = threads
        self._random = np.random.default_rng(1)
        self.prefill(64)

    def tokens(self, count: int) -> list[int]:
        return [int(token) for token in self._random.integers(3, self.model.vocab_size, count)]

    def prefill(self, length: int) -> float:
        """A prompt of `length` tokens in one step, the last logits wanted."""
        tokens = self.tokens(length)
        with self.model.sequence() as sequence:
            start = time.perf_counter()
            sequence.feed(tokens)
            return length / (time.perf_counter() - start)

    def decode(self, count: int, depth: int = 1) -> float:
        """`count` single steps after `depth` tokens."""
        tokens = self.tokens(count)
        with self.model.sequence() as sequence:
            sequence.feed(self.tokens(depth))
            start = time.perf_counter()
            for token in tokens:
                sequence.feed([token])
            return count / (time.perf_counter() - start)

    def batch(self, count: int, steps: int) -> float:
        """`steps` steps of `count` sequences together, each after 16 tokens; all tokens counted."""
        sequences = [self.model.sequence() for _ in range(count)]
        try:
            self.model.forward([(s, self.tokens(16)) for s in sequences], logits="none")
            batches = [[(s, self.tokens(1)) for s in sequences] for _ in range(steps)]
            start = time.perf_counter()
            for batch in batches:
                self.model.forward(batch, logits="last")
            return count * steps / (time.perf_counter() - start)
        finally:
            for sequence in sequences:
                sequence.free()

    def step_cost(self, width: int, depth: int = 128, rounds: int = 8) -> float:
        """Time of a step of `width` tokens, all logits wanted, ÷ that of a step of one."""
        times: dict[int, list[float]] = {1: [], width: []}
        with self.model.sequence() as sequence:
            sequence.feed(self.tokens(depth))
            for _ in range(rounds):
                for size, taken in times.items():
                    tokens = self.tokens(size)
                    start = time.perf_counter()
                    sequence.feed(tokens, logits="all")
                    taken.append(time.perf_counter() - start)
                    sequence.truncate(depth)
        return statistics.median(times[width]) / statistics.median(times[1])

    def read_share(self, cost: Cost, probe: bandwidth.Probe, turns: int = 6) -> float:
        """Bytes a second while decoding ÷ those of a plain read loop, in turns of about 30 ms each.

        Both start warm: a model that fits the cache is compared with reads from the cache.
        """
        count = min(max(2, round(0.03 * self.decode(4))), 100)
        shares = []
        with self.model.sequence() as sequence:
            for _ in range(turns):
                sequence.feed(self.tokens(1))
                tokens = self.tokens(count)
                start = time.perf_counter()
                for token in tokens:
                    sequence.feed([token])
                speed = cost.bytes * count / (time.perf_counter() - start)
                shares.append(speed / probe.read(self.threads))
        return statistics.median(shares)

    def close(self) -> None:
        self.model.close()
