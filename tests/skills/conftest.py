"""Skills made on the spot, in a home of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest

HEAD = """---
name: {name}
description: {description}
license: Apache-2.0
---

# {name}

Do it well.
"""
SOURCE = """---
title: "On bread"
authors: A. Baker
license: CC0-1.0
---

## Dough

Dough rises faster in a warm kitchen, and a slow rise
gives more taste. About 43.4% of bakers don't wait.
"""
KNOWLEDGE = """# Principles

## Warmth makes dough rise {#warmth}

**Claim.** Dough rises faster where it is warm.

**Explanation.** Yeast lives faster.

**Why.** Chemistry goes faster in the warm.

> Dough rises faster in a warm kitchen
> — [bread]

**Technique.** Put it near the oven. **Use when** you are in a hurry. **Fails when** it is too hot.

**Links.** contrasts #slow

## A slow rise gives taste {#slow}

**Claim.** Waiting pays.

**Explanation.** Acids need time.

**Why.** Taste comes from acids.

> a slow rise gives more taste.
> — [bread]

**Links.** requires #warmth
"""

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Cabin and the user live; nothing of the real ones is seen."""
    monkeypatch.setenv("CABIN_HOME", str(tmp_path / "cabin"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a skill: `make("bread", knowledge=…, head=…)`."""

    def made(
        name: str = "bread",
        *,
        description: str = "How to bake bread. Use when dough does not rise.",
        knowledge: str | None = KNOWLEDGE,
        source: str | None = SOURCE,
        head: str = HEAD,
        where: Path | None = None,
        files: dict[str, str] | None = None,
    ) -> Path:
        folder = (where or tmp_path / "made") / name
        (folder / "knowledge").mkdir(parents=True)
        (folder / "sources").mkdir()
        text = head.format(name=name, description=description)
        (folder / "SKILL.md").write_text(text, "utf-8")
        if knowledge is not None:
            (folder / "knowledge" / "principles.md").write_text(knowledge, "utf-8")
        if source is not None:
            (folder / "sources" / "bread.md").write_text(source, "utf-8")
        for inner, content in (files or {}).items():
            path = folder / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, "utf-8")
        return folder

    return made
