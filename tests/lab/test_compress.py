"""Lossless compression: parts by themselves, then whole files, with small models."""

import io
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from math import log2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.drivers.model.brain import BUILT_IN
from cabinos.lab.compress import chunk as chunks
from cabinos.lab.compress.container import Header, Reader, Writer
from cabinos.lab.compress.errors import CompressError
from cabinos.lab.compress.explain import page, pieces
from cabinos.lab.compress.mixer import Mixer
from cabinos.lab.compress.odds import cumulative
from cabinos.lab.compress.predictor import Predictor
from cabinos.lab.compress.rangecoder import Decoder, Encoder, Meter
from cabinos.lab.compress.stream import compress, decompress, open_for
from cabinos.lab.compress.stream import pieces as cut
from cabinos.lab.compress.tree import build
from tests.engine.fixtures import tiny_gguf
from tests.engine.test_determinism import levels

BASE = BUILT_IN.with_name("nano-base.gguf")
TEXT = (
    "The cabin stood at the edge of the wood. In the evening the old man sat before the cabin and "
    "looked at the wood, and the wood looked back. — Größe, naïveté; 1984.\r\n"
)


@pytest.fixture(scope="module")
def predictor() -> Iterator[Predictor]:
    with Predictor(BASE, threads=1, lanes=4) as opened:
        close = opened.close
        opened.close = lambda: None  # type: ignore[method-assign]  # whoever unpacks closes it
        yield opened
        opened.close = close  # type: ignore[method-assign]


decisions = st.lists(
    st.integers(2, (1 << 45) - 1).flatmap(
        lambda total: st.tuples(st.integers(1, total - 1), st.just(total), st.booleans())
    )
)


@given(decisions)
@settings(deadline=None, max_examples=50)
def test_the_coder_gives_back_every_decision(made: list[tuple[int, int, bool]]) -> None:
    encoder, meter = Encoder(), Meter()
    for zeros, total, one in made:
        encoder.decide(zeros, total, one)
        meter.decide(zeros, total, one)
    data = encoder.finish()
    decoder = Decoder(data)
    assert [decoder.decide(zeros, total) for zeros, total, _ in made] == [d[2] for d in made]
    assert len(data) * 8 <= meter.bits + 0.001 * len(made) + 9


def test_a_carry_runs_through_many_bytes() -> None:
    made = [(1, 2, False)] + [((1 << 40) - 1, 1 << 40, True)] * 1 + [(1, 1 << 44, True)] * 40
    for last in (True, False):
        encoder = Encoder()
        for zeros, total, one in [*made, (1, 2, last)]:
            encoder.decide(zeros, total, one)
        decoder = Decoder(encoder.finish())
        assert [decoder.decide(z, t) for z, t, _ in [*made, (1, 2, last)]][-1] is last


def test_odds_are_those_of_softmax() -> None:
    logits = np.random.default_rng(1).normal(0, 4, (3, 500)).astype(np.float32)
    logits[0, 7] = -np.inf
    wide = logits.astype(np.float64)
    exact = np.exp(wide - wide.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    sums = cumulative(logits)
    found = np.diff(sums) / sums[:, -1:]
    assert (np.diff(sums) >= 1).all()
    assert np.allclose(found, exact, rtol=3e-4, atol=1e-8)
    loss = (exact * np.log2(np.maximum(exact, 1e-300) / found)).sum(axis=1)
    assert (loss < 2e-5).all()  # bits a token


def test_odds_are_these_on_every_machine() -> None:
    logits = (np.arange(-40, 40, dtype=np.float32) / np.float32(3)).reshape(2, 40)
    sums = cumulative(logits)
    assert sums[:, -1].tolist() == [7576191139, 7576191139]
    assert sums[0, [1, 2, 20, 39]].tolist() == [4855, 11631, 9629757, 5428707490]


def test_a_broken_model_is_told() -> None:
    with pytest.raises(CompressError, match="not numbers"):
        cumulative(np.array([[1.0, np.nan]], np.float32))


@given(st.sets(st.binary(min_size=1, max_size=4), min_size=1, max_size=60))
@settings(deadline=None)
def test_a_tree_has_one_node_less_than_words_and_finds_each(found: set[bytes]) -> None:
    words = sorted(found)
    tree = build(words)
    assert len(tree.low) == len(words) - 1
    sums = memoryview(np.arange(len(words) + 1, dtype=np.int64) * 3)
    for leaf in range(len(words)):
        encoder, meter = Encoder(), Meter()
        assert tree.walk(sums, encoder, None, leaf) == leaf
        assert tree.walk(sums, Decoder(encoder.finish()), None) == leaf
        tree.walk(sums, meter, None, leaf)
        assert meter.bits == pytest.approx(log2(len(words)))


def test_the_mixer_learns_what_repeats() -> None:
    words = [bytes([65 + n]) for n in range(16)]
    tree, sums = build(words), memoryview(np.arange(17, dtype=np.int64) * 1000)
    mixer, meter, costs = Mixer(16, 4000), Meter(), []
    for _ in range(60):
        for leaf in (3, 9, 12, 1):
            tree.walk(sums, meter, mixer, leaf)
            mixer.follow(leaf)
        costs.append(meter.bits)
        meter.bits = 0.0
    assert costs[-1] < costs[0] / 8


def test_the_mixer_never_rules_an_answer_out() -> None:
    class Careful(Meter):
        def decide(self, zeros: int, total: int, one: bool) -> bool:
            assert 0 < zeros < total
            return super().decide(zeros, total, one)

    for answer in (False, True):
        mixer, careful = Mixer(2, 1000), Careful()
        for _ in range(3000):
            mixer.decide(careful, 0, 1 if answer else 250, 251, answer)
        assert careful.bits < 30
        mixer.decide(careful, 0, 125, 251, not answer)


def test_a_large_chunk_takes_no_more_memory_than_that() -> None:
    assert sum(len(slots) for slots in Mixer(10, 1 << 24)._slots) <= 10 + 2 * (1 << 22)


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=40)
def test_any_bytes_can_be_spelled(predictor: Predictor, data: bytes) -> None:
    assert predictor.speller.join(predictor.speller.spell(data)) == data


