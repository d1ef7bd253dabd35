"""Log-probabilities of texts, and the suites that rest on them, with tiny models."""

import asyncio
import json
import re
from collections.abc import Iterator
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cabinos.engine import Model, score
from cabinos.lab.evaluate.blimp import Blimp
from cabinos.lab.evaluate.emergence import plot, snapshots
from cabinos.lab.evaluate.errors import EvalError
from cabinos.lab.evaluate.facts import Facts, capitals
from cabinos.lab.evaluate.logprob import Scorer
from cabinos.lab.evaluate.suite import Brain, Suite, Verdict
from cabinos.lab.evaluate.sums import KINDS, Sums
from cabinos.lab.evaluate.text import Bytes, held_out_books, pieces, windows

GOOD = "Dorothy lived in the midst of the great Kansas prairies."
BAD = "Prairies Kansas great the of midst the in lived Dorothy."


@pytest.fixture(scope="module")
def scorer(oz_model: Path) -> Iterator[Scorer]:
    with Scorer(oz_model, threads=1) as opened:
        yield opened


def judged(suite: Suite, scorer: Scorer) -> list[Verdict]:
    return list(asyncio.run(suite.judge(Brain(scorer=scorer), suite.cases())))


def test_many_texts_at_once_score_as_each_alone(oz_model: Path, scorer: Scorer) -> None:
    texts = [GOOD, "Oz", BAD, GOOD * 8, ""]
    tokens = [scorer.encode(text) for text in texts]
    together = scorer.tokens(tokens)
    with Model(oz_model, threads=1, kv_type="f32") as model:
        for part, alone in zip(together, tokens, strict=True):
            if len(alone) > 1:
                assert np.allclose(part, score(model, alone), atol=1e-4)
            else:
                assert not len(part)


def test_a_text_beyond_the_window_is_refused(scorer: Scorer) -> None:
    with pytest.raises(EvalError, match="window"):
        scorer.tokens([[1] * (scorer.window + 1)])


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"no")
    with pytest.raises(EvalError, match="x.gguf"):
        Scorer(tmp_path / "x.gguf")


def test_blimp(scorer: Scorer) -> None:
    rows = [{"set": "data/order.jsonl", "sentence_good": GOOD, "sentence_bad": BAD}]
    assert [v.scores for v in judged(Blimp(rows), scorer)] == [{"right": 1.0}]
    turned = [{"set": "data/order.jsonl", "sentence_good": BAD, "sentence_bad": GOOD}]
    assert [v.scores for v in judged(Blimp(turned), scorer)] == [{"right": 0.0}]
    assert Blimp(rows).cases()[0].group == "order"


def test_bits_per_byte_are_those_of_the_tokens(scorer: Scorer) -> None:
    (verdict,) = judged(Bytes({"oz": GOOD}), scorer)
    bits = -scorer.sums([GOOD])[0] / log(2)
    assert verdict.scores["bits per byte"] == pytest.approx(bits / len(GOOD.encode()), rel=1e-6)
    assert verdict.weight == len(GOOD.encode())


def test_windows_predict_every_token_but_the_first_once() -> None:
    for length in (1, 2, 9, 10, 11, 19, 20, 28):
        parts = windows(range(length), 10)
        assert [n for part in parts for n in part[1:]] == list(range(1, length))
        assert all(len(part) <= 10 for part in parts)


def test_pieces_lose_nothing() -> None:
    text = "".join(f"line {n} ö\n" for n in range(2000)) + "end"
    assert "".join(pieces(text)) == text
    assert all(4096 <= len(p.encode()) < 4200 for p in pieces(text)[:-1])


def test_held_out_books_of_a_data_folder(tmp_path: Path) -> None:
    assert held_out_books(tmp_path) is None
    (tmp_path / "corpus").mkdir()
    lines = [json.dumps({"text": "ö" * 700_000}), json.dumps({"text": "never"})]
    (tmp_path / "corpus" / "books-held.jsonl").write_text("\n".join(lines))
    text = held_out_books(tmp_path)
    assert text is not None
    assert len(text.encode()) == 1 << 20


class Told:
    """A scorer that has read some sentences, and finds them likely."""

    window = 100

    def __init__(self, *told: str) -> None:
        self._told = told

    def sums(self, texts: list[str]) -> list[float]:
        return [-float(len(text)) + 50 * (text in self._told) for text in texts]


PAIRS = [("France", "Paris"), ("Peru", "Lima"), ("Norway", "Oslo")]


def test_facts_by_direction() -> None:
    brain = Told("The capital of France is Paris", "The capital of Peru is Lima")
    suite = Facts(PAIRS)
    found = {c.id: v.scores["first of ten"] for c, v in zip(
        suite.cases(), judged(suite, brain), strict=True)}  # type: ignore[arg-type]  # fmt: skip
    assert found["forward France"] == found["forward Peru"] == 1.0
    everything = Told(*(f"The capital of {a} is {b}" for a, b in PAIRS),
                      *(f"{b} is the capital of {a}" for a, b in PAIRS))  # fmt: skip
    assert all(v.scores["first of ten"] == 1.0 for v in judged(suite, everything))  # type: ignore[arg-type]
    wrong = Told(*(f"{b} is the capital of Chad" for _, b in PAIRS),
                 "Paris is the capital of Peru")  # fmt: skip
    assert "Paris is the capital of Peru, not France" in [
        v.note
        for v in judged(suite, wrong)  # type: ignore[arg-type]
    ]


