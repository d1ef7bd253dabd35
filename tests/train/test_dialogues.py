"""Conversations: phrases, the stage, and rows that are the same for the same seed."""

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cabinos.cli.main import main
from cabinos.train.dialogues import families
from cabinos.train.dialogues.families import SHARES, family
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.generate import generate
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.report import report
from cabinos.train.dialogues.script import Call, Script, Template, Turn, World
from cabinos.train.dialogues.stage import Stage, StageError
from cabinos.train.errors import CorpusError
from cabinos.train.tokenizer import TOOLS_SHOWN

NOW = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)

# ---- phrases -------------------------------------------------------------------------------------

plain = st.text("abc ,.?'", min_size=1, max_size=6)
patterns = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"[{'|'.join(parts)}]"),
        inner.map(lambda part: f"({part})"),
        st.lists(inner, min_size=1, max_size=3).map("".join),
    ),
    max_leaves=8,
)
values = st.text("ABC$%+0123456789.?!", min_size=1, max_size=8)


@given(patterns, patterns, values, st.integers())
def test_a_value_is_said_as_it_is(before: str, after: str, value: str, seed: int) -> None:
    said = say(Random(seed), f"{before} {{x}} {after}", x=value)
    assert value in said
    assert not set(said) & set("[]()|{}")


@given(patterns, st.integers())
def test_the_same_seed_says_the_same(pattern: str, seed: int) -> None:
    assert say(Random(seed), pattern) == say(Random(seed), pattern)


@pytest.mark.parametrize("pattern", ["(a", "a)", "[a|b", "a]", "(a]", "[a)", "[(a])", "{x"])
def test_a_pattern_that_is_not_well_formed_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="phrase|bracket"):
        say(Random(0), pattern, x=1)


def test_every_alternative_is_said_and_what_is_optional_not_always() -> None:
    rng = Random(1)
    said = {say(rng, "(so )[one|two|three]") for _ in range(400)}
    assert {"one", "two", "three", "so one", "so two", "so three"} <= said


# ---- the stage -----------------------------------------------------------------------------------


def perform(*scripts: Script) -> list[list[dict[str, object]]]:
    async def performed() -> list[list[dict[str, object]]]:
        async with Stage() as stage:
            return [await stage.perform(script, now=NOW, seed=7) for script in scripts]

    return asyncio.run(performed())


def test_results_come_from_the_devices_and_answers_from_results() -> None:
    turn = Turn(
        "what is 6*7", lambda r: f"It's {r[0][-2:]}.", (Call("calculate", {"expression": "6*7"}),)
    )
    (messages,) = perform(Script((turn,)))
    assert messages == [
        {"role": "user", "content": "what is 6*7"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"name": "calculate", "arguments": {"expression": "6*7"}}],
        },
        {"role": "tool", "content": "6*7 = 42"},
        {"role": "assistant", "content": "It's 42."},
    ]


def test_a_call_may_depend_on_the_result_before_it() -> None:
    calls = (
        Call("units_convert", {"value": "3", "from_unit": "ft", "to_unit": "in"}),
        lambda results: Call("calculate", {"expression": f"{results[0].split()[3]} / 2"}),
    )
    (messages,) = perform(Script((Turn("half of 3 ft in inches", lambda r: r[1], calls),)))
    assert messages[-1]["content"] == "36 / 2 = 18"


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (Call("calculate", {"expression": "1/0"}), "divides by zero"),
        (Call("calculate", {"expression": "1/1"}, fails=True), "1/1 = 1"),
        (Call("calculate", {"number": "1"}), "expression"),
        (Call("nothing", {}), "no tool"),
        (Call("exec", {"code": "1 +"}), "exec"),
        (Call("exec", {"code": "notes_list()"}), "only the kernel"),
    ],
)
def test_a_call_that_goes_otherwise_names_the_template(call: Call, complaint: str) -> None:
    with pytest.raises(StageError, match=f"a/template-1: .*{complaint}"):
        perform(Script((Turn("x", "y", (call,)),), template="a/template-1"))


def test_each_performance_begins_in_its_own_world() -> None:
    listed = Turn("list", lambda r: r[0], (Call("notes_list", {"kind": "note"}),))
    first, second, third = perform(
        Script((listed,), World(notes=("the code is 5",))),
        Script((listed,)),
        Script((Turn("when", lambda r: r[0], (Call("clock_add", {"start": "tomorrow"}),)),)),
    )
    assert "the code is 5" in str(first[-1]["content"])
    assert second[-1]["content"] == "There is none."
    assert third[-1]["content"] == "2026-03-15 (Sunday)"


def test_files_are_there_only_in_worlds_that_have_them() -> None:
    async def offered() -> tuple[set[str], set[str]]:
        async with Stage() as stage:
            worlds = World(), World(files={"docs/a.txt": "hello\n"}, escalates=True)
            bare, full = ({t.name for t in stage.tools(Script((), world))} for world in worlds)
            return bare, full

    bare, full = asyncio.run(offered())
    assert full - bare >= {"files_read", "files_passages", "escalate"}
    assert bare <= full