def test_text_is_spelled_as_its_tokenizer_does(predictor: Predictor) -> None:
    leaves = predictor.speller.spell(TEXT.encode() + b"\xff\xfe" + TEXT.encode())
    assert predictor.speller.join(leaves) == TEXT.encode() + b"\xff\xfe" + TEXT.encode()
    assert len(leaves) < len(TEXT)


@pytest.mark.parametrize("style", ["spm", "qwen2", "llama3"])
def test_other_vocabularies(tmp_path: Path, style: str) -> None:
    path = tiny_gguf(tmp_path / "m.gguf", tokenizer=style)  # type: ignore[arg-type]
    data = ("  The quick brown fo\u0065\u0301x " + TEXT).encode() + b"\xc3"
    with Predictor(path, threads=1) as opened:
        assert opened.speller.join(opened.speller.spell(data)) == data
        method, packed = chunks.MODEL, Encoder()
        chunks.code(data, opened, packed, adapt=True, told=lambda _: None)
        again = chunks.unpack(
            [(method, len(data), packed.finish())], opened, adapt=True, told=lambda _: None
        )
    assert again == [data]


FUZZ = {
    "empty": b"",
    "one byte": b"\x00",
    "one letter": b"a",
    "binary": bytes(range(256)) * 3,
    "invalid": b"caf\xe9 \xff\xfe " + TEXT.encode()[:60] + b"\xc3",
    "crlf": b"one\r\ntwo\r\n\r\n   three\t\t\n",
    "markup": b"<|im_end|> <|im_start|>assistant\n\x1b[31mred",
    "repeats": b"abc " * 100,
    "several chunks": (TEXT * 7).encode(),
}


def packed(data: bytes, predictor: Predictor, **options: object) -> bytes:
    target = io.BytesIO()
    read, written = compress(io.BytesIO(data), target, predictor, **{"chunk": 1024, **options})  # type: ignore[arg-type]
    assert (read, written) == (len(data), len(target.getvalue()))
    return target.getvalue()


def unpacked(data: bytes, shared: Predictor | None = None, *, lanes: int = 4) -> bytes:
    target = io.BytesIO()

    def opener(identity: bytes) -> Predictor:
        return shared or open_for(identity, BASE, "x", threads=2, lanes=lanes)

    decompress(io.BytesIO(data), target, opener, name="x.cz", lanes=lanes)
    return target.getvalue()


@pytest.mark.parametrize("name", FUZZ)
def test_round_trips(predictor: Predictor, name: str) -> None:
    for adapt in (True, False):
        data = packed(FUZZ[name], predictor, adapt=adapt)
        assert unpacked(data, predictor) == FUZZ[name]


