"""Labels: a log that loses nothing, blind sides, repeats, undo, and what a rater's habits are."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.lab.comparisons.agreement import agreement, cohen_kappa, lean
from cabinos.lab.comparisons.collect import Answer, Question, collect
from cabinos.lab.comparisons.errors import ComparisonError
from cabinos.lab.comparisons.labelling import Labelling, summary
from cabinos.lab.comparisons.log import Log, read_log
from cabinos.lab.comparisons.pair import Candidates
from cabinos.lab.comparisons.simulate import SimulatedRater

IDENTITY = {"log": "labels", "items": "x", "seed": 7}


def items(count: int) -> list[Candidates]:
    """The better answer is the one that says yes."""

    def answer(text: str) -> tuple[dict[str, str]]:
        return ({"role": "assistant", "content": text},)

    return [
        Candidates(
            ({"role": "user", "content": f"question {n}"},), (answer(f"yes {n}"), answer(f"no {n}"))
        )
        for n in range(count)
    ]


def worth(question: Question, side: str) -> float:
    shown = question.left if side == "left" else question.right
    return float(shown[0]["content"].startswith("yes"))


class Scripted:
    """Says one thing after the other, and then quits."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.shown: list[Question] = []

    def rate(self, question: Question) -> Answer:
        self.shown.append(question)
        return self._answers.pop(0) if self._answers else "quit"


# ---- The log -------------------------------------------------------------------------------------


def test_a_line_that_was_cut_off_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with Log(path, IDENTITY) as log:
        log.append({"n": 1})
        log.append({"n": 2, "text": "\u2028 \ud800"})
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole[:cut])
        assert read_log(path, "labels")[1] == [
            json.loads(x) for x in whole[:cut].split(b"\n")[1:-1]
        ]
    path.write_bytes(whole[:-3])
    with Log(path, IDENTITY) as log:
        assert log.entries == [{"n": 1}]
        log.append({"n": 3})
    assert [entry["n"] for entry in read_log(path, "labels")[1]] == [1, 3]


def test_the_first_line_can_be_cut_off_too(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"log": "lab')
    with Log(path, IDENTITY) as log:
        assert log.entries == []
    assert read_log(path, "labels")[0] == IDENTITY


@pytest.mark.parametrize("data", [b"hello", b"hello\n", b'{"a": 1}\n', b"[]\n", b"\xff\n"])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(data)
    with pytest.raises(ComparisonError, match="x.jsonl"):
        Log(path, IDENTITY)
    assert path.read_bytes() == data


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(IDENTITY) + "\n{\n{}\n")
    with pytest.raises(ComparisonError, match="line 2"):
        Log(path, IDENTITY)


def test_a_log_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    Log(path, IDENTITY).close()
    with pytest.raises(ComparisonError, match="seed 7, not 8"):
        Log(path, {**IDENTITY, "seed": 8})
    with pytest.raises(ComparisonError, match="holds 'labels', not battles"):
        read_log(path, "battles")


HOLD = """
import sys
from pathlib import Path
from cabinos.lab.comparisons.log import Log
log = Log(Path(sys.argv[1]), {"log": "labels", "items": "x", "seed": 7})
for number in range(1000000):
    log.append({"n": number})
    print(number, flush=True)
"""


def test_killed_it_has_lost_nothing_and_meanwhile_nobody_else_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(20):
        process.stdout.readline()
    with pytest.raises(ComparisonError, match="another program is writing"):
        Log(path, IDENTITY)
    os.kill(process.pid, signal.SIGKILL)
    promised = [int(line) for line in process.stdout.read().split()]
    process.wait()
    with Log(path, IDENTITY) as log:
        kept = [entry["n"] for entry in log.entries]
    assert kept == list(range(len(kept)))
    assert len(kept) > max(promised, default=19)


FILL = """
import resource, signal, sys
from pathlib import Path
from cabinos.lab.comparisons.log import Log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = Log(Path(sys.argv[1]), {"log": "labels", "items": "x", "seed": 7})
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
try:
    while True:
        log.append({"text": "x" * 30})
except OSError as error:
    print(len(log.entries), error.filename)
"""


