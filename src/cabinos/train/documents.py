"""From a source's rows to documents: plain text as a person would read it.

A document has a group: the book or chapter it belongs to, which is trained on or held out as a
whole. Every source has its own reader; the cleaning at the end is the same for all.
"""

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cabinos.train.errors import SourceError

__all__ = ["Document", "clean", "documents"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Document:
    """One text. `group` is what is held out as a whole."""

    group: str
    text: str


def documents(source: str, rows: Iterable[Row]) -> Iterator[Document]:
    """The documents in the rows of the source of that name, cleaned; empty ones left out.

    Raises SourceError if the source has no reader, or a row lacks what its reader needs.
    """
    if source not in READERS:
        raise SourceError(f"{source}: holds no running text.")
    try:
        for document in READERS[source](rows):
            text = clean(document.text)
            if text:
                yield Document(document.group, text)
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{source}: a row is not as expected ({error!r}).") from None


CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffd]")


def clean(text: str) -> str:
    """Plain line ends, no control characters, no trailing blanks, at most one empty line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = CONTROL.sub("", text).replace("\u00a0", " ")
    text = re.sub(r"[ \t]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


# Their texts measure compression (alice29, asyoulik, plrabn12), so none is trained on.
MEASURED_AUTHORS = ("Lewis Carroll", "William Shakespeare", "John Milton")


def _books(rows: Iterable[Row]) -> Iterator[Document]:
    for row in rows:
        if row["author"] in MEASURED_AUTHORS:
            continue
        text = re.sub(r"^(#+)  +", r"\1 ", row["text"], flags=re.MULTILINE)
        yield Document(row["title"], f"# {row['title']}\n\nby {row['author']}\n\n{text}")


# The head of a section in the extracted OpenStax text: its title, then once more with an id.
SECTION = re.compile(r"^(.+)\n\n(?:m\d+\n\1\n|\1\nm\d+\n)", re.MULTILINE)
UUID = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.MULTILINE)
APPARATUS = {"Preface", "Answer Key", "References", "Index", "Further Reading", "Key Terms"}


def _textbooks(rows: Iterable[Row]) -> Iterator[Document]:
    """One document a section. Prefaces and answer keys are the same boilerplate in every book."""
    for row in rows:
        parts = SECTION.split(row["text"])
        for title, text in zip(parts[1::2], parts[2::2], strict=True):
            if title.strip() not in APPARATUS:
                body = UUID.sub("", html.unescape(text), count=1).strip()
                body = re.sub(r" ?\(\s*\)", "", body)  # where a link to a figure stood
                yield Document(row["title"], f"# {title.strip()}\n\n{body}")


ADDRESS = re.compile(r" ?<[^<>@\s]+(?:@| at )[^<>@\s]+>")


def _files(rows: Iterable[Row]) -> Iterator[Document]:
    """Files as they are, without people's mail addresses."""
    for row in rows:
        yield Document(row["path"], ADDRESS.sub("", row["text"]))


def _commands(rows: Iterable[Row]) -> Iterator[Document]:
    for row in rows:
        text = re.sub(r"^> More information:.*\n", "", row["text"], flags=re.MULTILINE)
        yield Document(row["path"], re.sub(r"\{\{(.*?)\}\}", r"\1", text))


TAG = re.compile(r"<[^>]+>")
NAMES = ("conventional short form", "conventional long form")


def _countries(rows: Iterable[Row]) -> Iterator[Document]:
    """A country profile: a heading for each section, a line for each fact."""
    for row in rows:
        profile = json.loads(row["text"])
        names = profile.get("Government", {}).get("Country name", {})
        found = [names[key]["text"] for key in NAMES if "text" in names.get(key, {})]
        name = next((n for n in found if n.lower() not in ("none", "")), None)
        if name is None:
            continue
        name = TAG.sub("", name).split(";")[0].strip()
        lines = [f"# {name}: a country profile", f"Region: {row['path'].split('/')[0]}"]
        for section, facts in profile.items():
            lines += [f"\n## {section} of {name}\n", *_facts(facts)]
        yield Document(row["path"], "\n".join(lines))


