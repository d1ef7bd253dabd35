"""A small corpus of real text, tokenized and packed once per test process."""

import json
from dataclasses import asdict
from pathlib import Path

from cabinos.train.corpus import SourceReport
from cabinos.train.shards import make_tokenizer, pack_shards

OZ = Path(__file__).parents[2] / "tools" / "oz.txt"


def prepared(folder: Path) -> Path:
    """Make `folder` a data folder with the domains "books" and "maths"."""
    text = OZ.read_text(encoding="utf-8")
    chapters = [text[start : start + 2000] for start in range(0, 60_000, 2000)]
    sums = [f"Question: {a} + {b}?\n\nAnswer: {a + b}." for a in range(30) for b in range(30)]
    report = []
    (folder / "corpus").mkdir()
    for domain, source, texts in (("books", "classics", chapters), ("maths", "gsm8k_train", sums)):
        held = len(texts) // 8
        for split, part in (("held", texts[:held]), ("train", texts[held:])):
            lines = [json.dumps({"source": source, "group": "g", "text": t}) for t in part]
            (folder / "corpus" / f"{domain}-{split}.jsonl").write_text("\n".join(lines) + "\n")
        size = sum(map(len, texts[held:]))
        report.append(asdict(SourceReport(source, domain, "none", len(texts), train_bytes=size)))
    facts = {"recipe": "test", "sources": report}
    (folder / "corpus" / "report.json").write_text(json.dumps(facts))
    make_tokenizer(folder)
    pack_shards(folder)
    return folder
