"""`cabin skill new`: a small skill that passes its own check, to be filled with one's own."""

from pathlib import Path

from cabinos.skills.errors import SkillError
from cabinos.skills.package import MAX_DESCRIPTION, name_problems

__all__ = ["create"]

FILES = {
    "SKILL.md": """---
name: {name}
description: {description}
license: Apache-2.0
---

# {title}

Say here what to do, step by step. Keep it short: an assistant reads all of it whenever the skill is
used. What is true, and why, belongs into [knowledge/principles.md](knowledge/principles.md).
""",
    "knowledge/principles.md": """# Principles

## A quote must stand in its source {{#quotes-stand-in-their-source}}

**Claim.** A claim is worth as much as the source that it can be held to.

**Explanation.** Each principle quotes a text that lies in `sources/`, word for word.

**Why.** A quote that a program can find cannot have been made up.

> A quote is right if it stands here, word for word, from the beginning of a word to the end of one.
> — [example]

**Technique.** Put an excerpt into `sources/` first, then quote it, then run `cabin skill check`.
**Use when** you write a principle. **Fails when** the source itself is wrong.

**Links.** supports #replace-me

## Replace this one {{#replace-me}}

**Claim.** One sentence that can be true or false.

**Explanation.** What it means.

**Why.** The reason behind it.

> This text is an example; put your own source in its place.
> — [example]
""",
    "sources/example.md": """---
title: "An example of a source"
authors: You
license: Apache-2.0
---

## What a quote is

A quote is right if it stands here, word for word, from the beginning of a word to the end of one.

This text is an example; put your own source in its place.
""",
    "evals/triggers.json": """{{
 "should": [
  "{title}"
 ],
 "should_not": [
  "what is the capital of Portugal"
 ]
}}
""",
    "evals/questions.json": """[
 {{
  "question": "Where must a quote stand?",
  "principles": [
   "quotes-stand-in-their-source"
  ]
 }}
]
""",
}


def create(folder: Path, description: str) -> list[Path]:
    """Makes a skill at `folder`, called like it. Raises SkillError if something is there."""
    name = folder.name
    if problems := list(name_problems(name)):
        raise SkillError(" ".join(problems), folder)
    text = " ".join(description.split())
    if len(text) > MAX_DESCRIPTION or "<" in text or ">" in text or "\0" in text:
        limit = f"at most {MAX_DESCRIPTION} characters, without < and >"
        raise SkillError(f"a description has {limit}.", folder)
    if folder.exists():
        raise SkillError("there is something already.", folder)
    title = name.replace("-", " ").capitalize()
    made = []
    for inner, content in FILES.items():
        path = folder / inner
        path.parent.mkdir(parents=True, exist_ok=True)
        quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        path.write_text(content.format(name=name, title=title, description=quoted), "utf-8")
        made.append(path)
    return made