def _facts(facts: dict[str, Any], label: str = "") -> Iterator[str]:
    for key, value in facts.items():
        name = f"{label}, {key.strip()}" if label else key.strip()
        if not isinstance(value, dict):
            continue
        if isinstance(text := value.get("text"), str):
            text = re.sub(r"\s*<(?:br|/p|p)[^>]*>\s*", "\n", text)
            yield f"{name}: {html.unescape(TAG.sub('', text)).strip()}"
        yield from _facts({k: v for k, v in value.items() if k != "text"}, name)


PARTS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}
SYNSET = re.compile(r"^(\d{8}-[a-z]):$")
PAGE = 24  # entries


def _dictionary(rows: Iterable[Row]) -> Iterator[Document]:
    """WordNet as dictionary pages: word, part of speech, meaning, kind, examples."""
    files = [(row["path"], dict(_synsets(row["text"]))) for row in rows]
    heads = {key: entry["members"][0] for _, file in files for key, entry in file.items()}
    for path, file in files:
        entries = [_entry(key, synset, heads) for key, synset in file.items()]
        for start in range(0, len(entries), PAGE):
            page = "\n\n".join(entries[start : start + PAGE])
            yield Document(f"{path} {start}", f"# Dictionary\n\n{page}")


def _entry(key: str, synset: dict[str, list[str]], heads: dict[str, str]) -> str:
    words = [word.strip("'\"") for word in synset["members"]]
    part = PARTS.get(synset.get("partOfSpeech", key[-1:])[0][:1], "")
    text = f"{words[0]} ({part}): {'; '.join(synset['definition'])}."
    if len(words) > 1:
        text += f" Also: {', '.join(words[1:])}."
    kinds = [heads[k] for k in synset.get("hypernym", []) if k in heads]
    if kinds:
        text += f" A kind of: {', '.join(kinds)}."
    if examples := [e for e in synset.get("example", []) if not e.startswith("source:")]:
        text += f" Example: {'; '.join(examples)}."
    return text


def _synsets(text: str) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """The synsets of one file: key -> field -> values.

    WordNet's files use little of YAML: one level of fields, lists of plain or quoted strings that
    may go on in deeper lines, and mappings inside lists, which are skipped.
    """
    key, fields = None, dict[str, list[str]]()
    values: list[str] = []
    for line in text.splitlines():
        if match := SYNSET.match(line):
            if key and {"members", "definition"} <= fields.keys():
                yield key, _unquoted(fields)
            key, fields = match[1], {}
        elif key is None:
            continue
        elif line.startswith("  - "):
            values.append(line[4:].strip())
        elif line.startswith("    ") and values:
            values[-1] += " " + line.strip()
        elif line.startswith("  ") and ":" in line:
            name, _, value = line.strip().partition(":")
            values = fields.setdefault(name, [value.strip()] if value.strip() else [])
    if key and {"members", "definition"} <= fields.keys():
        yield key, _unquoted(fields)


def _unquoted(fields: dict[str, list[str]]) -> dict[str, list[str]]:
    def plain(value: str) -> str:
        if len(value) > 1 and value[0] == value[-1] == "'":
            return value[1:-1].replace("''", "'")
        if len(value) > 1 and value[0] == value[-1] == '"':
            return value[1:-1].replace('\\"', '"')
        return value

    return {name: [plain(v) for v in values] for name, values in fields.items()}


def _problems(rows: Iterable[Row]) -> Iterator[Document]:
    """Word problems; the marks of the calculator (<<48/2=24>>) are left out."""
    for row in rows:
        steps, _, result = row["answer"].partition("\n#### ")
        steps = re.sub(r"<<.*?>>", "", steps)
        group = row["question"][:40]
        yield Document(
            group, f"Question: {row['question']}\n\nAnswer: {steps}\nThe answer is {result}."
        )


READERS: dict[str, Callable[[Iterable[Row]], Iterator[Document]]] = {
    "classics": _books,
    "openstax": _textbooks,
    "peps": _files,
    "rust_book": _files,
    "algorithms_python": _files,
    "tldr": _commands,
    "factbook": _countries,
    "wordnet": _dictionary,
    "gsm8k_train": _problems,
}
"""The sources that are read as running text, and how."""
