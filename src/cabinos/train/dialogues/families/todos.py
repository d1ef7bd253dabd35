"""Things to do and to buy: put on lists, read out, ticked off, taken off."""

import re
from functools import partial
from random import Random

from cabinos.train.dialogues.families.facts import alone, yours
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, World, templates

LINE = re.compile(r"^(\d+) \(([^)]*)\): (.*)$", re.MULTILINE)
LISTS = (
    "shopping", "grocery", "groceries", "packing", "gift", "party", "wish", "reading", "camping",
    "holiday", "hardware store", "books", "birthday", "christmas",
)  # fmt: skip

ADD_TODO = [
    "[add|put] {x} [to|on|onto] my [todo|to-do|to do|task] list",
    "add {x} to my [todos|tasks|list]", "put {x} on my list",
    "put {x} on the [todo list|list of things to do]", "todo: {x}", "new [task|todo]: {x}",
    "add a [task|todo]: {x}", "add {x}", "add {x} to the list( please)?",
    "[can|could] you add {x} to my [list|todo list|tasks]?", "i [need|have] to {x}",
    "i have to {x}, put it on my list", "i must {x}, add that to my todo list",
    "[create|make] a [task|todo] to {x}", "add a todo to {x}", "task: {x}", "another task: {x}",
    "on my [todo list|to do list]: {x}", "i still [need|have] to {x}", "i've got to {x}",
    "please put {x} on my todo list", "my todo list needs {x}",
    "[note|write down] that i need to {x}", "i should {x}, add it to my tasks",
    "also {x}, put that on my list", "insert {x} in my to do list", "one more thing to do: {x}",
    "let's add {x} to my to do list", "stick {x} on my todo list", "i want {x} on my to do list",
    "get {x} on the todo list", "include {x} in my tasks",
    "i need {x} on my list",
    "remember to put {x} on my list",
    "don't let me forget, task: {x}",
    "next task: {x}",
    "put this on my list: {x}",
    "to do: {x}",
    "my next todo is to {x}",
    "there's one more: {x}, add it",
    "jot {x} down as a task",
    "i'll have to {x}, so add it",
    "note a task: {x}",
]  # fmt: skip
ADD_NAMED = [
    "[add|put] {x} [to|on|onto] [my|the|our] {l} list", "[add|put] {x} on [my|the] {l} list please",
    "put {x} on the {l} list", "add {x} to {l} list", "{l} list: {x}", "{x} on the {l} list",
    "[can|could|would] you [add|put] {x} [to|on] my {l} list?", "we need {x} on the {l} list",
    "add to my {l} list: {x}", "put {x} [down|in] on my {l} list", "my {l} list needs {x}",
    "i need {x}, add it to my {l} list", "[we're|we are|i'm] out of {x}, put it on the {l} list",
    "i want {x} on my {l} list", "[include|insert] {x} in my {l} list", "stick {x} on the {l} list",
    "don't forget {x} on the {l} list", "[hey|ok] cabin, add {x} to the {l} list",
    "[also|and] {x} for the {l} list", "i'd like {x} added to my {l} list",
    "throw {x} on my {l} list", "on the {l} list, put {x}", "please add {x} to our {l} list",
    "we [need|ran out of] {x}. {l} list please", "get {x} onto my {l} list",
    "add {x} to my list for {l}", "i have to get {x}, so put that on my {l} list",
    "remember {x} for my {l} list", "update my {l} list with {x}", "the {l} list should have {x}",
    "pop {x} on the {l} list",
    "{l} list, add {x}",
    "{x} for the {l} list",
    "let's put {x} on the {l} list",
    "could {x} go on my {l} list?",
    "{x} goes on the {l} list",
    "make sure {x} is on the {l} list",
    "we're low on {x}, {l} list please",
    "keep {x} in mind for the {l} list",
    "extend the {l} list by {x}",
    "we could use {x}, put it down on the {l} list",
]  # fmt: skip
SHOW_TODO = [
    "what's on my [todo|to-do|to do|task] list?",
    "[show|read|list|show me|give me|tell me] my [todos|tasks|todo list|to do list]",
    "what do i have to do?", "what do i need to do( today)?", "what's left to do?",
    "what's left on my list?", "anything left to do?", "what's on my list?", "my todo list",
    "my tasks please", "what are my [tasks|todos]?", "is there anything on my todo list?",
    "do i have [anything|something|anything else] to do?", "what should i do next?",
    "what tasks are [open|left]?", "how many things are on my todo list?", "read me my to do list",
    "[can|could] you [show|read|tell] me my [todo list|tasks]?", "show me what i have to do",
    "what else do i have to do?", "open tasks", "let me see my todo list", "what's next on my list",
    "which tasks do i have?", "am i done with everything?", "what was i going to do?",
    "what have i got to do?",
    "which things are still open?",
    "give me my list",
    "how many todos are there?",
    "what should i be doing?",
    "is my todo list empty?",
    "list what i have to do",
]  # fmt: skip
SHOW_NAMED = [
    "what's on [my|the|our] {l} list?", "what is on my {l} list",
    "[show|read|list] [my|the] {l} list", "[show|read|give|tell] me [my|the] {l} list",
    "what's left on my {l} list?", "my {l} list", "is there anything on my {l} list?",
    "what do i have on my {l} list?", "{l} list please",
    "[can|could] you [read|show] me the {l} list?", "how many things are on my {l} list?",
    "what did i put on the {l} list?", "open my {l} list", "let me [see|hear] my {l} list",
    "read out the {l} list", "what all is on the {l} list", "what do we need from the {l} list?",
    "check my {l} list", "go over my {l} list", "recite my {l} list", "is my {l} list empty?",
]  # fmt: skip
IS_ON = [
    "is {x} on my {l} list?", "do i have {x} on my {l} list?", "is {x} already on the {l} list?",
    "did i [put|add] {x} [on|to] my {l} list?", "does my {l} list [have|include|contain] {x}?",
    "have i got {x} on the {l} list?", "check if {x} is on my {l} list",
    "is there {x} on the {l} list?", "can you check whether {x} is on the {l} list?",
    "{x} is on my {l} list, right?", "tell me if {x} is on my {l} list",
    "did we put {x} on the {l} list",
]  # fmt: skip
DONE = [
    "i'm done with {x}", "[mark|set] {x} as [done|finished|complete|completed]", "tick off {x}",
    "[check|cross|tick] off {x}", "[check|cross|tick] {x} off( my list)?", "{x} is done",
    "{x}: done", "i [finished|completed] {x}", "done with {x}", "{x} - done!",
    "you can tick off {x}", "complete {x}", "finished: {x}", "please mark {x} done",
    "{x} is [finished|taken care of]", "cross {x} off my [todo list|to do list|list]",
    "[can|could] you check off {x}?", "done: {x}", "mark {x} complete on my todo list",
    "that's {x} done", "check {x} off the list", "i took care of {x}", "i already did {x}", "{x} ✓",
    "strike {x} from my list, it's done",
]  # fmt: skip
REMOVE = [
    "[remove|delete|take] {x} [from|off] my list", "take {x} off [my|the] [todo list|list]",
    "[delete|remove|drop] {x}", "i don't need to {x} anymore", "forget about {x}",
    "[remove|delete] the task {x}", "{x} can go, [remove|delete] it", "get rid of {x} on my list",
    "please remove {x} from my [todo|to do] list", "i won't {x} after all, take it off my list",
    "never mind {x}, delete it", "erase {x} from my list", "cancel {x} on my todo list",
    "{x} is off, remove it",
    "{x} isn't needed anymore, take it off",
    "strike {x} off my list",
    "i decided not to {x}, delete that",
    "no more {x} on my list",
    "drop {x} from my todos",
    "take away {x} from the todo list",
]  # fmt: skip
REMOVE_NAMED = [
    "[remove|delete|take] {x} [from|off] my {l} list", "take {x} off the {l} list",
    "we don't need {x} anymore, remove it from the {l} list", "[remove|drop] {x} from the {l} list",
    "please take {x} off my {l} list", "get {x} off my {l} list", "erase {x} from the {l} list",
    "[can|could] you remove {x} from my {l} list?", "{x} should not be on the {l} list, delete it",
    "no {x} on the {l} list after all",
    "{x} can go from the {l} list",
    "strike {x} off my {l} list",
    "cancel {x} on the {l} list",
    "i don't want {x} on my {l} list",
    "delete {x}, {l} list",
]  # fmt: skip
BOUGHT = [
    "i [bought|got|have] {x}, [check|tick|cross] it off my {l} list",
    "got the {x}, tick it off the {l} list", "[check|cross|tick] {x} off [my|the] {l} list",
    "[check|cross|tick] off {x} on my {l} list", "mark {x} as done on my {l} list",
    "{x} is bought, {l} list", "i already have {x} from the {l} list",
    "bought {x} from the {l} list",
    "{x}, done, {l} list",
    "i picked up {x}, mark it on the {l} list",
]  # fmt: skip
ABSENT = [
    "[tick|check|cross] off {x}", "mark {x} as done", "{x} is done", "remove {x} from my list",
    "delete {x} from my todo list",
]  # fmt: skip
WHAT_DONE = [
    "what have i [done|finished|completed]( so far)?",
    "[show|list] [finished|done|completed] tasks", "what did i [finish|tick off|get done]?",
    "which tasks are done?", "show me what's done",
]  # fmt: skip
ADDED = (
    "Added: {x}.", "{x} is on your list.", "It's on your list: {x}.", "Added {x} to your list.",
)  # fmt: skip
ADDED_NAMED = (
    "Added {x} to your {l} list.", "{x} is on your {l} list.", "Done: {x} is on your {l} list.",
)  # fmt: skip


