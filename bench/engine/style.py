"""Does `run.c` read well? Lines, comments and, so that golfing shows, tokens per line.

    python bench/engine/style.py [--beside llama2.c/run.c …]

A C token is an identifier, a number, a string or an operator; comments hold none. The sections of
`run.c`, between its `// ---- Title ---` lines, are counted as well.
"""

import re
import statistics
import sys
from pathlib import Path

import harness

MAX_LINES, MAX_COLUMNS = 900, 100
TOKEN = re.compile(
    r"[A-Za-z_]\w*|\.?\d(?:[\w.]|[eEpP][+-])*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
    r"|<<=|>>=|\.\.\.|->|\+\+|--|&&|\|\||[-+*/%&|^!=<>]=|<<|>>|##|\S"
)
COMMENT_OR_TEXT = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL
)
SECTION = re.compile(r"// -{2,} *(.*?) *-{2,}$")


def without_comments(source: str) -> str:
    """The source with every comment replaced by as many line ends as it had."""
    return COMMENT_OR_TEXT.sub(
        lambda found: found[0] if found[0][0] in "\"'" else "\n" * found[0].count("\n"), source
    )


def longest_function(code: list[str]) -> int:
    """Lines of the longest definition, between an opening and a closing brace at the margin."""
    longest, start = 0, None
    for number, line in enumerate(code):
        if line.endswith("{") and "(" in line and not line[0].isspace():
            start = number
        elif line.startswith("}") and start is not None:
            longest, start = max(longest, number - start + 1), None
    return longest


def count(name: str, source: str) -> harness.Row:
    """Every figure of one source text."""
    lines, code = source.splitlines(), without_comments(source).splitlines()
    tokens = [len(TOKEN.findall(line)) for line in code]
    used = [n for n in tokens if n]
    blank = sum(not line.strip() for line in lines)
    statements = [line.count(";") - 2 * len(re.findall(r"\bfor\s*\(", line)) for line in code]
    return {
        "file": name,
        "lines": len(lines),
        "code": len(used),
        "comment": len(lines) - len(used) - blank,
        "blank": blank,
        "longest line": max(map(len, lines), default=0),
        "tokens": sum(tokens),
        "tokens/line": statistics.fmean(used) if used else 0.0,
        "19 of 20 under": sorted(used)[int(0.95 * (len(used) - 1))] if used else 0,
        "lines of 2+ statements": sum(n > 1 for n in statements),
        "longest function": longest_function(code),
    }


def sections(source: str) -> list[harness.Row]:
    """The figures of each titled section."""
    parts: list[tuple[str, list[str]]] = [("(opening)", [])]
    for line in source.splitlines():
        title = SECTION.match(line)
        if title:
            parts.append((title[1], []))
        parts[-1][1].append(line)
    keys = ("lines", "code", "comment", "tokens", "tokens/line")
    counted = [(title, count(title, "\n".join(lines))) for title, lines in parts]
    return [{"section": title[:60], **{key: row[key] for key in keys}} for title, row in counted]


def main() -> int:
    parser = harness.parser(__doc__)
    ours = harness.ROOT / "src/cabinos/engine/run.c"
    parser.add_argument(
        "--beside", nargs="*", type=Path, default=[], help="C files to compare with"
    )
    options = harness.finish(parser.parse_args())
    beside = list(options.beside)
    if options.llama2c and (Path(options.llama2c) / "run.c").is_file():
        beside.append(Path(options.llama2c) / "run.c")
    for path in [ours, *beside]:
        if not path.is_file():
            raise SystemExit(f"style: no such file: {path}")
    source = ours.read_text()
    row = count("run.c", source)
    row["ok"] = row["lines"] <= MAX_LINES and row["longest line"] <= MAX_COLUMNS
    rows = [row] + [count(str(Path(*p.parts[-2:])), p.read_text()) for p in beside]
    parts = sections(source)
    harness.table("sections of run.c", parts)
    return harness.report("style", options, rows, detail={"sections": parts})


if __name__ == "__main__":
    sys.exit(main())
