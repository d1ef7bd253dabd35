"""The compiled `run.c` behind ctypes: chooses the build this CPU can run and declares its face.

A wheel carries one shared library per instruction-set level (`lib/librun-<level>.so`). They give
the same logits bit for bit, so the choice is about speed only; `CABIN_ISA` forces one. ctypes
releases the GIL during every call.
"""

import ctypes
import functools
import os
import platform
import subprocess
from pathlib import Path

from cabinos.engine.errors import (
    ContextOverflow,
    EngineError,
    InvalidRequest,
    ModelFileError,
    OutOfMemory,
    OutOfPages,
    UnsupportedModel,
)

_ERRORS: dict[int, type[EngineError]] = {
    -1: ModelFileError,
    -2: UnsupportedModel,
    -3: OutOfMemory,
    -4: OutOfPages,
    -5: ContextOverflow,
    -6: InvalidRequest,
}

FACTS = (
    "vocab_size context_length embedding_length layer_count head_count kv_head_count head_length "
    "threads page_tokens pages_total page_bytes fingerprint"
).split()

# Level -> the CPU features its build needs, best first (flags as /proc/cpuinfo spells them).
_LEVELS: dict[str, dict[str, set[str]]] = {
    "x86_64": {
        "avx512": {"avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16", "fma", "f16c"},
        "avx2": {"avx2", "fma", "f16c", "bmi2"},
        "generic": set(),
    },
    "aarch64": {"neon": {"asimddp"}, "generic": set()},
}


def cpu_features() -> set[str]:
    """The CPU's feature flags, as /proc/cpuinfo (Linux) or sysctl (macOS) names them."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    if platform.system() != "Darwin":
        return set()
    if platform.machine() == "arm64":
        return {"asimddp"}  # every Apple processor has the dot product
    query = ["sysctl", "-n", "machdep.cpu.features", "machdep.cpu.leaf7_features"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return set(answer.stdout.lower().split())


def library_path() -> Path:
    """The best build of `run.c` that is installed and that this CPU can run.

    Raises:
        UnsupportedModel: no build fits, or `CABIN_ISA` names one that is not there.
    """
    folder = Path(__file__).parent / "lib"
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    levels = _LEVELS.get(machine, {"generic": set()})
    forced = os.environ.get("CABIN_ISA")
    features = cpu_features()
    for level, needed in levels.items():
        path = folder / f"librun-{level}.so"
        if path.exists() and (forced == level or (not forced and needed <= features)):
            return path
    raise UnsupportedModel(
        f"no engine library for {forced or machine} in {folder}; "
        f"reinstall cabinos with a C compiler at hand (levels: {', '.join(levels)})"
    )


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    signatures: dict[str, tuple[object, list[object]]] = {
        "cabin_error": (text, []),
        "cabin_error_code": (integer, []),
        "cabin_open": (pointer, [text, integer, integer, integer, integer]),
        "cabin_close": (None, [pointer]),
        "cabin_facts": (None, [pointer, ctypes.POINTER(ctypes.c_int64)]),
        "cabin_pages_free": (integer, [pointer]),
        "cabin_sequence": (pointer, [pointer]),
        "cabin_fork": (pointer, [pointer]),
        "cabin_truncate": (None, [pointer, integer]),
        "cabin_free": (None, [pointer]),
        "cabin_copy_pages": (None, [pointer, pointer, integer]),
        "cabin_extend": (integer, [pointer, integer, integer]),
        "cabin_forward": (
            integer,
            [pointer, integer, pointer, pointer, pointer, pointer, integer, pointer],
        ),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@functools.cache
def library() -> ctypes.CDLL:
    """The engine's library, loaded once per process."""
    return _declare(ctypes.CDLL(str(library_path())))


def raise_error() -> None:
    """Raises what the last failed call of this thread reported."""
    code, message = library().cabin_error_code(), library().cabin_error()
    raise _ERRORS.get(code, EngineError)(message.decode("utf-8", "replace"))
