"""Questions about the user's documents: the passages are found, and the right one is quoted."""

from functools import partial
from random import Random

from cabinos.train.dialogues.families.facts import values
from cabinos.train.dialogues.families.papers import Line, document
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, World, templates

ASK = [
    "{q}", "{q}?", "{q}??", "{q} ?", "[so|now|um|ok] {q}", "{q} exactly?", "{q} cabin",
    "[sorry|hm], {q}?", "{q} again?", "quickly: {q}?", "{q} please",
    "according to my documents, {q}?", "[check|look in] my documents: {q}?",
    "[look it up|look|check] in my files: {q}?", "{q}, according to the {d}?",
    "what does the {d} say, {q}?", "[hey|ok] cabin, {q}?", "can you look up {q}?",
    "in the {d}, {q}?", "search my documents: {q}?", "from my {d}: {q}?", "{q}? it's in my files",
    "{q}? it should be in the {d}", "please check {q}", "read my {d} and tell me, {q}?",
    "i have a question about the {d}: {q}?", "{q}? look in my documents", "find out {q}",
    "using my files, {q}?", "my {d} should say: {q}?", "quick question, {q}?",
    "do my documents say {q}?", "does the {d} say {q}?", "tell me: {q}?", "question: {q}?",
    "[can|could] you tell me from my documents, {q}?", "look through my files, {q}?",
    "[and|so], {q}?", "{q} - see my {d}?", "{q}, please check",
]  # fmt: skip


FOLDERS = ("documents", "home", "papers", "files", "work", "desk", "notes", "docs")
NOTHING = (
    "Your documents don't say anything about that.",
    "I found nothing about that in your documents.",
)  # fmt: skip
QUOTES = ('{short}. {name}, line {n}: "{text}"', '{short}: "{text}" ({name}, line {n})')


def library(rng: Random, fillers: Fillers, extra: int) -> tuple[str, list[Line], dict[str, str]]:
    """A document that is asked for, and others beside it."""
    kind, name, lines = document(rng, fillers)
    folder = fillers.of(rng, FOLDERS)
    rng.shuffle(lines)
    files = {}
    for _ in range(extra):
        _, other, others = document(rng, fillers)
        known = {word for line in lines for word in line.text.split()}
        others = [line for line in others if len(known & set(line.text.split())) < 3]
        files[f"{folder}/{other}"] = written(rng, others[:3])
    files[f"{folder}/{name}"] = written(rng, lines)
    return kind, lines, files


def written(rng: Random, lines: list[Line]) -> str:
    """Lines as a text, now and then with a heading or an empty line."""
    texts = [line.text for line in lines]
    if rng.random() < 0.4:
        texts.insert(0, "")
    if rng.random() < 0.3 and len(texts) > 2:
        texts.insert(rng.randrange(1, len(texts)), "")
    return "\n".join(texts) + "\n"


def asked(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """A question that a line answers; now and then one that nothing answers."""
    kind, lines, files = library(rng, fillers, rng.randrange(3))
    line = rng.choice([line for line in lines if line.ask])
    if rng.random() < 0.08:
        files = {name: text.replace(line.text, "") for name, text in files.items()}
    question = say(rng, line.ask, **values(rng, fillers)).rstrip("?")
    says = say(rng, pattern, q=question, d=kind)
    call = Call("files_passages", {"query": question})
    answer = partial(quoted, line, rng.choice(QUOTES), rng.choice(NOTHING))
    return Script((Turn(says, answer, (call,)),), World(files=files))


def quoted(line: Line, quote: str, nothing: str, results: Results) -> str:
    """The line where it stands: `lease.txt, line 3: "Rent: 950 dollars a month."`."""
    for found in results[0].splitlines():
        where, _, text = found.partition(": ")
        if line.text in text:
            path, _, number = where.rpartition(":")
            name = path.rpartition("/")[2]
            if not line.short:
                quote = '{name}, line {n}: "{text}"'
            return quote.format(short=line.short, name=name, n=number, text=line.text)
    return nothing


TEMPLATES = templates("documents/ask", asked, ASK)
