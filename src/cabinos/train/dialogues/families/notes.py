"""What is to be remembered, recalled, forgotten and listed."""

import re
from functools import partial
from random import Random

from cabinos.train.dialogues.families.facts import Fact, a_fact, span, yours
from cabinos.train.dialogues.families.files import there
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, World, templates

LINE = re.compile(r"^(\d+) \(([^)]*)\): (.*)$", re.MULTILINE)  # number, state and text of a note

REMEMBER = [
    "remember that {f}", "remember {f}", "remember: {f}", "please remember that {f}",
    "[can|could|would] you remember that {f}?", "i want you to remember that {f}",
    "[make|take|write] a note: {f}", "[make|take] a note that {f}", "note: {f}", "note that {f}",
    "note down that {f}", "note to self: {f}", "[write|jot|put] down that {f}",
    "write this down: {f}", "don't forget that {f}", "don't forget {f}", "never forget that {f}",
    "keep in mind that {f}", "bear in mind {f}", "save this: {f}", "save that {f}",
    "save [a note|this note]: {f}", "store this: {f}",
    "for [later|the record|future reference]: {f}", "{f}",
    "{f}, [remember that|please remember|keep that in mind|don't forget it|note that]",
    "{f}. [remember it|write that down|save that|please remember this|make a note of it]",
    "fyi {f}", "just so you know, {f}", "[hey|hi|ok] cabin, {f}", "let me tell you something: {f}",
    "[i should tell you|you should know|you need to know] that {f}", "memo: {f}", "add a note: {f}",
    "new note: {f}", "i need you to [remember|note|keep] this: {f}", "so i don't forget: {f}",
    "help me remember that {f}", "in case i forget, {f}", "[record|log] that {f}",
    "keep a note that {f}", "learn this: {f}", "quick note, {f}", "make sure you remember {f}",
    "commit to memory that {f}", "could you [note|jot down|write down|save] that {f}( for me)?",
    "by the way {f}", "[put|keep] this in your [notes|memory]: {f}",
    "tell you what to remember: {f}",
    "[here is|here's] something to remember: {f}",
    "keep on file: {f}",
    "for your information, {f}",
    "you'll need this later: {f}",
    "memorize this: {f}",
    "remind yourself that {f}",
    "take note, {f}",
    "write in my notes that {f}",
    "mark my words: {f}",
    "i'd like you to know that {f}",
]  # fmt: skip
RECALL = [
    "{q}?", "{q}", "{q}??", "{q} ?", "[so|and|now|um|ok] {q}", "{q} exactly?", "{q} cabin",
    "{q} again?", "{q}, please", "quickly: {q}", "[sorry|hm], {q}", "{q} now?",
    "{q}, do you [know|remember]?", "do you [remember|know|recall] {e}?",
    "can you [tell me|remember|recall|remind me] {e}?", "tell me {e}",
    "[i forgot|i forget|i don't remember|i can't remember] {e}", "remind me {e}",
    "i need to know {e}", "could you tell me {e}( please)?", "please tell me {e}",
    "did i [tell you|mention|say] {e}?", "what did i [say|tell you] about {t}?",
    "what do you [know|remember] about {t}?", "what did i note about {t}?", "{t}?", "{t} please",
    "i need {t}", "[look up|find|recall|get] {t}", "[look up|find] {t} in my notes",
    "what do my notes say about {t}?", "any notes [on|about] {t}?", "search my notes for {t}",
    "[hey|ok|hi|sorry], {q}?", "cabin, {q}?", "i told you {e}, what was it?", "{q} please",
    "do i have a note about {t}?", "what was it i said about {t}?", "let me know {e}",
    "you should know {e}", "any idea {e}?", "quick, {q}?", "[show|give] me {t}",
    "i was wondering {e}", "have i told you {e}?", "check {e}", "what have i noted about {t}?",
    "do you still know {e}?", "oh no, i forgot {e}", "mind telling me {e}?",
    "what was {t} again?",
    "{t}, what was that?",
    "you know {t}, right?",
    "where's my note about {t}?",
    "help me out, {q}?",
    "remember {t}?",
    "can you look up {t}?",
    "is there anything about {t} in my notes?",
    "what have you got on {t}?",
    "dig up {t}",
]  # fmt: skip
FORGET = [
    "forget {t}", "forget what i said about {t}", "forget the note about {t}",
    "[delete|remove|erase] the note about {t}", "[delete|remove] my note [on|about] {t}",
    "you can forget {t}( now)?", "please [forget|delete|erase] {t}", "don't remember {t} anymore",
    "[drop|scrap|get rid of] the note about {t}", "i no longer need {t}, forget it",
    "erase {t} from your memory", "clear the note about {t}", "remove {t} from my notes",
    "[could|can] you forget {t}( please)?", "delete {t}", "{t} is out of date, delete it",
    "lose the note about {t}",
    "you don't need to know {t} anymore",
    "take {t} out of your notes",
    "unlearn {t}",
    "strike {t} from your notes",
    "throw out what i told you about {t}",
]  # fmt: skip
NUMBERED = [
    "[forget|delete|remove|erase] note {n}", "[delete|remove] note number {n}( please)",
    "forget number {n}", "you can delete note {n}", "get rid of note {n}", "erase #{n}",
    "delete #{n}",
    "remove #{n}( please)",
    "note {n} can go",
    "drop note {n}",
    "forget #{n}( please)",
    "throw away note {n}",
    "scrap number {n}",
    "i don't need note {n} anymore",
    "note #{n}, delete it",
    "take note {n} out",
    "wipe note number {n}",
    "[could|can] you delete number {n}?",
    "no need for note {n} now",
]  # fmt: skip
LIST = [
    "[list|show|read|show me|give me|read me] [my|all my|all] notes", "what are my notes?",
    "what have i told you( so far)?", "what do you remember?", "what notes do i have?",
    "what have you [remembered|noted|saved]?", "what do you know about me?", "my notes",
    "[show|list] everything you remember", "do i have any notes?", "which notes are there?",
    "read [out|back] my notes", "what did i ask you to remember?", "open my notes",
    "let me see my notes", "what's in my notes?", "all notes please", "can you list my notes?",
]  # fmt: skip
NOTED = (
    "I'll remember that {y}.", "Noted: {y}.", "OK, I'll remember that.", "Got it: {y}.", "Noted.",
    "I'll remember that.",
)  # fmt: skip
MISSING = (
    "I have no note about {t}.", "You haven't told me about {t} yet.",
    "I don't know about {t}: nothing like that was noted.",
)  # fmt: skip


