"""Words of the families' own, by kind; a tenth of each list is held out of training."""

__all__ = [
    "AIRLINES",
    "BILLS",
    "CODES",
    "DATED",
    "DAYS",
    "FAVORITES",
    "GENRES",
    "KEPT",
    "KIN",
    "LANGUAGES",
    "MONTHS",
    "NAMED",
    "OWN",
    "PEOPLE",
    "PLACES",
    "ROOMS",
    "SECRETS",
    "SIZES",
    "SONGS",
    "TASKS",
    "WEEKDAYS",
]

ROOMS = (
    "kitchen", "bedroom", "bathroom", "living room", "garage", "hallway", "office", "attic",
    "cellar", "study", "nursery", "dining room",
)  # fmt: skip
KIN = (
    "mum", "mom", "dad", "wife", "husband", "sister", "brother", "son", "daughter", "aunt", "uncle",
    "boss", "neighbor", "cousin", "grandma", "roommate",
)  # fmt: skip
LANGUAGES = (
    "French", "Spanish", "German", "Italian", "Japanese", "Chinese", "Russian", "Arabic",
    "Portuguese", "Dutch", "Korean", "Hindi", "Swedish", "Polish", "Greek",
)  # fmt: skip
GENRES = (
    "jazz", "rock", "classical", "pop", "country", "techno", "blues", "metal", "hip hop", "folk",
    "reggae", "soul",
)  # fmt: skip
SONGS = (
    "Yesterday", "Imagine", "Hey Jude", "Bohemian Rhapsody", "Thriller", "Let It Be", "Hallelujah",
    "Africa", "Dancing Queen", "Wonderwall",
)  # fmt: skip
AIRLINES = ("Delta", "United", "Lufthansa", "Ryanair", "KLM", "Iberia", "Qantas", "Air France")
DAYS = (
    "tomorrow", "on friday", "on monday", "next week", "this weekend", "on sunday", "next month",
    "on the 14th", "in june",
)  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
BILLS = (
    "rent", "electric bill", "water bill", "phone bill", "gas bill", "internet bill", "credit card",
    "parking ticket", "school fees", "dentist's bill",
)  # fmt: skip
PLACES = (
    "under the doormat", "in the top drawer", "on level 3", "in the blue box", "behind the clock",
    "in the glove box", "on the second shelf", "in the garage", "under the bed", "in the attic",
    "next to the boiler", "in the hall closet", "at my office", "in the red suitcase",
    "on top of the fridge", "in the shed", "in my coat pocket", "at mum's house", "in row F",
    "on Baker Street", "in spot 42", "in the desk at work", "by the bike racks",
    "in the cookie jar", "behind the church", "opposite the bakery", "in the freezer",
    "on the balcony",
)  # fmt: skip
KEPT = (
    "spare key", "passport", "birth certificate", "tax folder", "first aid kit", "Christmas lights",
    "drill", "tent", "charger", "flashlight", "car papers", "sewing kit", "toolbox", "camera",
    "photo album", "wedding ring", "sleeping bag", "house key", "insurance papers", "screwdriver",
    "vaccination card", "umbrella", "spare fuse", "guest towels", "paint brushes", "ladder",
)  # fmt: skip
CODES = (
    "locker code", "gate code", "bike lock code", "door code", "alarm code", "garage code",
    "safe combination", "luggage lock code", "voicemail pin", "building code", "gym locker number",
    "hotel room number", "library card number", "student id", "employee number", "customer number",
    "seat number", "parking spot", "membership number", "frequent flyer number", "tax number",
    "ticket number", "order number", "phone extension", "meter number", "case number",
    "policy number", "room number", "locker number", "printer pin", "cabin number",
)  # fmt: skip
SECRETS = (
    "wifi password", "laptop password", "guest password", "router password", "netflix password",
    "email password", "server password",
)  # fmt: skip
SIZES = (
    "shoe size", "shirt size", "ring size", "jacket size", "hat size", "jeans size", "glove size",
    "tire size",
)  # fmt: skip
PEOPLE = (
    "dentist", "doctor", "landlord", "boss", "teacher", "mechanic", "lawyer", "hairdresser",
    "plumber", "vet", "yoga teacher", "piano teacher", "best friend", "accountant", "coach",
    "therapist",
)  # fmt: skip
NAMED = (
    "dog's name", "cat's name", "sister's name", "wife's name", "son's name", "boss's name",
    "neighbor's name", "middle name", "goldfish's name", "mother's maiden name", "name", "nickname",
)  # fmt: skip
FAVORITES = (
    ("favorite color", "color"),
    ("favourite colour", "color"),
    ("favorite food", "food"),
    ("favorite movie", "movie"),
    ("favorite sport", "sport"),
    ("favorite game", "game"),
    ("favorite flower", "flower"),
    ("favorite animal", "animal"),
    ("favorite city", "city"),
)
DATED = (
    "wedding anniversary", "birthday", "passport renewal date", "next dentist appointment",
    "job interview", "graduation", "driving test", "eye exam", "moving day", "exam",
)  # fmt: skip
OWN = (
    "wife", "husband", "mum", "mother", "dad", "sister", "brother", "son", "daughter", "boss",
    "best friend", "niece", "grandma",
)  # fmt: skip
TASKS = (
    "call {name}", "call the {job}", "pay the {bill}", "water the plants", "book a haircut",
    "clean the {room}", "email {name}", "return the library books", "fix the {thing}", "buy stamps",
    "take out the trash", "feed the {animal}", "wash the car", "renew my passport", "buy {food}",
    "write to {surname}", "pick up the {thing}", "go to the gym", "do the laundry",
    "iron the shirts", "cancel the newspaper", "send {name} the photos", "finish the report",
    "study for the exam", "pick up {name} from the station", "change the sheets",
    "defrost the freezer", "mow the lawn", "take my vitamins", "charge the {thing}",
    "back up the laptop", "order {food}", "sell the {thing}", "prepare the {surname} presentation",
    "mail the package", "visit {name}", "call my {kin}", "paint the {room}", "get gas",
    "walk the dog", "practice {sport}", "bake a cake for {name}", "return {name}'s {thing}",
    "check the oven", "water the {flower}s", "get the laundry from the dryer", "read chapter {n}",
    "print the tickets", "buy a present for {name}", "vacuum the {room}",
)  # fmt: skip
