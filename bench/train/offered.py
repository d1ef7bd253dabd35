"""Can what training calls be called in use?

    python bench/train/offered.py --data DATA
    python bench/train/offered.py --quick

Conversations are made as for training, and each call in them is written under the grammar that
confines the brain's calls (`drivers/model/copying.py`). Of a call that it does not allow, training
teaches what decoding forbids. DATA is the data folder that words are drawn from; without it there
are fewer. Tools of one conversation alone are left out.
"""

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cabinos.drivers.model.brain import BUILT_IN
from cabinos.drivers.model.prompt import Prompter
from cabinos.kernel.driver import Message, Tool, ToolCall
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.generate import make_row
from cabinos.train.dialogues.script import Script
from cabinos.train.dialogues.stage import Stage

SEED = 99  # not training's
GOAL = 0.95
RESULTS = Path(__file__).resolve().parents[2] / "bench/results/train"


def offered(prompter: Prompter, tool: Tool, said: list[Message], arguments: Any) -> bool:
    """Whether the brain could write this call of the tool after what was said."""
    constraint = prompter.constraint([tool], None, said)
    assert constraint is not None
    form, tokenizer = prompter.call_format, prompter.tokenizer
    separators = (form.item_separator, form.key_separator)
    written = json.dumps(arguments, ensure_ascii=False, separators=separators)
    call = f"{form.mark}{form.before}{tool.name}{form.between}{written}{form.after}"
    ids = tokenizer.encode(call, add_special=False, parse_special=True)
    return constraint.compile(tokenizer, tokenizer.vocab_size).longest_valid(ids) == len(ids)


def calls_of(row: Mapping[str, Any]) -> list[tuple[list[Message], str, Any]]:
    """Each call of a conversation: what was said before, the tool's name, and the arguments."""
    said: list[Message] = []
    found = []
    for message in row["messages"]:
        calls = [ToolCall("", c["name"], c["arguments"]) for c in message.get("tool_calls", ())]
        found += [(list(said), call.name, call.arguments) for call in calls]
        said.append(Message(message["role"], message["content"], tuple(calls)))
    return found


async def measured(rows: int, data: Path | None) -> tuple[Counter[str], Counter[str], list[str]]:
    """Calls and calls that are offered, by family; and some that are not."""
    prompter, fillers = Prompter(BUILT_IN, thinking=False), Fillers(data)
    made, fine, examples = Counter[str](), Counter[str](), []
    async with Stage() as stage:
        tools = {tool.name: tool for tool in stage.tools(Script(()))}
        for number in range(rows):
            row = await make_row(stage, fillers, SEED, number)
            for said, name, arguments in calls_of(row):
                if name not in tools:
                    continue
                made[row["family"]] += 1
                if offered(prompter, tools[name], said, arguments):
                    fine[row["family"]] += 1
                else:
                    examples.append(f"{name} {json.dumps(arguments)} of {said[-1].text!r}"[:200])
    return made, fine, examples


def main() -> None:
    """Measures, and prints one JSON line last."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--quick", action="store_true", help="300 conversations")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = 300 if options.quick else options.rows
    made, fine, examples = asyncio.run(measured(rows, options.data))
    shares = {name: round(fine[name] / made[name], 4) for name in sorted(made)}
    for name, share in shares.items():
        print(f"{name:12} {made[name]:5,} calls  {share:7.1%}")
    share = fine.total() / made.total()
    report = {"bench": "offered", "quick": options.quick, "rows": rows, "calls": made.total()}
    report |= {"share": round(share, 4), "goal": GOAL, "ok": share >= GOAL, "families": shares}
    options.results.mkdir(parents=True, exist_ok=True)
    name = "offered-quick.json" if options.quick else "offered.json"
    (options.results / name).write_text(
        json.dumps(report | {"not": examples[:40]}, indent=1) + "\n"
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
