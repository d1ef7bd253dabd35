"""What each bench of this room ends with: a table, a file of results, and one JSON line."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "workshop"


def report(
    name: str, quick: bool, rows: Sequence[dict[str, Any]], detail: dict[str, Any] | None = None
) -> int:
    """`ok` in a row says whether it reached its goal. The exit status is 0 all the same."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=name)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    Console(width=180).print(table)
    judged = [row["ok"] for row in rows if row.get("ok") is not None]
    facts = {
        "bench": name,
        "quick": quick,
        "goals": len(judged),
        "missed": judged.count(False),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        **(detail or {}),
        "rows": list(rows),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / (f"{name}-quick.json" if quick else f"{name}.json")
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts, separators=(",", ":")))
    return 0


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.4g}" if isinstance(value, float) else str("" if value is None else value)