def first(text: str) -> str:
    """With a capital, as a sentence begins."""
    return text[0].upper() + text[1:]


def goods(rng: Random, fillers: Fillers) -> str:
    """What is put on a list of things: `milk`, `two bananas`, `milk and eggs`."""
    one, other = (food.lower() for food in fillers.some(rng, "food", 2))
    thing = fillers.one(rng, "thing").lower()
    return rng.choice(
        (
            one,
            one,
            one,
            thing,
            f"{one} and {other}",
            f"{rng.choice(('two', 'some', 'a bag of', '3', 'more', 'a box of'))} {one}",
        )
    )


def add_todo(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """A task, onto the list of things to do."""
    (task,) = alone(rng, fillers, 1)
    answer = first(rng.choice(ADDED).format(x=yours(task)))
    return Turn(say(rng, pattern, x=task), answer, (Call("notes_todo_add", {"text": task}),))


def add_named(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """A thing, onto a list with a name."""
    thing, listed = goods(rng, fillers), a_list(rng, fillers)
    call = Call("notes_todo_add", {"text": thing, "list": listed})
    answer = first(rng.choice(ADDED_NAMED).format(x=thing, l=listed))
    return Turn(say(rng, pattern, x=thing, l=listed), answer, (call,))


def a_list(rng: Random, fillers: Fillers) -> str:
    """Half of the named lists are for shopping."""
    return (
        rng.choice(("shopping", "shopping", "grocery"))
        if rng.random() < 0.5
        else fillers.of(rng, LISTS)
    )


def show_todo(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """The things to do."""
    tasks = alone(rng, fillers, rng.randrange(5))
    says = say(rng, pattern)
    call = Call("notes_list", {})
    return Script((Turn(says, _tasks, (call,)),), World(todos=tuple(("todo", t) for t in tasks)))


def _tasks(results: Results) -> str:
    texts = [yours(text) for _, _, text in LINE.findall(results[0])]
    if not texts:
        return "There is nothing to do."
    if len(texts) == 1:
        return f"One thing to do: {texts[0]}."
    return f"{len(texts)} things to do: " + ", ".join(texts) + "."


def filled(rng: Random, fillers: Fillers, listed: str, also: str = "") -> World:
    """A world with things on a list, and some elsewhere."""
    things = [food.lower() for food in fillers.some(rng, "food", rng.randint(0, 5))]
    if also:
        things = [t for t in things if not set(t.split()) & set(also.split())]
        things.insert(rng.randint(0, len(things)), also)
    todos = [(listed, thing) for thing in things]
    todos += [("todo", task) for task in alone(rng, fillers, rng.randrange(2), among=things)]
    return World(todos=tuple(todos))


def show_named(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """What is on a list with a name."""
    listed = a_list(rng, fillers)
    call = Call("notes_list", {"list": listed})
    turn = Turn(say(rng, pattern, l=listed), partial(_things, listed), (call,))
    return Script((turn,), filled(rng, fillers, listed))


def _things(listed: str, results: Results) -> str:
    texts = [text for _, _, text in LINE.findall(results[0])]
    if not texts:
        return f"Your {listed} list is empty."
    if len(texts) == 1:
        return f"Only {texts[0]} is on your {listed} list."
    return f"{len(texts)} things are on your {listed} list: " + ", ".join(texts) + "."


def is_on(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Whether something is on a list."""
    listed, thing = a_list(rng, fillers), fillers.one(rng, "food").lower()
    world = filled(rng, fillers, listed, thing if rng.random() < 0.5 else "")

    def reply(results: Results) -> str:
        found = thing in [text for _, _, text in LINE.findall(results[0])]
        return (
            f"Yes, {thing} is on your {listed} list."
            if found
            else f"No, {thing} is not on your {listed} list."
        )

    call = Call("notes_list", {"list": listed})
    return Script((Turn(say(rng, pattern, x=thing, l=listed), reply, (call,)),), world)


def ended(tool: str, rng: Random, fillers: Fillers, pattern: str) -> Script:
    """A task is done, or goes."""
    tasks = alone(rng, fillers, rng.randint(1, 4))
    task = rng.choice(tasks)
    words = task.split()
    part = (
        task if rng.random() < 0.7 or len(words) < 3 or " to " in pattern else " ".join(words[-2:])
    )
    world = World(todos=tuple(("todo", t) for t in tasks))
    says = say(rng, pattern, x=part)
    return Script((Turn(says, _ended, (Call(tool, {"thing": part}),)),), world)


def _ended(results: Results) -> str:
    verb, text = ("Done", results[0].partition(" is done: ")[2])
    if not text:
        verb, text = ("Removed", results[0].partition(" is forgotten: ")[2])
    return f"{verb}: {yours(text)}."


def ended_named(tool: str, rng: Random, fillers: Fillers, pattern: str) -> Script:
    """A thing on a named list is bought, or goes."""
    listed, thing = a_list(rng, fillers), fillers.one(rng, "food").lower()
    says = say(rng, pattern, x=thing, l=listed)
    return Script(
        (Turn(says, _ended, (Call(tool, {"thing": thing}),)),), filled(rng, fillers, listed, thing)
    )


def absent(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Something that is on no list: the device says so."""
    task, *tasks = alone(rng, fillers, rng.randint(1, 3))
    tool = "notes_forget" if pattern.startswith(("remove", "delete")) else "notes_todo_done"
    turn = Turn(
        say(rng, pattern, x=task),
        f'There is no "{task}" on your list.',
        (Call(tool, {"thing": task}, fails=True),),
    )
    return Script((turn,), World(todos=tuple(("todo", t) for t in tasks)))


def what_done(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """A task is ticked off, and then what is done is asked for."""
    tasks = alone(rng, fillers, rng.randint(1, 3))
    begin = Turn(
        say(rng, rng.choice(DONE[:6]), x=tasks[0]),
        _ended,
        (Call("notes_todo_done", {"thing": tasks[0]}),),
    )

    def reply(results: Results) -> str:
        return "Done: " + ", ".join(yours(text) for _, _, text in LINE.findall(results[0])) + "."

    then = Turn(say(rng, pattern), reply, (Call("notes_list", {"kind": "done"}),))
    return Script((begin, then), World(todos=tuple(("todo", t) for t in tasks)))


TEMPLATES = [
    *templates("todos/add", add_todo, ADD_TODO),
    *templates("todos/add-named", add_named, ADD_NAMED),
    *templates("todos/show", show_todo, SHOW_TODO),
    *templates("todos/show-named", show_named, SHOW_NAMED),
    *templates("todos/is-on", is_on, IS_ON),
    *templates("todos/done", partial(ended, "notes_todo_done"), DONE),
    *templates("todos/remove", partial(ended, "notes_forget"), REMOVE),
    *templates("todos/bought", partial(ended_named, "notes_todo_done"), BOUGHT),
    *templates("todos/remove-named", partial(ended_named, "notes_forget"), REMOVE_NAMED),
    *templates("todos/absent", absent, ABSENT),
    *templates("todos/what-done", what_done, WHAT_DONE),
]