def test_where_there_is_no_room_nothing_is_added(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    result = subprocess.run(
        [sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, check=True
    )
    count, where = result.stdout.split()
    assert where == str(path)
    assert len(read_log(path, "labels")[1]) == int(count) > 0
    assert path.read_bytes().endswith(b"\n")


# ---- Labelling -----------------------------------------------------------------------------------


def test_sides_are_random_and_what_was_chosen_is_told_in_terms_of_the_file(tmp_path: Path) -> None:
    with Log(tmp_path / "x", IDENTITY) as log:
        ballot = Labelling(items(60), log, "me")
        collect(ballot, SimulatedRater(worth))
        pairs = list(ballot.pairs())
        same, leaning = summary(ballot.votes)
    assert len(pairs) == 60
    assert {pair.chosen[0]["content"][:3] for pair in pairs} == {"yes"}
    assert {pair.rater for pair in pairs} == {"me"}
    assert same.share == 1
    assert 3 <= same.pairs <= 15  # about one in ten
    assert 0.25 < leaning.share < 0.75
    assert len({vote.flipped for vote in ballot.votes}) == 2


def test_ties_both_bad_and_skipped(tmp_path: Path) -> None:
    with Log(tmp_path / "x", IDENTITY) as log:
        ballot = Labelling(items(4), log)
        collect(ballot, Scripted("tie", "bad", "skip", "left"))
        rows = [pair.to_json() for pair in ballot.pairs()]
    assert [(row.get("tie"), row.get("both_bad")) for row in rows] == [
        (True, None), (True, True), (None, None),
    ]  # fmt: skip


def test_an_answer_taken_back_is_asked_again(tmp_path: Path) -> None:
    with Log(tmp_path / "x", IDENTITY) as log:
        ballot = Labelling(items(5), log)
        rater = Scripted("left", "right", "undo", "tie", "undo", "undo", "undo")
        assert collect(ballot, rater) == 0
        assert ballot.votes == []
        shown = [question.prompt[0]["content"] for question in rater.shown]
    assert shown[1] == shown[3] == shown[5]
    assert shown[2] == shown[4]
    assert shown[0] == shown[6] == shown[7]
    assert sum("undo" in entry for entry in read_log(tmp_path / "x", "labels")[1]) == 3


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_wherever_it_is_cut_off_it_goes_on_the_same(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("cut")

    def ask(name: str, limits: list[int | None]) -> list[tuple[str, str, bool]]:
        for limit in limits:
            with Log(folder / name, IDENTITY) as log:
                ballot = Labelling(items(30), log)
                collect(ballot, SimulatedRater(worth), limit=limit)
                votes = ballot.votes
        return [(vote.item, vote.verdict, vote.repeat) for vote in votes]

    assert ask("whole", [None]) == ask("cut", [*cuts, None])


def test_a_careless_rater_is_found_out(tmp_path: Path) -> None:
    def habits(name: str, rater: SimulatedRater) -> tuple[float, float]:
        with Log(tmp_path / name, IDENTITY) as log:
            ballot = Labelling(items(300), log)
            collect(ballot, rater)
            same, leaning = summary(ballot.votes)
        return same.share, leaning.share

    careful, fair = habits("careful", SimulatedRater(worth, noise=0.02))
    careless, left = habits("careless", SimulatedRater(worth, noise=0.3, lean=0.3))
    assert careful > 0.9 > 0.8 > careless
    assert fair < 0.57 < 0.58 < left


def test_a_log_with_a_line_that_is_none_is_refused(tmp_path: Path) -> None:
    with Log(tmp_path / "x", IDENTITY) as log:
        log.append({"what": 1})
        with pytest.raises(ComparisonError, match="a line that is none"):
            Labelling(items(1), log)


# ---- Agreement -----------------------------------------------------------------------------------


def test_cohens_example() -> None:
    """Cohen (1960), table 1: observed .70, expected .41."""
    cells = {("1", "1"): 88, ("1", "2"): 14, ("1", "3"): 18, ("2", "1"): 10, ("2", "2"): 40,
             ("2", "3"): 10, ("3", "1"): 2, ("3", "2"): 6, ("3", "3"): 12}  # fmt: skip
    first = [a for (a, _), count in cells.items() for _ in range(count)]
    second = [b for (_, b), count in cells.items() for _ in range(count)]
    assert agreement(first, second).share == pytest.approx(0.70)
    assert cohen_kappa(first, second) == pytest.approx((0.70 - 0.41) / (1 - 0.41))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=30))
def test_kappa_is_at_most_one_and_the_same_both_ways(said: list[tuple[str, str]]) -> None:
    first, second = [a for a, _ in said], [b for _, b in said]
    kappa = cohen_kappa(first, second)
    assert kappa == cohen_kappa(second, first) or kappa == pytest.approx(cohen_kappa(second, first))
    assert kappa is None or kappa <= 1 + 1e-9
    if first == second and len(set(first)) > 1:
        assert kappa == pytest.approx(1)


def test_nothing_is_no_agreement_and_no_lean() -> None:
    assert cohen_kappa([], []) is None
    assert agreement([], []).share == 0
    assert lean(["tie", "bad"]).share == 0.5


def test_the_clock_runs_while_one_thinks(tmp_path: Path) -> None:
    times = iter([10.0, 12.5, 20.0, 21.0])
    clock: Callable[[], float] = lambda: next(times)  # noqa: E731
    with Log(tmp_path / "x", IDENTITY) as log:
        ballot = Labelling(items(2), log)
        collect(ballot, Scripted("left", "right"), clock=clock)
        assert [vote.seconds for vote in ballot.votes] == [2.5, 1.0]
