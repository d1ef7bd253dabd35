"""The suites there are, by name, in the order in which they are run: what matters most first."""

from collections.abc import Callable
from pathlib import Path

from cabinos.lab.evaluate.sets import read_set
from cabinos.lab.evaluate.suite import Need, Suite

__all__ = ["NEEDS", "SUITES", "build"]


def _templates(folder: Path, seed: int) -> Suite:
    from cabinos.lab.evaluate.templates import Templates

    fetched = (folder / "sources" / "names.jsonl").is_file()
    return Templates.held_out(seed, data=folder if fetched else None)


def _arithmetic(_folder: Path, seed: int) -> Suite:
    from cabinos.lab.evaluate.arithmetic import Arithmetic

    return Arithmetic(seed)


def _clinc(folder: Path, _seed: int) -> Suite:
    from cabinos.lab.evaluate.clinc import Clinc

    return Clinc(read_set(folder, "clinc_val"))


def _xquad(folder: Path, _seed: int) -> Suite:
    from cabinos.lab.evaluate.xquad import XQuAD

    return XQuAD(read_set(folder, "xquad_en_a"))


def _bfcl(folder: Path, _seed: int) -> Suite:
    from cabinos.lab.evaluate.bfcl import Bfcl

    return Bfcl(read_set(folder, "bfcl_a"))


def _facts(folder: Path, seed: int) -> Suite:
    from cabinos.lab.evaluate.facts import Facts, capitals

    return Facts(capitals(read_set(folder, "factbook")), seed)


def _bytes(folder: Path, _seed: int) -> Suite:
    from cabinos.lab.evaluate.text import Bytes, held_out_books

    texts = {"wikitext2": read_set(folder, "wikitext2_valid")[0]["text"]}
    if (books := held_out_books(folder)) is not None:
        texts["held-out books"] = books
    return Bytes(texts)


def _sums(_folder: Path, seed: int) -> Suite:
    from cabinos.lab.evaluate.sums import Sums

    return Sums(seed)


def _blimp(folder: Path, _seed: int) -> Suite:
    from cabinos.lab.evaluate.blimp import Blimp

    return Blimp(read_set(folder, "blimp"))


Build = Callable[[Path, int], Suite]
SUITES: dict[str, Build] = {
    "templates": _templates,
    "arithmetic": _arithmetic,
    "clinc": _clinc,
    "xquad": _xquad,
    "bfcl": _bfcl,
    "facts": _facts,
    "bytes": _bytes,
    "blimp": _blimp,
    "sums": _sums,
}
NEEDS: dict[str, Need] = {
    name: "scorer" if name in ("facts", "bytes", "blimp", "sums") else "model" for name in SUITES
}
"""What a suite needs: a model to converse with, or a local file that scores texts."""


def build(name: str, folder: Path, seed: int) -> Suite:
    """The suite of that name, its sets from `folder`. Raises EvalError if one is not there."""
    return SUITES[name](folder, seed)