def test_handing_over_ends_the_conversation() -> None:
    turn = Turn("write me a novel", "", (Call("escalate", {}),))
    (messages,) = perform(Script((turn,), World(escalates=True)))
    assert [message["role"] for message in messages] == ["user", "assistant"]


# ---- rows ----------------------------------------------------------------------------------------


def test_rows_are_the_same_for_the_same_seed_by_any_number_of_workers(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one", "two", "other")]
    for path, seed, workers in zip(files, (5, 5, 6), (1, 2, 1), strict=True):
        assert generate(seed, 30, path, workers=workers).rows == 30
    one, two, other = (path.read_text() for path in files)
    assert one == two
    assert one != other


def test_what_a_row_holds(tmp_path: Path) -> None:
    seen: list[int] = []
    produced = generate(1, 150, tmp_path / "rows.jsonl", progress=seen.append)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").open()]
    assert seen == list(range(1, 151))
    assert len(rows) == produced.rows == sum(produced.families.values())
    assert len({json.dumps(row["messages"]) for row in rows}) == len(rows)
    for row in rows:
        names = [tool["function"]["name"] for tool in row["tools"]]
        calls = {c["name"] for m in row["messages"] for c in m.get("tool_calls", ())}
        assert calls <= set(names), row["template"]
        assert len(set(names) - {"escalate"}) == len(names) - ("escalate" in names)
        assert len(names) <= max(TOOLS_SHOWN, len(calls)) + 1
        assert row["template"].startswith(f"{row['family']}/")
        assert all(
            m["content"] == m["content"].strip() for m in row["messages"] if m["role"] != "tool"
        )


def test_a_broken_template_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Script((Turn("x", "y", (Call("nothing", {}),)),), template="chance/broken")
    monkeypatch.setattr(
        "cabinos.train.dialogues.generate.family",
        lambda *_: [Template("chance/broken", lambda *_: broken)],
    )
    with pytest.raises(StageError, match="chance/broken"):
        generate(0, 10, tmp_path / "rows.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_too_few_different_rows_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = Script((Turn("hello", "Hi."),), template="talk/hello")
    monkeypatch.setattr(
        "cabinos.train.dialogues.generate.family",
        lambda *_: [Template("talk/hello", lambda *_: only)],
    )
    with pytest.raises(CorpusError, match="only 1 different rows of 5"):
        generate(0, 5, tmp_path / "rows.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="cannot be written"):
        generate(0, 5, tmp_path / "file" / "rows.jsonl")


def test_the_command_writes_rows_and_tells_what_they_are(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    arguments = ["data", "dialogues", str(out), "--rows", "20", "--data", str(tmp_path), "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["families"]
    assert told[-1]["family"] == "all"
    assert told[-1]["rows"] == 20 == len(out.read_text().splitlines())
    assert told == report(out)["families"]


def test_a_report_of_what_is_no_file_of_rows(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("{}\n")
    for name in ("rows", "none"):
        with pytest.raises(CorpusError, match="no file of conversations"):
            report(tmp_path / name)


# ---- what is held out ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(SHARES))
def test_held_out_templates_are_a_tenth_and_never_trained_on(name: str) -> None:
    held, trained = ({t.name for t in family(name, held_out)} for held_out in (True, False))
    assert held
    assert not held & trained
    assert 0.08 < len(held) / len(held | trained) < 0.2
    assert all(template.startswith(f"{name}/") for template in held | trained)


def test_held_out_words_are_never_trained_on() -> None:
    def drawn(draw: Callable[[Fillers, Random], str], held_out: bool) -> set[str]:
        fillers, rng = Fillers(held_out=held_out), Random(0)
        return {draw(fillers, rng) for _ in range(400)}

    own = [f"word{n}" for n in range(20)]
    for draw in (
        lambda fillers, rng: fillers.one(rng, "name"),
        lambda fillers, rng: fillers.one(rng, "food"),
        lambda fillers, rng: fillers.of(rng, own),
    ):
        held, trained = drawn(draw, True), drawn(draw, False)
        assert held
        assert not held & trained


def test_fillers_come_from_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    listed = {
        "description": "x",
        "animals": ["yak", "a beast of far too many letters to say", "x1"],
    }
    row = {"path": "data/animals/common.json", "text": json.dumps(listed)}
    (tmp_path / "sources" / "corpora.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "sources" / "names.jsonl").write_text(json.dumps({"text": "zoe\nabe"}) + "\n")
    drawn: set[str] = set()
    for held_out in (True, False):
        fillers = Fillers(tmp_path, held_out=held_out)
        drawn |= {fillers.one(Random(n), kind) for n in range(300) for kind in ("animal", "name")}
    assert {"yak", "Zoe", "Abe"} <= drawn
    assert not [word for word in drawn if re.search(r"\d|beast", word)]
    (tmp_path / "sources" / "corpora.jsonl").write_text("{")
    with pytest.raises(CorpusError, match="damaged"):
        Fillers(tmp_path)


def test_there_is_a_module_for_every_share() -> None:
    folder = Path(families.__file__).parent
    assert {name for name in SHARES if not (folder / f"{name}.py").is_file()} == set()
