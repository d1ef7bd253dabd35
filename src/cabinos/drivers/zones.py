"""Time zones by the names people use: Europe/Berlin, Tokyo, India, EST."""

import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from cabinos.kernel.errors import InvalidArguments

__all__ = ["is_zone", "system_zone", "zone_of"]

# Countries, by the zone most of their people live in, and cities that name no zone themselves.
PLACES = {
    "Africa/Addis_Ababa": "ethiopia",
    "Africa/Cairo": "egypt",
    "Africa/Casablanca": "morocco",
    "Africa/Johannesburg": "south africa, cape town, pretoria, durban",
    "Africa/Lagos": "nigeria, abuja",
    "Africa/Nairobi": "kenya",
    "America/Argentina/Buenos_Aires": "argentina",
    "America/Bogota": "colombia",
    "America/Caracas": "venezuela",
    "America/Chicago": "central, cst, cdt, central time, texas, houston, dallas, austin, "
    "san antonio, minneapolis, st louis, new orleans, kansas city, nashville, illinois",
    "America/Denver": "mountain, mst, mdt, mountain time, colorado, salt lake city, utah",
    "America/Lima": "peru",
    "America/Los_Angeles": "pacific, pst, pdt, pacific time, la, california, san francisco, "
    "san diego, seattle, portland, las vegas, san jose, silicon valley",
    "America/Mexico_City": "mexico",
    "America/New_York": "eastern, est, edt, et, eastern time, nyc, usa, us, united states, "
    "america, boston, washington, washington dc, miami, atlanta, philadelphia, florida, orlando",
    "America/Phoenix": "arizona",
    "America/Santiago": "chile",
    "America/Sao_Paulo": "brazil, rio, rio de janeiro, brasilia",
    "America/Toronto": "canada, ottawa, montreal, quebec",
    "America/Vancouver": "british columbia",
    "Asia/Bangkok": "thailand",
    "Asia/Colombo": "sri lanka",
    "Asia/Dhaka": "bangladesh",
    "Asia/Dubai": "uae, united arab emirates, abu dhabi",
    "Asia/Ho_Chi_Minh": "vietnam, hanoi",
    "Asia/Jakarta": "indonesia, bali",
    "Asia/Jerusalem": "israel, tel aviv",
    "Asia/Karachi": "pakistan, islamabad, lahore",
    "Asia/Kathmandu": "nepal",
    "Asia/Kolkata": "india, ist, mumbai, bombay, delhi, new delhi, bangalore, bengaluru, chennai, "
    "hyderabad, calcutta",
    "Asia/Kuala_Lumpur": "malaysia",
    "Asia/Manila": "philippines",
    "Asia/Riyadh": "saudi arabia",
    "Asia/Seoul": "korea, south korea",
    "Asia/Shanghai": "china, beijing, shenzhen, guangzhou",
    "Asia/Taipei": "taiwan",
    "Asia/Tehran": "iran",
    "Asia/Tokyo": "japan, jst, osaka, kyoto",
    "Australia/Sydney": "australia, canberra, aest",
    "Europe/Amsterdam": "netherlands, holland, the hague, rotterdam",
    "Europe/Athens": "greece",
    "Europe/Berlin": "germany, cet, cest, munich, hamburg, frankfurt, cologne, central europe",
    "Europe/Brussels": "belgium",
    "Europe/Bucharest": "romania",
    "Europe/Budapest": "hungary",
    "Europe/Copenhagen": "denmark",
    "Europe/Dublin": "ireland",
    "Europe/Helsinki": "finland",
    "Europe/Istanbul": "turkey, ankara",
    "Europe/Kyiv": "ukraine, kiev",
    "Europe/Lisbon": "portugal, porto",
    "Europe/London": "uk, united kingdom, england, britain, great britain, scotland, wales, "
    "edinburgh, manchester, bst",
    "Europe/Madrid": "spain, barcelona",
    "Europe/Moscow": "russia",
    "Europe/Oslo": "norway",
    "Europe/Paris": "france, lyon, nice",
    "Europe/Prague": "czechia, czech republic",
    "Europe/Rome": "italy, milan, venice, florence",
    "Europe/Stockholm": "sweden",
    "Europe/Vienna": "austria",
    "Europe/Warsaw": "poland, krakow",
    "Europe/Zurich": "switzerland, geneva, bern",
    "Pacific/Auckland": "new zealand, wellington",
    "Pacific/Honolulu": "hawaii",
    "UTC": "utc, gmt, zulu, coordinated universal time, greenwich",
}


def zone_of(name: str) -> ZoneInfo:
    """The zone of this name, or of the city or country. Raises InvalidArguments if none is known.

    A country of several zones stands for the one most of its people live in.
    """
    try:
        return ZoneInfo(_known(name) or name)
    except (KeyError, ValueError, OSError):
        raise InvalidArguments(
            f"{name!r} is no time zone known here; write it like Europe/Berlin, Tokyo or UTC."
        ) from None


def is_zone(name: str) -> bool:
    """Whether a zone is known by this name; without a look at the disk for each."""
    return _known(name) is not None


def _known(name: str) -> str | None:
    words = " ".join(name.replace("_", " ").strip(" .?!").casefold().split())
    return _names().get(words) or _names().get(words.partition(",")[0])


@cache
def _names() -> dict[str, str]:
    names: dict[str, str] = {}
    for zone in sorted(available_timezones()):
        area, _, city = zone.rpartition("/")
        if area and not zone.startswith(("Etc/", "SystemV/", "US/", "posix", "right")):
            names.setdefault(city.replace("_", " ").casefold(), zone)
        names[zone.replace("_", " ").casefold()] = zone
    for zone, places in PLACES.items():
        names.update(dict.fromkeys(places.split(", "), zone))
    return names


def system_zone() -> ZoneInfo | None:
    """The zone by its name, with its past and future; None where only today's offset is known."""
    name = os.environ.get("TZ", "").lstrip(":")
    if not name:
        with suppress(OSError):
            name = str(Path("/etc/localtime").readlink()).partition("zoneinfo/")[2]
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        return None
