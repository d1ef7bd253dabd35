"""Verdicts in a file: going on, other models, damaged files; and which cases are chosen."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from cabinos.lab.evaluate.errors import EvalError
from cabinos.lab.evaluate.results import Results, summary
from cabinos.lab.evaluate.run import evaluate
from cabinos.lab.evaluate.sets import read_set
from cabinos.lab.evaluate.suite import Brain, Case, Verdict, chosen

IDENTITY = {"model": "m", "seed": 0}


class Even:
    """Right where the number is even; fails at one of them."""

    name = "even"
    measures: ClassVar = {"even": "share", "size": "mean"}
    batch, workers, needs = 2, 3, "model"

    def __init__(self, count: int, fails_at: int | None = None) -> None:
        self._cases = [Case(str(n), "small" if n < 10 else "large", n) for n in range(count)]
        self.judged: list[int] = []
        self._fails_at = fails_at

    def cases(self) -> Sequence[Case]:
        return self._cases

    async def judge(self, brain: Brain, cases: Sequence[Case]) -> Sequence[Verdict]:
        await asyncio.sleep(0)
        if self._fails_at in [case.data for case in cases]:
            raise EvalError("broken")
        self.judged += [case.data for case in cases]
        return [Verdict({"even": float(c.data % 2 == 0), "size": c.data}) for c in cases]


class Quiet:
    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def begin(self, suite: object, done: int, total: int) -> None:
        self.seen.append((done, total))

    def judged(self, suite: object, count: int) -> None:
        pass


def run(suite: Even, path: Path, watcher: Quiet | None = None) -> Results:
    with Results(path, IDENTITY) as results:
        asyncio.run(evaluate(suite, Brain(), suite.cases(), results, watcher or Quiet()))  # type: ignore[arg-type]
    return results


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    path, watcher = tmp_path / "r.jsonl", Quiet()
    with pytest.raises(EvalError, match="broken"):
        run(Even(20, fails_at=7), path)
    done = len(path.read_text().splitlines()) - 1
    suite = Even(20)
    results = run(suite, path, watcher)
    assert 0 < done < 20
    assert len(suite.judged) == 20 - done
    assert watcher.seen == [(done, 20)]
    rows = {(r.measure, r.group): r for r in summary(suite, results.of("even", suite.cases()))}  # type: ignore[arg-type]
    assert rows["even", ""].score == 0.5
    assert rows["even", ""].n == 20
    assert rows["size", "large"].score == 14.5
    assert rows["size", "large"].low < 14.5 < rows["size", "large"].high


def test_a_last_line_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    run(Even(6), path)
    path.write_bytes(path.read_bytes()[:-5])
    suite = Even(6)
    run(suite, path)
    assert len(suite.judged) == 1 + 0
    assert len(path.read_text().splitlines()) == 7


def test_results_of_another_model_are_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    run(Even(2), path)
    with pytest.raises(EvalError, match="another model or seed"):
        Results(path, {"model": "other", "seed": 0})
    with Results(path, {"model": "other", "seed": 0}, fresh=True) as results:
        assert not results.done


@pytest.mark.parametrize("text", ['{"a": 1}\n', "hello\n", '{"measured": {}}\n[1]\n', "3\n"])
def test_a_file_that_is_none_of_ours_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(EvalError, match="no results of cabin eval"):
        Results(path, IDENTITY)
    assert path.read_text() == text


def test_a_part_has_of_each_group_its_share() -> None:
    cases = [Case(str(n), "one" if n < 80 else "two", n) for n in range(100)]
    some = chosen(cases, 10, seed=1)
    assert [sum(c.group == g for c in some) for g in ("one", "two")] == [8, 2]
    assert some == chosen(cases, 30, seed=1)[:10]
    assert {c.id for c in some} != {c.id for c in chosen(cases, 10, seed=2)}
    assert chosen(cases, 1000, seed=1) == cases


def test_sets_are_found_and_verified(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match=r"cabin data get --eval clinc_val"):
        read_set(tmp_path, "clinc_val")
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "clinc_val.jsonl").write_text(json.dumps({"text": "x"}) + "\n")
    with pytest.raises(EvalError, match="not the rows that are pinned"):
        read_set(tmp_path, "clinc_val")
    (tmp_path / "blimp.jsonl.xz").write_bytes(b"\xfd7zXZ\x00 cut")
    with pytest.raises(EvalError, match="truncated or damaged"):
        read_set(tmp_path, "blimp")