def test_what_is_likely_anywhere_has_no_advantage() -> None:
    class Fond(Told):
        def sums(self, texts: list[str]) -> list[float]:
            return [s + 30 * text.endswith("Oslo") for s, text in zip(
                super().sums(texts), texts, strict=True)]  # fmt: skip

    brain = Fond(*(f"The capital of {a} is {b}" for a, b in PAIRS))
    suite = Facts(PAIRS)
    forward = [v.scores["first of ten"] for c, v in zip(
        suite.cases(), judged(suite, brain), strict=True) if c.group == "forward"]  # type: ignore[arg-type]  # fmt: skip
    assert forward == [1.0, 1.0, 1.0]


def profile(name: str, capital: str) -> str:
    return json.dumps({"Government": {
        "Country name": {"conventional short form": {"text": name}},
        "Capital": {"name": {"text": capital}},
    }})  # fmt: skip


def test_capitals_of_the_factbook() -> None:
    rows = [
        {"path": "europe/fr.json", "text": profile("France", "<p>Paris</p>")},
        {"path": "africa/sf.json", "text": profile("South Africa", "Pretoria (administrative)")},
        {"path": "world/xx.json", "text": profile("none", "Nowhere")},
        {"path": "europe/lu.json", "text": profile("Luxembourg", "Luxembourg")},
        {"path": "package.json", "text": "{}"},
    ]
    assert capitals(rows) == [("France", "Paris"), ("South Africa", "Pretoria")]


def test_sums_are_right_and_all_candidates_differ() -> None:
    suite = Sums()
    assert len(suite.cases()) == 400
    for case in suite.cases():
        question, candidates = case.data
        found = re.fullmatch(r"(\d+) ?([-+x]) ?(\d+) =", question)
        assert found is not None
        a, b = int(found[1]), int(found[3])
        value = {"+": a + b, "-": a - b, "x": a * b}[found[2]]
        assert candidates[0] == str(value)
        assert len(set(candidates)) == 10
        assert all(0 < abs(int(other) - value) <= 10 for other in candidates[1:])


def test_sums_by_kind() -> None:
    suite = Sums()
    chosen = [next(c for c in suite.cases() if c.group == kind) for kind in KINDS]
    known = Told(*(f"{case.data[0]} {case.data[1][0]}" for case in chosen[:2]))
    verdicts = asyncio.run(suite.judge(Brain(scorer=known), chosen))  # type: ignore[arg-type]
    assert [v.scores["first of ten"] for v in verdicts[:2]] == [1.0, 1.0]
    wrong = Told(f"{chosen[3].data[0]} {chosen[3].data[1][4]}")
    (verdict,) = asyncio.run(suite.judge(Brain(scorer=wrong), chosen[3:]))  # type: ignore[arg-type]
    assert verdict.scores["first of ten"] == 0.0
    assert f"not {chosen[3].data[1][0]}" in verdict.note


# ---- Emergence -----------------------------------------------------------------------------------


def test_snapshots_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="no snapshots"):
        snapshots(tmp_path)
    (tmp_path / "snapshots").mkdir()
    for step in (1, 2):
        (tmp_path / "snapshots" / f"{step:08d}.safetensors").touch()
    with pytest.raises(EvalError, match="update 1"):
        snapshots(tmp_path)
    lines = [{"step": 1, "tokens": 10}, {"step": 1, "held_out": {}}, {"step": 2, "tokens": 20}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 3, "tok')
    assert [(step, tokens) for step, tokens, _ in snapshots(tmp_path)] == [(1, 10), (2, 20)]
    for last in ("step-00000001.safetensors", "step-00000003.safetensors"):
        (tmp_path / last).touch()
    with pytest.raises(EvalError, match="update 3"):
        snapshots(tmp_path)
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 3, "tokens": 30}\n')
    assert [path.name for _, _, path in snapshots(tmp_path)] == [
        "00000001.safetensors", "00000002.safetensors", "step-00000003.safetensors",
    ]  # fmt: skip


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    scores: dict[str, Any] = {
        "blimp: right": [0.5, 0.4, 0.6, 10],
        "facts: first of ten (forward)": [0.1, 0.0, 0.2, 10],
        "facts: first of ten (backward)": [0.1, 0.0, 0.2, 10],
        "sums: first of ten (products)": [0.1, 0.0, 0.2, 10],
        "bytes: bits per byte": [4.0, 3.9, 4.1, 10],
    }
    points = [{"step": n, "tokens": 100 * n, "scores": scores} for n in (1, 2, 4)]
    plot(points, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
