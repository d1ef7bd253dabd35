"""Makes `src/cabinos/index/static/`: a vector for each word piece, distilled from MiniLM.

    OPENBLAS_NUM_THREADS=1 python tools/static_vectors.py TEACHER CORPUS OUT

TEACHER is the folder of all-MiniLM-L6-v2 (`model.safetensors`, `tokenizer.json`), CORPUS the folder
`corpus` that `cabin data get` makes. It takes about three minutes. With one thread the same
processor makes the same bytes; elsewhere sums are rounded in another order, and of 100,000 bytes
three are one more or less. Two steps, both with NumPy alone and seeded:

1. The model2vec method (MinishLab 2024): the teacher reads each word piece alone, its 384 numbers
   become 256 by principal components, and frequent pieces are made short (smooth inverse frequency,
   Arora, Liang and Ma 2017). A text is the mean of its pieces.
2. The vectors are fitted to be found by: a sentence must be nearer to the paragraph it was taken
   from than to those of the other pairs of its batch (InfoNCE, arXiv:1807.03748, over the inverse
   cloze task, arXiv:1906.00300), likewise a heading and its text, a word and its definition, a
   command and what it is for.

What is measured in `bench/retrieval` takes no part in this: the shares of the corpus, the steps and
the rates were set once and not tuned.
"""

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from cabinos.index.minilm import MiniLM

WIDTH = 256
SMOOTH = 1e-3  # the a of a / (a + p): half weight for a piece that is one in a thousand
LONGEST = 64  # pieces of a text in a pair
BATCH = 1024
TEMPERATURE = 0.06
RATE = 0.02
FAR = 0.99  # share of unrelated texts that are to count as unrelated
SAMPLE = 8_000  # pairs on which that is measured
PAIRS = {"textbooks": 110_000, "technical": 20_000, "facts": 6_000, "books": 30_000}
LISTS = {"dictionary": 60_000, "shell": 15_000, "maths": 5_000}
SLICE = 40_000  # characters of each book
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(\d])")
DEFINED = re.compile(r"([^(]{1,80}) \(\w+\): (.*?)(?: Example: (.*))?$")
COMMAND = re.compile(r"^- (.+?):?\n\n`(.+?)`", re.MULTILINE)

Floats = NDArray[np.float32]
Pair = tuple[str, str]
Ragged = tuple[NDArray[np.int32], NDArray[np.int64]]  # all pieces, and where each text begins


# ---- 1: the teacher's vectors --------------------------------------------------------------------


def vocabulary(tokenizer: Tokenizer) -> list[str]:
    """The word pieces that are kept, in the teacher's order: [UNK] first, no other special ones."""
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    named = re.compile(r"\[(?:unused\d+|PAD|CLS|SEP|MASK)\]")
    return [piece for piece, _ in pieces if not named.fullmatch(piece)]


def taught(teacher: MiniLM, numbers: Sequence[int], cls: int, sep: int) -> Floats:
    """What the teacher says of each piece alone, in its WIDTH principal components."""
    vectors = teacher.encode_ids([[cls, number, sep] for number in numbers])
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    axes = axes[:, ::-1][:, :WIDTH]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(WIDTH)])  # eigh leaves it open
    turned: Floats = (centred @ axes).astype(np.float32)
    return turned


def weighted(vectors: Floats, counts: NDArray[np.int64]) -> Floats:
    """Frequent pieces made short; the mean length is 1."""
    share = (counts + 1) / (counts + 1).sum()
    vectors = vectors * (SMOOTH / (SMOOTH + share))[:, None].astype(np.float32)
    scaled: Floats = vectors / np.linalg.norm(vectors, axis=1).mean()
    return scaled


# ---- 2: pairs ------------------------------------------------------------------------------------


def pairs_of(corpus: Path, split: str, seed: int = 1) -> dict[str, list[Pair]]:
    """Pairs by domain: what may be asked, and what is to be found."""
    found: dict[str, list[Pair]] = {}
    for domain, most in (PAIRS | LISTS).items():
        rng = Random(f"{seed} {domain}")
        texts = [
            str(json.loads(line)["text"])
            for line in (corpus / f"{domain}-{split}.jsonl").read_text().split("\n")
            if line
        ]
        pairs: list[Pair] = []
        for text in texts:
            if domain in LISTS:
                pairs += _listed(domain, text)
            else:
                start = rng.randrange(max(1, len(text) - SLICE)) if domain == "books" else 0
                pairs += _clozes(text[start:][: SLICE if domain == "books" else None], rng)
        rng.shuffle(pairs)
        found[domain] = pairs[:most]
    return found