def remembered(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """A fact is told."""
    text = written(rng, a_fact(rng, fillers).text, first=pattern.startswith("{f}"))
    answer = rng.choice(NOTED).format(y=yours(text))
    return Turn(say(rng, pattern, f=text), answer, (Call("notes_remember", {"text": text}),))


def written(rng: Random, text: str, first: bool = False) -> str:
    """A fact as it is typed: all small, or with capitals."""
    draw = rng.random()
    if draw < 0.3:
        return text.lower()
    if first and draw < 0.8:
        text = text[0].upper() + text[1:]
    return re.sub(r"\bi\b", "I", text) if draw > 0.6 else text


def question(rng: Random, fact: Fact, pattern: str) -> str:
    """The pattern with the fact's question, or what it is about, in it."""
    filled = pattern.replace("{q}", fact.ask).replace("{e}", fact.embedded)
    return say(rng, filled.replace("{t}", fact.topic), k=fact.key)


def recalled(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """A fact is asked for, among others that were told; now and then it never was."""
    fact = a_fact(rng, fillers)
    lower = rng.random() < 0.3
    others = [a_fact(rng, fillers) for _ in range(rng.randrange(4))]
    told = [other.text for other in others if other.key != fact.key]
    known = rng.random() < 0.85
    if known:
        told.insert(rng.randint(0, len(told)), written(rng, fact.text))
    key = fact.key.lower() if lower else fact.key
    asked = Fact(fact.text, key, fact.ask, fact.embedded, fact.topic, fact.answer)
    says = question(rng, asked, pattern)
    topic = fact.topic.replace("{k}", fact.key).removeprefix("my ")
    query = span(says, key) or span(says, topic) or says
    files = there(rng, fillers, 1) if rng.random() < 0.2 else {}
    answer = partial(_answer, fact, rng.choice(MISSING), rng.random() < 0.15)
    return Script(
        (Turn(says, answer, (Call("notes_recall", {"query": query}),)),),
        World(notes=tuple(told), files=files),
    )


def _answer(fact: Fact, missing: str, quoting: bool, results: Results) -> str:
    for _, _, text in LINE.findall(results[0]):
        if text.lower() == fact.text.lower():
            return f'You told me: "{text}".' if quoting else fact.answer
    topic = fact.topic.replace("{k}", fact.key)
    return missing.format(t=yours(topic))


def forgotten(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """One of the notes goes."""
    fact = a_fact(rng, fillers)
    others = (a_fact(rng, fillers) for _ in range(rng.randrange(3)))
    words = set(fact.text.lower().split())
    told = [other.text for other in others if len(words & set(other.text.lower().split())) < 2]
    told.insert(rng.randint(0, len(told)), fact.text)
    says = question(rng, fact, pattern)
    topic = fact.topic.replace("{k}", fact.key)
    call = Call("notes_forget", {"thing": span(says, fact.key) or span(says, topic) or says})
    return Script((Turn(says, _gone, (call,)),), World(notes=tuple(told)))


def _gone(results: Results) -> str:
    return f"Forgotten: {yours(results[0].partition(' is forgotten: ')[2])}."


def numbered(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """One of the notes goes, by its number."""
    told = tuple(a_fact(rng, fillers).text for _ in range(rng.randint(1, 5)))
    digits = str(rng.randint(1, len(told)))
    number = f"#{digits}" if "#{n}" in pattern else digits
    says = say(rng, pattern.replace("#{n}", "{n}"), n=number)
    call = Call("notes_forget", {"thing": number})
    return Script((Turn(says, _gone, (call,)),), World(notes=told))


def listed(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """All notes there are."""
    told = tuple(a_fact(rng, fillers).text for _ in range(rng.randrange(5)))
    call = Call("notes_list", {"kind": "note"})
    return Script((Turn(say(rng, pattern), _all, (call,)),), World(notes=told))


def _all(results: Results) -> str:
    texts = [text for _, _, text in LINE.findall(results[0])]
    if not texts:
        return "There are no notes yet."
    return "Your notes: " + "; ".join(texts) + "."


TEMPLATES = [
    *templates("notes/remember", remembered, REMEMBER),
    *templates("notes/recall", recalled, RECALL),
    *templates("notes/forget", forgotten, FORGET),
    *templates("notes/numbered", numbered, NUMBERED),
    *templates("notes/list", listed, LIST),
]
