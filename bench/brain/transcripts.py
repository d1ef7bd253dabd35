"""The main job on the brain in the box, offline, as README shows it.

    python bench/brain/transcripts.py [--update README.md] [--model FILE]

Every request is a `cabin "…"` of its own, in a new home and with the network cut off where the
system can do that (`unshare -rn`). Prints the transcripts, and one JSON line last.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

LEASE = """Lease of the flat in Mill Lane

The rent is 850 euros a month, due on the third.
The lease ends on 30 June 2027.
Pets are allowed, barbecues are not.
"""
REQUESTS = (
    ["what is 15% of 482.50"],
    ["--files", "lease.txt", "are pets allowed?"],
    ["remember that my locker code is 4471"],
    ["what is my locker code?"],
    ["how many days until christmas"],
    ["how many ounces are in 3 pounds"],
    ["add oat milk to my shopping list"],
    ["book me a flight to lisbon"],
)
BEGIN, END = "<!-- transcripts: begin -->", "<!-- transcripts: end -->"


def offline() -> list[str]:
    """What cuts a command off from the network, where it may be used."""
    command = ["unshare", "-rn"]
    if shutil.which("unshare") is None:
        return []
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if tried.returncode == 0 else []


def ask(arguments: list[str], folder: Path, model: str | None) -> str:
    """One request as a person sees it."""
    chosen = ["--model", model] if model else []
    result = subprocess.run(
        [*offline(), sys.executable, "-m", "cabinos", *arguments, *chosen],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**os.environ, "CABIN_HOME": str(folder / "home"), "COLUMNS": "100"},
        timeout=120,
        check=False,
    )
    request = " ".join(f'"{a}"' if " " in a else a for a in arguments)
    return f"$ cabin {request}\n{result.stdout.strip()}"


def main() -> None:
    """All of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", type=Path, help="put them into this file, between its marks")
    parser.add_argument("--model", help="another brain than the one in the box")
    parser.add_argument("--quick", action="store_true", help="the first two only")
    options = parser.parse_args()
    requests = REQUESTS[:2] if options.quick else REQUESTS
    with TemporaryDirectory() as folder:
        (Path(folder) / "lease.txt").write_text(LEASE)
        told = [ask(request, Path(folder), options.model) for request in requests]
    text = "\n\n".join(told)
    print(text)
    if options.update:
        before, _, rest = options.update.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        block = f"{before}{BEGIN}\n```text\n{text}\n```\n{END}{after}"
        options.update.write_text(block)
    print(json.dumps({"requests": len(told), "offline": bool(offline())}))


if __name__ == "__main__":
    main()