def _clozes(text: str, rng: Random) -> Iterator[Pair]:
    """A sentence and the paragraph without it; a heading and a paragraph below it."""
    heading = ""
    for block in re.split(r"\n\s*\n", text):
        words = block.split()
        paragraph = " ".join(words)
        if block.startswith("#") or (len(words) <= 8 and not paragraph.endswith(".")):
            heading = paragraph.lstrip("# ")
            continue
        if len(words) < 25:
            continue
        sentences = SENTENCE.split(paragraph)
        chosen = rng.randrange(len(sentences))
        if len(sentences) > 2 and 4 <= len(sentences[chosen].split()) <= 50:
            kept = sentences if rng.random() < 0.1 else sentences[:chosen] + sentences[chosen + 1 :]
            yield sentences[chosen], " ".join(kept)
        if 2 <= len(heading.split()) <= 12 and rng.random() < 0.3:
            yield heading, paragraph


def _listed(domain: str, text: str) -> Iterator[Pair]:
    if domain == "maths":
        question, _, answer = text.partition("\n\nAnswer: ")
        yield question, answer
    elif domain == "shell":
        name = text.partition("\n")[0].lstrip("# ")
        about = re.search(r"^> (.+)$", text, re.MULTILINE)
        for does, command in COMMAND.findall(text):
            yield does, f"{name} {about[1] if about else ''} {command}"
    else:
        for entry in re.split(r"\n\s*\n", text):
            if defined := DEFINED.match(" ".join(entry.split())):
                yield defined[1], defined[2]
                if defined[3]:
                    yield defined[3], f"{defined[1]}: {defined[2]}"


def tokens(tokenizer: Tokenizer, texts: Sequence[str], renumbered: NDArray[np.int32]) -> Ragged:
    """The pieces of all texts, one behind the other."""
    encoded = tokenizer.encode_batch_fast([text[:1000] for text in texts], add_special_tokens=False)
    unknown = [tokenizer.token_to_id("[UNK]")]
    lists = [encoding.ids[:LONGEST] or unknown for encoding in encoded]
    starts = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return renumbered[np.concatenate([np.asarray(one, np.int32) for one in lists])], starts


# ---- 2: the fit ----------------------------------------------------------------------------------


