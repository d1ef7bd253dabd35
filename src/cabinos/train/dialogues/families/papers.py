"""Invented documents: contracts, bills, recipes, minutes, letters, manuals, plans, essays."""

from dataclasses import dataclass
from random import Random

from cabinos.train.dialogues.families.facts import a_date, values
from cabinos.train.dialogues.families.vocabulary import PLACES
from cabinos.train.dialogues.fillers import Fillers

__all__ = ["Line", "document"]

PETS = ("not allowed", "allowed", "allowed after asking the landlord")
JOBS = (
    "order the chairs", "write the report", "call the printer", "fix the website", "book the room",
    "update the budget",
)  # fmt: skip
CALLED = ("Rex", "Milo", "Bella", "Coco", "Luna", "Max")


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence of a document, and how one asks for what it says."""

    text: str
    ask: str  # a phrase; "" for a line that nobody asks for
    short: str = ""  # the answer, in few words


def document(rng: Random, fillers: Fillers) -> tuple[str, str, list[Line]]:
    """What kind of document it is, its name, and its lines."""
    return rng.choice(KINDS)(rng, fillers)


def lease(rng: Random, fillers: Fillers) -> tuple[str, str, list[Line]]:
    """A contract for a flat."""
    v = values(rng, fillers)
    rent, deposit = rng.randrange(40, 300) * 10, rng.randrange(5, 40) * 100
    months = rng.choice((1, 2, 3, 6))
    lines = [
        Line(
            rng.choice((f"The monthly rent is {rent} dollars.", f"Rent: {rent} dollars a month.")),
            "[how much is the rent|what is the monthly rent|what's the rent]",
            f"{rent} dollars",
        ),
        Line(
            f"A deposit of {deposit} dollars is held by the landlord.",
            "[how much is the deposit|what deposit does the landlord hold|how high is the deposit]",
            f"{deposit} dollars",
        ),
        Line(
            f"Either side may end the contract with {months} months' notice.",
            "[how much notice to end the contract|what's the notice to end the contract|"
            "how can i end the contract]",
            f"{months} months' notice",
        ),
        Line(
            f"Pets are {rng.choice(PETS)}.",
            "[are pets allowed|may i have pets|what about pets]",
        ),
        Line(
            f"The landlord is {v['name']} {v['surname']}.",
            "[who is the landlord|what's the landlord's name]",
            f"{v['name']} {v['surname']}",
        ),
        Line(
            f"The lease begins on {a_date(rng)}.",
            "[when does the lease begin|when does the lease start]",
        ),
        Line(
            "Smoking is only allowed on the balcony.",
            "where is smoking allowed",
            "Only on the balcony",
        ),
    ]
    return (
        rng.choice(("lease", "contract", "rental contract")),
        rng.choice(("lease.txt", "contract.txt", "flat_lease.md", "rental.txt")),
        lines,
    )


def bill(rng: Random, fillers: Fillers) -> tuple[str, str, list[Line]]:
    """An invoice."""
    v = values(rng, fillers)
    total, number = (
        f"{rng.randrange(9, 900)}.{rng.randrange(10, 99)}",
        f"{rng.randrange(1000, 99999)}",
    )
    date = a_date(rng)
    lines = [
        Line(
            f"Invoice number: {number}",
            "[what's the invoice number|what is the number of the invoice]",
            number,
        ),
        Line(
            f"Total to pay: {total} euros",
            "[what's the total to pay|how much is the total|how much do i have to pay in total]",
            f"{total} euros",
        ),
        Line(
            rng.choice((f"Please pay by {date}.", f"Payment is due on {date}.")),
            "[when is the payment due|by when do i have to pay|when do i have to pay it]",
            date[0].upper() + date[1:],
        ),
        Line(
            f"Meter reading: {rng.randrange(1000, 9999)} kWh",
            "[what was the meter reading|what's the meter reading]",
        ),
        Line(
            f"Questions? Ask for {v['name']} {v['surname']}.",
            "[who do i ask if i have questions|who can i ask questions]",
            f"{v['name']} {v['surname']}",
        ),
        Line(
            f"Late payments cost {rng.randrange(2, 30)} euros extra.",
            "[what do late payments cost|how much is a late payment]",
        ),
    ]
    return (
        rng.choice(("bill", "invoice")),
        rng.choice(
            (
                "bill.txt",
                "invoice.txt",
                "electricity_bill.txt",
                f"invoice-{number}.txt",
                "phone_bill.md",
            )
        ),
        lines,
    )


def recipe(rng: Random, fillers: Fillers) -> tuple[str, str, list[Line]]:
    """A recipe."""
    one, two, three = (food.lower() for food in fillers.some(rng, "food", 3))
    grams, minutes, degrees, people = (
        rng.randrange(5, 90) * 10,
        rng.randrange(3, 18) * 5,
        rng.randrange(15, 24) * 10,
        rng.randrange(2, 9),
    )
    dish = f"{one} {rng.choice(('soup', 'cake', 'pie', 'salad', 'stew', 'curry', 'bake'))}"
    lines = [
        Line(
            f"{dish.title()} for {people} people",
            f"[how many people is the {dish} for|for how many people is the {dish}]",
            f"{people} people",
        ),
        Line(
            f"{grams} g of {two}",
            f"[how much {two} do i need|how many grams of {two}|how much {two} goes in]",
            f"{grams} g",
        ),
        Line(
            f"{rng.randrange(2, 6)} spoons of {three}",
            f"[how much {three} do i need|how many spoons of {three}]",
        ),
        Line(
            f"Bake for {minutes} minutes at {degrees} degrees.",
            f"[how long do i bake it|how many minutes do i bake|how long should i bake the {dish}|"
            "at how many degrees do i bake it]",
        ),
        Line(
            f"Let it rest for {rng.randrange(5, 60)} minutes before serving.",
            "[how long should it rest|how long does it rest before serving]",
        ),
        Line(
            f"Keeps for {rng.randrange(2, 7)} days in the fridge.",
            "[how long does it keep in the fridge|how many days does it keep]",
        ),
    ]
    return (
        "recipe",
        rng.choice(
            (f"{dish.replace(' ', '_')}.txt", "recipe.txt", "recipes.md", f"{one.split()[0]}.md")
        ),
        lines,
    )


def minutes(rng: Random, fillers: Fillers) -> tuple[str, str, list[Line]]:
    """The minutes of a meeting."""
    one, two, three = fillers.some(rng, "name", 3)
    v = values(rng, fillers)
    date = a_date(rng)
    lines = [
        Line(
            f"Present: {one}, {two} and {three}",
            "[who was present|who was at the meeting|who was present at the meeting]",
            f"{one}, {two} and {three}",
        ),
        Line(
            f"{one} will {(job := rng.choice(JOBS))}.",
            f"[who will {job}|who has to {job}]",
            one,
        ),
        Line(
            f"The budget for {v['thing']}s is {(x := rng.randrange(3, 90) * 100)} dollars.",
            f"[what's the budget for {v['thing']}s|how much is the budget for {v['thing']}s]",
            f"{x} dollars",
        ),
        Line(
            f"The next meeting is on {date}.",
            "[when is the next meeting|when do we meet next]",
            f"On {date}",
        ),
        Line(f"{two} was elected treasurer.", "[who was elected treasurer|who is treasurer]", two),
        Line(
            f"The launch was moved to {(place := v['city'])}.",
            "[where was the launch moved|where is the launch]",
            f"To {place}",
        ),
    ]
    return (
        rng.choice(("minutes", "meeting notes")),
        rng.choice(("minutes.md", "meeting.txt", "meeting-notes.md", "board_minutes.txt")),
        lines,
    )


def letter(rng: Random, fillers: Fillers) -> tuple[str, str, list[Line]]:
    """A letter from somebody."""
    v = values(rng, fillers)
    n, m = fillers.some(rng, "name", 2)
    lines = [
        Line(
            f"We arrive in {v['city']} on {a_date(rng)}.",
            f"[when do they arrive|when does {n} arrive in {v['city']}|where do they arrive]",
        ),
        Line(
            f"{m} now works as a {v['job']}.",
            f"[what does {m} work as|what does {m} do now|where does {m} work now]",
        ),
        Line(
            f"We have a new {v['animal']} called {(pet := rng.choice(CALLED))}.",
            f"[what's the new {v['animal']} called|what is the name of their {v['animal']}]",
            pet,
        ),
        Line(
            f"I put your {v['thing']} {(place := fillers.of(rng, PLACES))}.",
            f"[where is my {v['thing']}|where did {n} put my {v['thing']}]",
            place[0].upper() + place[1:],
        ),
        Line(
            f"Please bring {v['food']} for the party.",
            "[what should i bring for the party|what do i bring to the party]",
            v["food"].capitalize(),
        ),
        Line(f"Love, {n}", "[who is the letter from|who wrote the letter]")
        if rng.random() < 0.0
        else Line(f"Love, {n}", ""),
    ]
    return (
        rng.choice(("letter", f"letter from {n}")),
        rng.choice((f"{n.lower()}.txt", "letter.txt", f"letter_{n.lower()}.md")),
        lines,
    )


def readme(rng: Random, fillers: Fillers) -> tuple[str, str, list[Line]]:
    """The manual of a program or a thing."""
    v = values(rng, fillers)
    thing, port = v["thing"], rng.randrange(1000, 9999)
    lines = [
        Line(
            f"The server listens on port {port}.",
            "[which port does the server listen on|what port does the server use|"
            "which port is the server on]",
            f"Port {port}",
        ),
        Line(
            f"To reset the {thing}, hold the {v['color']} button for "
            f"{rng.randrange(3, 20)} seconds.",
            f"[how do i reset the {thing}|how to reset the {thing}]",
        ),
        Line(
            f"The warranty lasts {(y := rng.randrange(2, 11))} years.",
            "[how long is the warranty|how long does the warranty last]",
            f"{y} years",
        ),
        Line(
            f"Clean the filter every {(w := rng.randrange(2, 12))} weeks.",
            "[how often do i clean the filter|how often should i clean the filter]",
            f"Every {w} weeks",
        ),
        Line(
            f"It needs Python 3.{rng.randrange(8, 14)} or newer.",
            "[which python does it need|what version of python is needed]",
        ),
        Line(
            f"It runs on {(b := rng.randrange(2, 9))} AA batteries.",
            "[how many batteries does it need|what batteries does it run on]",
            f"{b} AA batteries",
        ),
        Line(
            f"Licence: {(li := rng.choice(('MIT', 'Apache 2.0', 'BSD', 'GPL 3')))}",
            "[what's the licence|which licence does it have]",
            li,
        ),
    ]
    return (
        rng.choice(("manual", "readme")),
        rng.choice(("README.md", "manual.txt", f"{thing.split()[0]}.md", "guide.txt")),
        lines,
    )


def log(rng: Random, fillers: Fillers) -> tuple[str, str, list[Line]]:
    """A log, a table or a plan: lines of a shape."""
    v = values(rng, fillers)
    names = fillers.some(rng, "name", 4)
    what = rng.choice(("room", "team", "shift", "desk"))
    lines = []
    for name in names:
        value = f"{rng.choice('ABCD')}{rng.randrange(1, 40)}"
        lines.append(
            Line(
                f"{name}: {what} {value}, {v['city']}",
                f"[which {what} is {name} in|what {what} does {name} have|"
                f"what's the {what} of {name}|{name}'s {what}]",
                value,
            )
        )
    lines.append(
        Line(
            f"Backup finished at {rng.randrange(1, 12)}:{rng.randrange(10, 59)}.",
            "[when did the backup finish|at what time was the backup finished]",
        )
    )
    lines.append(
        Line(
            f"Disk {rng.choice('abc')} failed on {a_date(rng)}.",
            "[which disk failed|when did the disk fail]",
        )
    )
    return (
        rng.choice(("log", "plan", "table")),
        rng.choice((f"{what}s.csv", f"{what}_plan.txt", "log.txt", "staff.csv")),
        lines,
    )


def facts(rng: Random, fillers: Fillers) -> tuple[str, str, list[Line]]:
    """Facts of a country, of its people and its animals."""
    land, city = fillers.one(rng, "country"), fillers.one(rng, "city")
    one, other = fillers.some(rng, "country", 2)
    x, y = rng.randrange(2, 95), rng.randrange(2, 90)
    animal = fillers.one(rng, "animal").lower()
    lines = [
        Line(
            f"About {x} million people live in {land}.",
            f"[how many people live in {land}|what's the population of {land}, how many people]",
            f"About {x} million",
        ),
        Line(
            f"The river of {city} is {y * 10} km long.",
            f"[how long is the river of {city}|how many km is the river of {city}]",
            f"{y * 10} km",
        ),
        Line(
            f"{land} borders {one} and {other}.",
            f"[what does {land} border|which countries border {land}]",
            f"{one} and {other}",
        ),
        Line(
            f"The {animal} is the symbol of {city}.",
            f"[what is the symbol of {city}|which animal is the symbol of {city}]",
            f"The {animal}",
        ),
        Line(
            f"{land} exports mostly {fillers.one(rng, 'food').lower()}.",
            f"[what does {land} export|what are the exports of {land}]",
        ),
        Line(
            f"The highest mountain is {rng.randrange(900, 7000)} meters high.",
            "[how high is the highest mountain]",
        ),
    ]
    return (
        rng.choice(("essay", "report", "study notes")),
        rng.choice(
            (f"{land.lower().replace(' ', '_')}.md", "geography.txt", "essay.txt", "report.md")
        ),
        lines,
    )


KINDS = (lease, bill, recipe, minutes, letter, readme, log, facts)