def test_windows_threads_and_lanes_change_nothing(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "window", 16)
    data = packed(FUZZ["several chunks"], predictor, adapt=False)
    monkeypatch.setattr("cabinos.lab.compress.predictor.WINDOW", 16)
    assert unpacked(data, lanes=1) == FUZZ["several chunks"]
    assert unpacked(data, predictor, lanes=3) == FUZZ["several chunks"]


def test_the_model_beats_what_knows_no_english(predictor: Predictor) -> None:
    data = TEXT.encode()
    method, made = chunks.pack(data, predictor, adapt=True, told=lambda _: None)
    assert method == chunks.MODEL
    assert len(made) < 0.35 * len(data)
    assert len(packed(data, predictor)) < len(made) + 60


def test_coding_costs_what_the_odds_say(predictor: Predictor) -> None:
    data = (TEXT * 2).encode()
    meter, encoder = Meter(), Encoder()
    for coder in (meter, encoder):
        chunks.code(data, predictor, coder, adapt=False, told=lambda _: None)
    assert len(encoder.finish()) * 8 <= meter.bits * 1.005 + 8


def test_instruction_sets_pack_the_same(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(TEXT)
    made = set()
    for level in levels():
        command = [sys.executable, "-m", "cabinos", "compress", "text", "-o", "-", "-q"]
        environment = {**os.environ, "CABIN_ISA": level}
        made.add(subprocess.check_output(command, env=environment, cwd=tmp_path))
    assert len(made) == 1
    assert unpacked(made.pop()) == TEXT.encode()


def test_every_truncation_and_change_is_told(predictor: Predictor) -> None:
    data = packed((TEXT * 4).encode()[:1500], predictor)
    for end in range(0, len(data), 29):
        with pytest.raises(CompressError, match="truncated"):
            unpacked(data[:end], predictor)
    for at in [*range(40), *range(40, len(data), 61), len(data) - 1]:
        changed = bytearray(data)
        changed[at] ^= 0x10
        with pytest.raises(CompressError):
            unpacked(bytes(changed), predictor)
    with pytest.raises(CompressError, match="something follows"):
        unpacked(data + b"x", predictor)


def test_another_model_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    data = packed(TEXT.encode(), predictor)

    def other(identity: bytes) -> Predictor:
        return open_for(identity, BUILT_IN, "x.cz", threads=1)

    with pytest.raises(CompressError, match=f"another model.*{predictor.identity.hex()}"):
        decompress(io.BytesIO(data), io.BytesIO(), other, name="x.cz")


def test_another_engine_is_refused(predictor: Predictor) -> None:
    header = Header(1024, True, predictor.identity, b"else")
    target = io.BytesIO()
    writer = Writer(target, header)
    writer.chunk(chunks.MODEL, b"text", b"tex")
    writer.finish()
    with pytest.raises(CompressError, match="other numbers"):
        unpacked(target.getvalue(), predictor)


def test_lengths_are_bounded() -> None:
    head = Header(1024, True, bytes(16), bytes(4)).packed()
    for size in (b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\x01", b"\x00"):
        reader = Reader(io.BytesIO(head + b"\x01" + size + size + struct.pack("<I", 0)), "x")
        with pytest.raises(CompressError, match="damaged"):
            next(reader.chunks())


def test_a_pipe_may_deliver_as_it_likes() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(7, size or 0))

    assert [len(piece) for piece in cut(Slow(bytes(100)), 32)] == [32, 32, 32, 4]


def test_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"no")
    for path in (tmp_path / "x.gguf", tmp_path / "absent.gguf"):
        with pytest.raises(CompressError, match=path.name):
            Predictor(path)


HOSTILE = '<script>alert(1)</script> \u202e\x1b[2J & "quotes" — 漢字'


def test_explained_text_is_whole_and_harmless(predictor: Predictor) -> None:
    found = pieces(HOSTILE.encode() + b"\xf0\x9f", predictor, adapt=True)
    assert "".join(piece.text for piece in found) == HOSTILE + "\ufffd"
    assert sum(piece.size for piece in found) == len(HOSTILE.encode()) + 2
    assert all(len(piece.guesses) == 3 and piece.bits > 0 for piece in found)
    html = page(found, "<b>", "&")
    assert "<script" not in html
    assert "<b>" not in html
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert ">漢</span>" in html


def test_surprise_is_where_the_text_is_strange(predictor: Predictor) -> None:
    found = pieces(b"He looked at the zebra quickly and at the sky", predictor, adapt=False)
    bits = {piece.text: piece.bits for piece in found}
    strange: Sequence[float] = [b for text, b in bits.items() if text.strip() in "zebra"]
    assert sum(strange) > 3 * bits[" the"]
