"""Files: found by name, searched for words, read, listed."""

from collections.abc import Callable
from functools import partial
from random import Random

from cabinos.train.dialogues.families.documents import FOLDERS, library
from cabinos.train.dialogues.families.facts import a_task, values
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, World, templates

FIND = [
    "find {f}", "find the file {f}", "where is {f}?", "where is the file {f}", "locate {f}",
    "do i have a file (called|named) {f}?", "is there a file [called|named] {f}?", "look for {f}",
    "[can|could] you find {f}( for me)?", "in which folder is {f}?", "where did i save {f}?",
    "search for a file called {f}", "find my file {f}", "i can't find {f}", "i'm looking for {f}",
    "where's {f}", "do you see a file {f}?", "which folder has {f}?", "find file {f} please",
    "got a file named {f}?",
    "where do i have {f}?",
    "is {f} somewhere?",
    "help me find {f}",
    "what folder is {f} in?",
    "does {f} exist?",
    "any file by the name of {f}?",
]  # fmt: skip
FIND_KIND = [
    "find all {f} files", "which {f} files [are there|do i have]?", "find my {f} files",
    "all files like {f}", "list all {f} files", "show me every {f} file",
    "how many {f} files do i have?", "search for {f} files", "do i have any {f} files?",
    "are there {f} files?", "find files matching {f}", "where are my {f} files?",
]  # fmt: skip
READ = [
    "read {f}", "open {f}", "show me {f}", "[print|display|cat] {f}", "what's in {f}?",
    "what does {f} say?", "read me {f}", "[can|could] you read {f}( to me)?",
    "what is in the file {f}?", "show {f}", "read the file {f}", "please open {f}",
    "contents of {f}", "let me see {f}", "tell me what {f} says", "what's written in {f}?",
    "show the contents of {f}", "i want to read {f}", "read out {f}",
]  # fmt: skip
LIST = [
    "list the files in {d}", "what's in the {d} folder?", "what files are in {d}?", "ls {d}",
    "show me the {d} folder", "list {d}", "list the {d} folder",
    "which files are in the folder {d}?", "open the {d} folder", "what is in my {d} folder?",
    "how many files are in {d}?", "show {d}", "what do i have in {d}?",
    "[can|could] you list the {d} folder?", "contents of the folder {d}",
]  # fmt: skip
ROOT = [
    "which folders can you see?", "what folders are there?", "list my folders",
    "what can you read?", "which folders do you have access to?", "show my folders",
    "what files can you see?", "list folders", "which of my folders can you open?",
    "what directories do i have?",
]  # fmt: skip
SEARCH = [
    "search for {w} in my files", "search my files for {w}", "which file mentions {w}?", "grep {w}",
    "find the word {w} in my files", "where do my files mention {w}?", "search {w}",
    "look for {w} in my documents", "which of my files contain {w}?",
    "is {w} mentioned in any file?", "find {w} in my files", "which lines say {w}?",
    "search for the word {w}", "find every line with {w}", "show lines containing {w}",
    "in which file is {w}?", "does any file contain {w}?", "where does {w} appear in my files?",
    "who is {w} in my files?",
    "is there {w} anywhere in my files?",
    "anything with {w} in my documents?",
    "hunt for {w} in my files",
]  # fmt: skip
WRITE = [
    "write {t} to {f}", "save {t} in {f}", "create a file {f} with {t}", "write {t} into {f}",
    "save {t} as {f}", "make a file called {f} that says {t}", "put {t} in a file called {f}",
    "new file {f}: {t}", "create {f} containing {t}", "store {t} in the file {f}",
    "write a file {f} with the text {t}",
    "{f} should say {t}",
    "i want {t} in a file {f}",
    "{t} goes into {f}",
    "make {f} with {t} in it",
    "save a file {f} saying {t}",
    "please write {t} in {f}",
    "put down {t} in the new file {f}",
    "let {f} contain {t}",
]  # fmt: skip
ABSENT = ["read {f}", "open {f}", "show me {f}", "what's in {f}?", "what does {f} say?", "cat {f}"]
NAMES = (
    "budget", "todo", "ideas", "diary", "contacts", "plan", "draft", "cv", "inventory", "thesis",
    "packing", "taxes", "songs", "travel", "garden", "speech", "summary", "results",
)  # fmt: skip
ENDS = ("txt", "md", "csv", "log", "py", "json")


def named(rng: Random, fillers: Fillers) -> str:
    """A file's name."""
    stem = rng.choice(
        (
            fillers.of(rng, NAMES),
            fillers.of(rng, NAMES),
            fillers.one(rng, "noun").split()[0].lower(),
        )
    )
    stem += rng.choice(("", "", "", "_2024", "-final", "2", f"_{fillers.one(rng, 'name').lower()}"))
    return f"{stem}.{rng.choice(ENDS)}"


def there(rng: Random, fillers: Fillers, count: int) -> dict[str, str]:
    """Some files with a line or two."""
    folder = fillers.of(rng, FOLDERS)
    files = {}
    for _ in range(count):
        inner = rng.choice(("", "", "", "old/", "2024/"))
        lines = [a_task(rng, fillers).capitalize() + "." for _ in range(rng.randint(1, 3))]
        files[f"{folder}/{inner}{named(rng, fillers)}"] = "\n".join(lines) + "\n"
    return files


