"""Compiles the engine, library.c around run.c, once for each level of this machine's family.

Runs when a wheel or an editable install is built. The libraries land in `src/cabinos/engine/lib/`
as `librun-<level>.so`; `cabinos.engine.library` picks the best one the processor can run.
"""

import os
import platform
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

COMMON_FLAGS = shlex.split("-std=c11 -O3 -fPIC -shared -fvisibility=hidden -ffp-contract=off")
LIBRARIES = ["-lm", "-lpthread"]
X86_LEVELS = {
    "avx512": ["-march=x86-64-v4", "-mavx512vnni", "-mavx512bf16"],
    "avx2": ["-march=x86-64-v3"],
    "generic": ["-march=x86-64"],
}
ARM_LEVELS = {
    "neon": ["-march=armv8.2-a+dotprod"],
    "generic": ["-march=armv8-a"],
}
LEVELS = {"x86_64": X86_LEVELS, "amd64": X86_LEVELS, "aarch64": ARM_LEVELS, "arm64": ARM_LEVELS}

NO_COMPILER = """
No C compiler was found: building cabinos from source compiles some C.
Install one and try again:
    Debian, Ubuntu:  apt install gcc libc6-dev
    Fedora:          dnf install gcc
    macOS:           xcode-select --install
or name yours in CC, or install a wheel, which needs none.
"""


class CompileEngine(BuildHookInterface[Any]):
    """Hatchling's custom build hook: fills `engine/lib` and tags the wheel for this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile every level the compiler knows, then set the wheel's tag to py3-none-<platform>.

        The libraries use no Python API, so one wheel serves every Python version.
        """
        source = Path(self.root, "src/cabinos/engine/library.c")
        folder = source.parent / "lib"
        folder.mkdir(exist_ok=True)
        compiler = self.find_compiler()
        levels = LEVELS.get(platform.machine().lower(), {"generic": []})
        with ThreadPoolExecutor() as pool:
            jobs = [
                pool.submit(self.compile_level, compiler, source, folder, level, flags)
                for level, flags in levels.items()
            ]
        built = {job.result() for job in jobs}
        for stale in set(folder.glob("*.so")) - built:
            stale.unlink()
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{next(platform_tags())}"

    def find_compiler(self) -> list[str]:
        """The compiler's command: $CC, which may hold arguments, or the first usual name."""
        if chosen := shlex.split(os.environ.get("CC", "")):
            if shutil.which(chosen[0]) is None:
                self.app.abort(f"CC names {chosen[0]!r}, which is not a command on this machine.")
            return chosen
        for name in ("cc", "gcc", "clang"):
            if shutil.which(name):
                return [name]
        self.app.abort(NO_COMPILER)
        raise AssertionError  # abort() does not return

    def compile_level(
        self, compiler: list[str], source: Path, folder: Path, level: str, flags: list[str]
    ) -> Path | None:
        """Compile `source` for one level; None if the compiler does not know its flags."""
        library = folder / f"librun-{level}.so"
        probe = [*compiler, *flags, "-x", "c", "-c", os.devnull, "-o", os.devnull]
        known = subprocess.run(probe, check=False, capture_output=True).returncode == 0
        if level != "generic" and not known:
            self.app.display_warning(
                f"cabinos: {compiler[0]} does not know {' '.join(flags)}; "
                f"the {level} path is left out (a newer compiler makes the engine faster)."
            )
            return None
        # Written beside and moved into place: a running process may have the old library mapped.
        fresh = folder / f"{library.name}.{os.getpid()}.tmp"
        command = [*compiler, *COMMON_FLAGS, *flags, str(source), "-o", str(fresh), *LIBRARIES]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        if result.returncode != 0:
            fresh.unlink(missing_ok=True)
            self.app.abort(
                f"cabinos: the C compiler failed:\n    {shlex.join(command)}\n{result.stderr}\n"
                "A missing header such as stdio.h means that the C library's development files "
                "are not installed (Debian, Ubuntu: apt install libc6-dev)."
            )
        fresh.replace(library)
        return library
