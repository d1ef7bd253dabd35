"""The machine's ceilings, measured in this very process: read bandwidth and arithmetic peaks.

    python bench/engine/bandwidth.py [--quick]

Other benches import `Probe` and alternate its read loop with decoding, since on a shared host the
bandwidth flips between regimes from one second to the next.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

SOURCE = Path(__file__).with_name("probe.c")


def load_probe() -> ctypes.CDLL:
    """Compile probe.c for this machine and load it; a third of a second, so nothing is kept."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise SystemExit("bandwidth: no C compiler found; install one, or name it with CC=")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "probe.so"
        flags = ["-O3", "-march=native", "-shared", "-fPIC", "-pthread"]
        subprocess.run([compiler, *flags, str(SOURCE), "-o", str(library)], check=True)
        return ctypes.CDLL(str(library))


class Probe:
    """A buffer of `size` bytes and the loops that read it; speeds are per second."""

    def __init__(self, size: int) -> None:
        self._library = load_probe()
        self._library.probe_map.restype = ctypes.c_void_p
        self._library.probe_map.argtypes = [ctypes.c_size_t]
        self._library.probe_unmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        self._library.probe_read.restype = ctypes.c_double
        self._library.probe_read.argtypes = [
            ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
        ]  # fmt: skip
        self.size = size
        self._memory = self._library.probe_map(size)
        if not self._memory:
            raise SystemExit(f"bandwidth: no memory for a buffer of {size / 1e6:.0f} MB")

    def read(self, threads: int, seconds: float = 0.03) -> float:
        """Bytes a second of reading the warmed buffer over and over for `seconds`."""
        once = self._seconds(threads, 1)
        passes = max(1, round(seconds / once))
        return self.size * passes / self._seconds(threads, passes)

    def _seconds(self, threads: int, passes: int) -> float:
        seconds = float(self._library.probe_read(self._memory, self.size, threads, passes))
        if seconds <= 0:
            raise SystemExit(f"bandwidth: could not start {threads} threads")
        return seconds

    def peak(self, kind: str, threads: int, seconds: float = 0.1) -> float | None:
        """Operations a second in "int8", "bf16" or "fp32"; None without the instruction."""
        function = getattr(self._library, f"probe_{kind}")
        function.restype = ctypes.c_double
        function.argtypes = [ctypes.c_int, ctypes.c_double]
        speed = float(function(threads, seconds))
        return speed if speed > 0 else None

    def close(self) -> None:
        self._library.probe_unmap(self._memory, self.size)


def main() -> int:
    options = harness.arguments(__doc__, repeats=9)
    rows = []
    for megabytes in (8, 16, 64) if options.quick else (8, 16, 28, 64, 256, 1024):
        probe = Probe(megabytes << 20)
        for threads in options.threads:
            speeds = []
            for _ in range(options.repeats):
                speeds.append(probe.read(threads) / 1e9)
                time.sleep(0.02)
            rows.append(
                {
                    "what": f"read {megabytes} MiB, GB/s",
                    "threads": threads,
                    **harness.summary(speeds),
                }
            )
        probe.close()
    probe = Probe(1 << 20)
    for kind in ("int8", "bf16", "fp32"):
        for threads in options.threads:
            peaks = [probe.peak(kind, threads) for _ in range(options.repeats)]
            found = [peak / 1e9 for peak in peaks if peak is not None]
            if found:
                rows.append(
                    {"what": f"{kind}, G op/s", "threads": threads, **harness.summary(found)}
                )
    return harness.report("bandwidth", options, rows)


if __name__ == "__main__":
    sys.exit(main())