def find(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Where a file is."""
    files = there(rng, fillers, rng.randint(1, 4))
    name = (
        rng.choice(list(files)).rpartition("/")[2] if rng.random() < 0.85 else named(rng, fillers)
    )
    call = Call("files_find", {"pattern": name})
    return Script(
        (Turn(say(rng, pattern, f=name), partial(_found, name), (call,)),), World(files=files)
    )


def find_kind(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """All files of a kind."""
    kind = f"*.{rng.choice(ENDS)}"
    call = Call("files_find", {"pattern": kind})
    world = World(files=there(rng, fillers, rng.randint(1, 4)))
    return Script((Turn(say(rng, pattern, f=kind), partial(_found, kind), (call,)),), world)


def _found(name: str, results: Results) -> str:
    paths = [line for line in results[0].splitlines() if "/" in line and " " not in line]
    if not paths:
        return f"There is no {name}."
    if len(paths) == 1:
        return f"It's {paths[0]}." if "*" not in name else f"One file: {paths[0]}."
    return f"{len(paths)} files: " + ", ".join(paths) + "."


def read(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """What a short file says; what is read is told as it stands."""
    files = there(rng, fillers, rng.randint(1, 3))
    path = rng.choice(list(files))
    call = Call("files_read", {"path": path})
    answer = partial(_said, path.rpartition("/")[2], files[path])
    return Script((Turn(say(rng, pattern, f=path), answer, (call,)),), World(files=files))


def _said(name: str, text: str, results: Results) -> str:
    return f"{name} says: " + " ".join(line for line in text.splitlines() if line in results[0])


def listed(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """What is in a folder."""
    files = {
        path.replace("old/", "").replace("2024/", ""): text
        for path, text in there(rng, fillers, rng.randint(1, 4)).items()
    }
    folder = next(iter(files)).partition("/")[0]
    call = Call("files_list", {"path": folder})
    return Script(
        (Turn(say(rng, pattern, d=folder), partial(_inside, folder), (call,)),), World(files=files)
    )


def _inside(folder: str, results: Results) -> str:
    names = [line.partition("  ")[0] for line in results[0].splitlines()]
    if len(names) == 1:
        return f"There is one file in {folder}: {names[0]}."
    return f"{len(names)} files are in {folder}: " + ", ".join(names) + "."


def root(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Which folders there are."""
    files = there(rng, fillers, 1) | (there(rng, fillers, 1) if rng.random() < 0.5 else {})

    def reply(results: Results) -> str:
        names = [line.partition("  ")[0] for line in results[0].splitlines()]
        folders = "this folder" if len(names) == 1 else "these folders"
        return f"I can see {folders}: {', '.join(names)}."

    return Script((Turn(say(rng, pattern), reply, (Call("files_list", {}),)),), World(files=files))


def search(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Which lines have a word."""
    _, lines, files = library(rng, fillers, rng.randrange(2))
    words = [word.strip(".,:?") for line in lines for word in line.text.split() if len(word) > 4]
    word = rng.choice(words) if rng.random() < 0.85 else fillers.one(rng, "noun").lower()
    call = Call("files_search", {"query": word})
    return Script(
        (Turn(say(rng, pattern, w=word), partial(_lines, word), (call,)),), World(files=files)
    )


def _lines(word: str, results: Results) -> str:
    hits = [line for line in results[0].splitlines() if word in line and line.count(":") >= 2]
    if not hits:
        return f'No file says "{word}".'
    parts = [hit.split(":", 2) for hit in hits[:2]]
    told = "; ".join(
        f'{path.rpartition("/")[2]}, line {n}: "{text.strip()}"' for path, n, text in parts
    )
    return told + (f", and {len(hits) - 2} more." if len(hits) > 2 else "")


def write(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """A new file of a line."""
    files = there(rng, fillers, 1)
    folder = next(iter(files)).partition("/")[0]
    text = rng.choice(
        (
            a_task(rng, fillers),
            f"{values(rng, fillers)['food']} and {fillers.one(rng, 'food').lower()}",
        )
    )
    said = f'"{text}"' if rng.random() < 0.5 else text
    path = f"{folder}/{named(rng, fillers)}"
    call = Call("files_write", {"path": path, "text": text})
    return Script(
        (Turn(say(rng, pattern, t=said, f=path), f"Saved in {path}.", (call,)),), World(files=files)
    )


def absent(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """A file that is not there."""
    files = there(rng, fillers, rng.randint(1, 2))
    folder = next(iter(files)).partition("/")[0]
    path = (
        f"{folder}/missing_{named(rng, fillers)}"
        if rng.random() < 0.3
        else f"{folder}/x{named(rng, fillers)}"
    )
    call = Call("files_read", {"path": path}, fails=True)
    return Script(
        (Turn(say(rng, pattern, f=path), f"There is no {path}.", (call,)),), World(files=files)
    )


Write = Callable[[Random, Fillers, str], Script]
KINDS: list[tuple[str, Write, list[str]]] = [
    ("find", find, FIND), ("find-kind", find_kind, FIND_KIND), ("read", read, READ),
    ("list", listed, LIST), ("root", root, ROOT), ("search", search, SEARCH),
    ("write", write, WRITE), ("absent", absent, ABSENT),
]  # fmt: skip
TEMPLATES = [
    made for kind, write, patterns in KINDS for made in templates(f"files/{kind}", write, patterns)
]
