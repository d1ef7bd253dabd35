"""Pictures of functions and of numbers."""

from random import Random

from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, World, templates

DRAWN = ("{r}.", "I drew it: {p}.", "Here it is: {p}.", "Done: {p}.", "The picture is at {p}.")
NAMES = (
    ("Mon", "Tue", "Wed", "Thu", "Fri"),
    ("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    ("Q1", "Q2", "Q3", "Q4"),
    ("2021", "2022", "2023", "2024"),
    ("north", "south", "east", "west"),
)
TOPICS = "sales, rain, temperature, visitors, runs, sleep, steps, spending, grades, votes".split(
    ", "
)


def function(rng: Random) -> str:
    """Of x, as people write one."""
    a, b, c = rng.randint(2, 9), rng.randint(1, 9), rng.choice("+-")
    return rng.choice(
        (
            f"x^2 {c} {b}",
            "x^2",
            "x^3",
            f"x^3 {c} {a}x",
            f"{a}x {c} {b}",
            f"x^2 {c} {a}x",
            f"x^2 {c} {a}x + {b}",
            "sin(x)",
            "cos(x)",
            f"sin({a}x)",
            f"{a}*sin(x)",
            "sin x",
            "sqrt(x)",
            "1/x",
            "exp(x)",
            f"{a}/x",
            "log(x)",
            "x * sin(x)",
            f"{a}*x^2",
            f"({c}x + {b})^2".replace("(+", "("),
            "abs(x)",
        )
    )


def bounds(rng: Random) -> tuple[int, int]:
    """Where a curve begins and ends."""
    low = rng.choice((0, 0, -1, -2, -5, -10, -20, -100, 1))
    return low, low + rng.choice((1, 2, 4, 5, 6, 8, 10, 20, 40, 100))


def world(rng: Random) -> World:
    """Pictures go to a folder that was granted, or else to Cabin's own."""
    if rng.random() < 0.6:
        return World()
    folder = rng.choice(("docs", "work", "notes", "school", "data"))
    return World(files={f"{folder}/readme.txt": "Pictures and notes.\n"})


def drawn(rng: Random, says: str, call: Call) -> Script:
    """The call, and an answer with the path that came back."""
    answer = rng.choice(DRAWN)

    def reply(results: Results) -> str:
        return answer.format(r=results[0], p=results[0].removeprefix("Drawn: "))

    return Script((Turn(says, reply, (call,)),), world(rng))


def curve(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """The function {f}, from {a} to {b}."""
    f, (low, high) = function(rng), bounds(rng)
    arguments: dict[str, object] = {"expression": f}
    if "{a}" in pattern:
        if "sqrt" in f or "log" in f:
            low, high = max(low, 1), max(high, 5)
        arguments |= {"start": low, "end": high}
    says = say(rng, pattern, f=f, a=low, b=high)
    return drawn(rng, says, Call("plot_function", arguments))


def bars(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """The values {v}, with the labels {l}."""
    names = rng.choice(NAMES)
    most = rng.choice((10, 30, 100, 500))
    count = len(names) if "{l}" in pattern else rng.randint(3, 8)
    values = ", ".join(str(rng.randint(0, most)) for _ in range(count))
    labels = ", ".join(names)
    arguments = {"values": values} | ({"labels": labels} if "{l}" in pattern else {})
    says = say(rng, pattern, v=values, l=labels, t=rng.choice(TOPICS))
    return drawn(rng, says, Call("plot_values", arguments))


def plain(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """Nothing to draw, or nothing that can be drawn."""
    text, _, answers = pattern.partition(" => ")
    return Turn(say(rng, text), rng.choice(answers.split(" / ")))


CURVES = [
    "plot {f}",
    "[plot|draw|graph|sketch] {f}( please| for me)",
    "[can|could|would] you [plot|draw|graph] {f}?",
    "[draw|make|show me] (me )[a|the] [graph|plot|picture|curve] of {f}",
    "plot y = {f}",
    "graph of {f}",
    "draw the function {f}",
    "what does {f} look like?",
    "show me what {f} looks like",
    "i want to see [the graph of |]{f}",
    "i need a [graph|plot] of {f}",
    "[plot|draw|graph] {f} from {a} to {b}",
    "[plot|draw|graph] {f} between {a} and {b}",
    "[plot|draw] y = {f} for x from {a} to {b}",
    "[can|could] you [plot|draw|graph] {f} from {a} to {b}?",
    "[draw|make|show me] [a|the] [graph|plot] of {f} from {a} to {b}",
    "{f} from {a} to {b} as a [plot|graph]",
    "visualize {f} from {a} to {b}",
    "plot the function {f} on {a} to {b}",
    "let's see {f} between {a} and {b}",
]
BARS = [
    "plot {v}",
    "[plot|chart|graph|draw] these [numbers|values]: {v}",
    "[make|draw|create] a (bar )chart of {v}",
    "bar chart[ of|:] {v}",
    "[can|could] you [chart|plot|graph] {v}( for me)?",
    "[show|draw] (me )a [graph|picture] of {v}",
    "my {t}: {v}. [plot it|draw a chart|make a graph]",
    "[plot|chart|graph] my {t}: {v}",
    "visualize {v}",
    "i have these values: {v}. [please plot them|can you chart them?]",
    "[plot|chart] {v} for {l}",
    "(make a )bar chart of {v} with labels {l}",
    "[plot|draw|chart] {t} of {v} for {l}",
    "[plot|chart] {v} labelled {l}",
    "{t} for {l}: {v}. [draw|make] a chart",
]
PLAIN = [
    "can you [draw|plot|make charts]? => Yes, functions and numbers. What should I draw?",
    "[draw|plot|make] a [graph|chart|picture] => Of which function or numbers?",
    "draw (me )a [cat|dog|horse|house] => I can only draw graphs of functions and numbers.",
    "what is a (bar )chart? => A picture that shows numbers as bars, so they are easy to compare.",
    "what is a parabola? => The curve of x^2: it comes down, turns, and goes up again.",
    "plot [it|this|that] => What should I plot? Give me a function or some numbers.",
]

TEMPLATES = [
    *templates("plot/curve", curve, CURVES),
    *templates("plot/bars", bars, BARS),
    *templates("plot/plain", plain, PLAIN),
]
