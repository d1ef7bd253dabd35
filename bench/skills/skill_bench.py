"""What the benches of skills share: flags, results, and where the code is."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[1:1] = [str(HERE), str(ROOT / "src")]
RESULTS = ROOT / "bench/results/skills"


def options(description: str | None) -> argparse.ArgumentParser:
    """The flags that all of them have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a sample, in less than a minute")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    return parser


def report(name: str, given: argparse.Namespace, figures: Mapping[str, Any]) -> int:
    """Writes the figures, prints them as the last line, and returns 1 if a goal was missed."""
    from cabinos import __version__
    from cabinos.skills.meaning import encoder

    quick = "-quick" if given.quick else ""
    given.results.mkdir(parents=True, exist_ok=True)
    vectors = encoder()
    used = vectors.name if vectors else "none: words alone"
    told = {"bench": name, "quick": given.quick, "cabin": __version__, "encoder": used, **figures}
    path = given.results / f"{name}{quick}.json"
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(told, ensure_ascii=False))
    return 0 if figures.get("ok", True) else 1