def fit(table: Floats, asked: Ragged, found: Ragged, rounds: int, seed: int) -> None:
    """Changes the table in place: InfoNCE both ways, by Adagrad with one rate a row.

    What is learned of a piece that is seldom seen stays small, since the rate of a row is divided
    by the root mean square of its gradients so far, with a floor.
    """
    rng = np.random.default_rng(seed)
    seen = np.full(len(table), 1e-9, np.float32)
    count = len(asked[1]) - 1
    steps = rounds * (count // BATCH)
    for step in range(steps):
        if step % (count // BATCH) == 0:
            order = rng.permutation(count)
        rows = order[(step % (count // BATCH)) * BATCH :][:BATCH]
        q, q_back = _means(table, asked, rows)
        d, d_back = _means(table, found, rows)
        scores = (q @ d.T) / np.float32(TEMPERATURE)
        loss, grad = _info_nce(scores)
        grad /= np.float32(TEMPERATURE)
        rate = np.float32(RATE * (1 - step / steps))
        pieces, gradient = _gathered(q_back(grad @ d), d_back(grad.T @ q))
        seen[pieces] += np.einsum("rw,rw->r", gradient, gradient) / WIDTH
        table[pieces] -= rate * gradient / np.sqrt(seen[pieces])[:, None]
        if step % 20 == 0:
            print(f"step {step}/{steps}  loss {loss:.4f}", file=sys.stderr, flush=True)


def _info_nce(scores: Floats) -> tuple[float, Floats]:
    """The mean of both directions' cross-entropies, and its gradient by the scores."""
    n = len(scores)
    loss, gradient = 0.0, np.zeros_like(scores)
    for axis in (0, 1):
        shifted = scores - scores.max(axis=axis, keepdims=True)
        p = np.exp(shifted)
        p /= p.sum(axis=axis, keepdims=True)
        loss -= float(np.log(np.maximum(p.diagonal(), 1e-12)).mean()) / 2
        gradient += p / np.float32(2 * n)
    gradient[np.arange(n), np.arange(n)] -= np.float32(1 / n)
    return loss, gradient


def _means(table: Floats, texts: Ragged, rows: NDArray[np.int64]) -> tuple[Floats, Any]:
    """The texts as vectors of length 1, and what takes a gradient of them back to pieces."""
    pieces, starts = texts
    lengths = starts[rows + 1] - starts[rows]
    begins = np.cumsum(lengths) - lengths
    places = np.repeat(starts[rows] - begins, lengths) + np.arange(lengths.sum())
    chosen = pieces[places]
    mean = np.add.reduceat(table[chosen], begins) / lengths[:, None].astype(np.float32)
    norm = np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-6)
    unit: Floats = mean / norm

    def back(gradient: Floats) -> tuple[NDArray[np.int32], NDArray[np.int64], Floats]:
        inner = np.einsum("rw,rw->r", gradient, unit)[:, None]
        by_mean = (gradient - inner * unit) / (norm * lengths[:, None].astype(np.float32))
        return chosen, np.repeat(np.arange(len(rows)), lengths), by_mean

    return unit, back


def _gathered(*parts: Any) -> tuple[NDArray[np.int64], Floats]:
    """The gradient of each piece that occurs."""
    pieces = np.concatenate([part[0] for part in parts])
    rows = np.concatenate([parts[0][1], parts[1][1] + len(parts[0][2])])
    gradients = np.concatenate([part[2] for part in parts])
    order = np.argsort(pieces, kind="stable")
    unique, begins = np.unique(pieces[order], return_index=True)
    return unique.astype(np.int64), np.add.reduceat(gradients[rows[order]], begins)


def strangers(table: Floats, asked: Ragged, found: Ragged) -> float:
    """The cosine that only 1 - FAR of the pairs reach whose halves belong to others.

    Of short texts, like notes: there it matters most that what does not fit is not found.
    """
    rows = np.arange(len(asked[1]) - 1)
    shifted, _ = _means(table, found, np.roll(rows, 1))
    return float(np.quantile(np.einsum("rw,rw->r", _means(table, asked, rows)[0], shifted), FAR))


# ---- the result ----------------------------------------------------------------------------------


def write(out: Path, table: Floats, pieces: Sequence[str], facts: dict[str, Any]) -> None:
    """The table as signed bytes with a scale for each row, the pieces, and what it is made of."""
    largest = np.abs(table).max(axis=1, keepdims=True)
    whole = np.rint(table * (127 / np.maximum(largest, 1e-12))).astype(np.int8)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "vectors.npy", whole)
    np.save(out / "scales.npy", (largest[:, 0] / 127).astype(np.float16))
    (out / "pieces.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    names = ("vectors.npy", "scales.npy", "pieces.txt")
    digests = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}
    manifest = json.dumps({**facts, "sha256": digests}, indent=2)
    (out / "manifest.json").write_text(manifest + "\n", encoding="utf-8")


def main() -> None:
    """Makes it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("teacher", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    teacher = MiniLM(options.teacher)
    tokenizer = Tokenizer.from_file(str(options.teacher / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    pieces = vocabulary(tokenizer)
    known = tokenizer.get_vocab()
    numbers = [known[piece] for piece in pieces]
    renumbered = np.zeros(tokenizer.get_vocab_size(), np.int32)
    renumbered[numbers] = np.arange(len(numbers))
    domains = pairs_of(options.corpus, "train")
    pairs = [pair for found in domains.values() for pair in found]
    asked = tokens(tokenizer, [pair[0] for pair in pairs], renumbered)
    found = tokens(tokenizer, [pair[1] for pair in pairs], renumbered)
    print(f"{len(pairs)} pairs after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    table = taught(teacher, numbers, known["[CLS]"], known["[SEP]"])
    table = weighted(table, np.bincount(found[0], minlength=len(pieces)))
    fit(table, asked, found, options.rounds, options.seed)
    short = [
        tokens(tokenizer, [pair[side] for pair in domains["dictionary"][:SAMPLE]], renumbered)
        for side in (0, 1)
    ]
    near = strangers(table, short[0], short[1])
    facts = {
        "teacher": "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)",
        "corpus": "English Wordnet (CC BY 4.0), OpenStax (CC BY 4.0), tldr-pages (CC BY 4.0), "
        "Python PEPs (public domain), The Rust Programming Language (MIT or Apache-2.0), World "
        "Factbook (CC0), GSM8K (MIT), books in the public domain",
        "pairs": len(pairs),
        "rounds": options.rounds,
        "seed": options.seed,
        "width": WIDTH,
        "near": round(near, 3),
    }
    write(options.out, table, pieces, facts)


if __name__ == "__main__":
    main()
