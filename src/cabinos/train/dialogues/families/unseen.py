"""Tools of one conversation alone: the call is read off the schema, the answer off the result.

A tool is made of an area's nouns, a verb and parameters, so that hardly two are the same. It is a
tiny real function that returns a structured result.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from cabinos.kernel.driver import Context, Tool
from cabinos.train.dialogues.families.facts import values
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, templates

Made = Callable[[Random], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Area:
    """A kind of tool: names for it, its parameters by slot, what is said, what comes back.

    `slots`: the names that the parameter of a slot may have. `says`: with `{slot}` for values.
    """

    names: tuple[str, ...]
    about: str
    slots: Mapping[str, tuple[str, ...]]
    says: tuple[str, ...]
    result: Made
    answer: str


def _pick(rng: Random, *choices: Any) -> Any:
    return rng.choice(choices)


AREAS: dict[str, Area] = {
    "weather": Area(("get_weather", "weather_lookup", "forecast", "weather_now", "current_weather"), "Tells the weather of a place", {"city": ("city", "location", "place", "town", "where")}, ("what's the weather in {city}?", "how is the weather in {city}?", "weather {city}", "is it [raining|cold|sunny] in {city}?", "forecast for {city}"), lambda r: {"sky": _pick(r, "sunny", "cloudy", "rainy", "snowy", "windy"), "celsius": r.randrange(-9, 36)}, "It's {sky} in {city}, {celsius} degrees."),
    "flights": Area(("find_flights", "flight_search", "search_flights", "flights", "book_flight"), "Finds flights between two cities", {"city": ("origin", "from_city", "departure", "start"), "city2": ("destination", "to_city", "arrival", "goal")}, ("find flights from {city} to {city2}", "i want to fly from {city} to {city2}", "flights from {city} to {city2}?", "book a flight from {city} to {city2}", "get me from {city} to {city2} by plane"), lambda r: {"flight": f"{_pick(r, 'LH', 'KL', 'UA', 'DL')}{r.randrange(100, 999)}", "price": r.randrange(40, 900)}, "{flight} flies from {city} to {city2} for {price} dollars."),
    "status": Area(("flight_status", "track_flight", "flight_info"), "Tells whether a flight is on time", {"flight": ("flight", "flight_number", "number", "code")}, ("is flight {flight} on time?", "status of {flight}", "when does {flight} land?", "check flight {flight}"), lambda r: {"status": _pick(r, "on time", "delayed", "boarding", "landed"), "gate": f"{_pick(r, 'A', 'B', 'C')}{r.randrange(1, 40)}"}, "Flight {flight} is {status}, gate {gate}."),
    "lights": Area(("set_light", "light_switch", "lights", "switch_light", "lamp_control"), "Switches the light of a room", {"room": ("room", "area", "where", "location"), "state": ("state", "power", "action")}, ("turn {state} the light in the {room}", "switch the {room} light {state}", "{room} light {state}", "light in the {room} {state} please", "turn the {room} lights {state}"), lambda r: {"ok": True}, "The light in the {room} is {state}."),
    "heat": Area(("set_temperature", "thermostat", "heating_set", "climate_set"), "Sets the temperature of a room", {"room": ("room", "zone", "area"), "n": ("degrees", "temperature", "target", "value")}, ("set the {room} to {n} degrees", "make the {room} {n} degrees", "heat the {room} to {n}", "{room} to {n} degrees please"), lambda r: {"before": r.randrange(10, 19)}, "The {room} is set to {n} degrees; it was {before}."),
    "music": Area(("play_music", "play", "music_play", "start_song", "player"), "Plays a song or a kind of music", {"song": ("song", "title", "track", "what", "query")}, ("play {song}", "put on {song}", "i want to hear {song}", "could you play {song}?", "play the song {song}"), lambda r: {"minutes": r.randrange(2, 7)}, "Playing {song}, {minutes} minutes."),
    "orders": Area(("order_food", "place_order", "orders_add", "food_order", "deliver"), "Orders food", {"food": ("item", "dish", "food", "product"), "n": ("count", "quantity", "amount", "number")}, ("order {n} {food}", "get me {n} {food}", "i'd like to order {n} {food}", "{n} {food} please", "bring {n} {food}"), lambda r: {"order": r.randrange(100, 999), "minutes": r.randrange(10, 70)}, "Order {order} is placed: {n} {food}, in {minutes} minutes."),
    "bank": Area(("get_balance", "account_balance", "balance", "bank_account"), "Tells the balance of an account", {"account": ("account", "name", "which", "account_name")}, ("what's the balance of my {account} account?", "how much is in {account}?", "balance of {account}", "check my {account} account"), lambda r: {"balance": r.randrange(10, 9000)}, "There are {balance} dollars in your {account} account."),
    "transfer": Area(("transfer_money", "send_money", "pay", "bank_transfer", "payment"), "Sends money to somebody", {"name": ("recipient", "to", "payee", "person"), "n": ("amount", "sum", "dollars", "value")}, ("send {n} dollars to {name}", "transfer {n} dollars to {name}", "pay {name} {n} dollars", "give {name} {n} dollars"), lambda r: {"receipt": r.randrange(1000, 9999)}, "{n} dollars went to {name}, receipt {receipt}."),
    "maps": Area(("route", "get_directions", "distance", "navigate", "travel_time"), "Tells the way between two places", {"city": ("start", "origin", "from_place"), "city2": ("end", "goal", "to_place", "destination")}, ("how far is it from {city} to {city2}?", "directions from {city} to {city2}", "how do i get from {city} to {city2}?", "drive from {city} to {city2}"), lambda r: {"km": r.randrange(5, 900), "hours": r.randrange(1, 12)}, "{city} to {city2} is {km} km, about {hours} hours."),
    "translate": Area(("translate", "translate_text", "translation", "translator"), "Translates a word", {"noun": ("text", "word", "phrase", "source_text"), "language": ("language", "target", "to_language", "into")}, ("translate {noun} into {language}", "how do you say {noun} in {language}?", "what's {noun} in {language}?", "{noun} in {language}", "say {noun} in {language}"), lambda r: {"translation": "".join(r.choices("aeioulnrstmk", k=6))}, "{noun} in {language} is {translation}."),
    "calendar": Area(("add_event", "calendar_add", "create_event", "schedule", "new_appointment"), "Puts an event on the calendar", {"event": ("title", "event", "name", "what", "summary"), "date": ("date", "day", "when", "on")}, ("put {event} on my calendar for {date}", "schedule {event} on {date}", "add {event} to the calendar on {date}", "i have {event} on {date}, put it in the calendar"), lambda r: {"id": r.randrange(10, 999)}, "{event} is on the calendar for {date}."),
    "sensor": Area(("read_sensor", "sensor_value", "get_reading", "sensor", "measure"), "Reads a sensor of the house", {"room": ("room", "sensor", "place", "location"), "kind": ("kind", "quantity", "what", "type")}, ("what's the {kind} in the {room}?", "read the {kind} in the {room}", "{kind} in the {room}", "how is the {kind} in the {room}?", "check {kind} in the {room}"), lambda r: {"value": r.randrange(1, 99)}, "The {kind} in the {room} is {value}."),
    "mail": Area(("send_email", "send_message", "mail_send", "text_person", "message"), "Sends a message to somebody", {"name": ("to", "recipient", "person", "contact"), "words": ("body", "text", "message", "content")}, ("tell {name} {words}", "send {name} a message: {words}", "text {name} {words}", "message {name} that {words}", "write to {name}: {words}"), lambda r: {"sent": True}, "Sent to {name}: {words}."),
    "stock": Area(("stock_price", "get_quote", "quote", "share_price"), "Tells the price of a share", {"company": ("symbol", "company", "ticker", "name")}, ("what's the price of {company} stock?", "how is {company} doing?", "{company} stock", "get a quote for {company}"), lambda r: {"price": r.randrange(10, 900), "change": f"{r.randrange(-5, 6)}%"}, "{company} is at {price} dollars ({change})."),
    "money": Area(("exchange", "convert_currency", "currency", "fx_rate"), "Converts money at today's rate", {"n": ("amount", "value", "sum"), "money": ("from_currency", "source", "have"), "money2": ("to_currency", "target", "want")}, ("convert {n} {money} to {money2}", "how much is {n} {money} in {money2}?", "{n} {money} in {money2}", "exchange {n} {money} into {money2}"), lambda r: {"result": r.randrange(2, 999)}, "{n} {money} is {result} {money2}."),
    "table": Area(("book_table", "reserve_table", "reservation", "restaurant_booking"), "Reserves a table", {"place": ("restaurant", "where", "name"), "n": ("people", "guests", "seats", "party_size")}, ("book a table for {n} at {place}", "reserve a table at {place} for {n}", "table for {n} at {place}", "we want to eat at {place}, {n} people"), lambda r: {"time": f"{r.randrange(5, 10)} pm"}, "A table for {n} at {place} is booked for {time}."),
    "package": Area(("track_package", "parcel_status", "where_is_order", "tracking"), "Tells where a package is", {"code": ("number", "code", "tracking_id", "order_id")}, ("where is package {code}?", "track {code}", "status of my order {code}", "has {code} been delivered?"), lambda r: {"status": _pick(r, "on its way", "delivered", "at the post office", "not sent yet")}, "Package {code} is {status}."),
    "recipe": Area(("find_recipe", "recipe_search", "cookbook", "recipes"), "Finds a recipe with an ingredient", {"food": ("ingredient", "dish", "query", "food")}, ("find a recipe with {food}", "what can i cook with {food}?", "recipe for {food}", "how do i cook {food}?"), lambda r: {"recipe": _pick(r, "soup", "stew", "pie", "salad"), "minutes": r.randrange(10, 90)}, "A {recipe} with {food}, {minutes} minutes."),
    "door": Area(("lock_door", "door_control", "set_lock", "lock"), "Locks or unlocks a door", {"door": ("door", "which", "name"), "does": ("action", "command", "mode")}, ("{does} the {door} door", "please {does} the {door} door", "can you {does} the {door} door?", "{door} door: {does} it"), lambda r: {"ok": True}, "Done: {does} the {door} door."),
    "contact": Area(("find_contact", "phone_book", "lookup_person", "get_contact"), "Finds somebody's phone number", {"name": ("name", "person", "who", "contact")}, ("what's {name}'s number?", "phone number of {name}", "look up {name}", "how can i reach {name}?"), lambda r: {"phone": f"555-{r.randrange(1000, 9999)}"}, "{name}'s number is {phone}."),
    "game": Area(("get_score", "match_result", "score", "game_result"), "Tells the result of a team's last game", {"city": ("team", "club", "side", "name")}, ("did {city} win?", "what's the score of {city}?", "how did {city} play?", "last result of {city}"), lambda r: {"score": f"{r.randrange(6)}:{r.randrange(6)}"}, "The last game of {city} ended {score}."),
    "define": Area(("wiki", "encyclopedia", "lookup", "knowledge_search", "search_web"), "Looks something up", {"country": ("topic", "query", "subject", "about", "q")}, ("tell me about {country}", "look up {country}", "what do you know about {country}?", "search for {country}", "information on {country}"), lambda r: {"pages": r.randrange(2, 90)}, "I found {pages} pages about {country}."),
    "ticket": Area(("create_ticket", "open_issue", "report_bug", "new_issue"), "Opens a ticket", {"problem": ("title", "summary", "problem", "text")}, ("open a ticket: {problem}", "report that {problem}", "create an issue: {problem}", "new ticket: {problem}"), lambda r: {"number": r.randrange(10, 9999)}, "Ticket {number} is open: {problem}."),
}  # fmt: skip
WORDS: dict[str, tuple[str, ...]] = {
    "state": ("on", "off"), "account": ("savings", "checking", "joint", "travel", "business"),
    "event": ("lunch", "dentist", "yoga class", "team meeting", "dinner", "haircut", "parents' evening", "football match", "vet visit"),
    "date": ("monday", "friday", "march 3", "the 14th", "next tuesday", "tomorrow", "june 21", "2026-08-02"),
    "kind": ("humidity", "temperature", "noise", "light level", "air pressure", "co2"),
    "words": ("i'm on my way", "dinner is ready", "the meeting is off", "happy birthday", "call me back", "i'll be late", "the keys are inside", "see you at six"),
    "company": ("Apple", "Tesla", "IBM", "Google", "Intel", "Sony", "Nokia", "Siemens", "Ford"),
    "money": ("dollars", "euros", "pounds"), "money2": ("yen", "francs", "pesos", "rupees", "crowns"),
    "place": ("Luigi's", "the Golden Dragon", "Chez Anna", "the Blue Door", "Taverna Niko", "Casa Maria", "the Old Mill"),
    "door": ("front", "back", "garage", "cellar", "garden"), "does": ("lock", "unlock"),
    "problem": ("the printer is jammed", "the login page is down", "the heating is cold", "the app crashes", "the lift is stuck", "the wifi is slow"),
}  # fmt: skip
ASIDE = ("{s}", "{s}", "{s}", "please {s}", "hey, {s}", "cabin, {s}", "ok, {s}")


def _tool(rng: Random, area: Area, result: dict[str, Any]) -> tuple[Tool, dict[str, str]]:
    """A tool of the area, and the parameter that each slot has in it."""
    named: dict[str, str] = {}
    for slot, names in area.slots.items():
        named[slot] = rng.choice([name for name in names if name not in named.values()])
    properties: dict[str, Any] = {}
    for slot, name in named.items():
        properties[name] = {"type": "integer"} if slot == "n" else {"type": "string"}
        if slot in ("state", "does"):
            properties[name]["enum"] = list(WORDS[slot])
    required = list(properties)
    if rng.random() < 0.3:
        properties[rng.choice(("language", "units", "limit", "verbose", "user", "note"))] = {"type": "string"}

    async def run(_context: Context, **_: Any) -> dict[str, Any]:
        return result

    schema = {"type": "object", "properties": properties, "required": required}
    return Tool(rng.choice(area.names), f"{area.about}.", schema, run), named


def called(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """`area => what is said`: the area's tool is called with what was said."""
    name, _, says = pattern.partition(" => ")
    area = AREAS[name]
    known: dict[str, Any] = dict(values(rng, fillers))
    known |= {kind: rng.choice(words) for kind, words in WORDS.items()}
    known["code"] = f"{rng.choice('ABCX')}{rng.randrange(1000, 99999)}"
    known["n"] = rng.randrange(2, 40)
    result = area.result(rng)
    tool, named = _tool(rng, area, result)
    others = [_tool(rng, AREAS[other], {})[0] for other in rng.sample(list(AREAS), rng.randrange(3)) if other != name]
    others = [other for other in others if other.name != tool.name]
    call = Call(tool.name, {parameter: known[slot] for slot, parameter in named.items()})
    answer = area.answer.format_map(known | result)

    def reply(_: Results) -> str:
        return answer[0].upper() + answer[1:]

    turn = Turn(say(rng, rng.choice(ASIDE).replace("{s}", says), **known), reply, (call,))
    return Script((turn,), tools=(tool, *others))


TEMPLATES = templates("unseen/call", called, [f"{name} => {says}" for name, area in AREAS.items() for says in area.says])
