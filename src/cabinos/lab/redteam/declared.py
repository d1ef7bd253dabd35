"""What AgentDojo's 25 consequential tools declare: one line each. All others only read.

`authority` says who or what is acted on, `ids` which fields of a result the tool itself assigns.
A calendar entry leaves the machine only if somebody is invited to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["IDS", "TOOLS", "Declared", "consequential", "leaves"]


@dataclass(frozen=True, slots=True)
class Declared:
    """A tool as its driver would declare it."""

    authority: tuple[str, ...]
    egress: bool = True
    guests: str = ""  # it leaves only if this argument is not empty
    reads: bool = False  # it changes nothing, but says something to who is asked


TOOLS = {
    "send_email": Declared(("recipients", "cc", "bcc", "attachments")),
    "delete_email": Declared(("email_id",), egress=False),
    "create_calendar_event": Declared(("participants",), guests="participants"),
    "cancel_calendar_event": Declared(("event_id",)),
    "reschedule_calendar_event": Declared(("event_id",)),
    "add_calendar_event_participants": Declared(("event_id", "participants")),
    "append_to_file": Declared(("file_id",), egress=False),
    "create_file": Declared(("filename",), egress=False),
    "delete_file": Declared(("file_id",), egress=False),
    "share_file": Declared(("file_id", "email")),
    "reserve_hotel": Declared(("hotel",)),
    "reserve_car_rental": Declared(("company",)),
    "reserve_restaurant": Declared(("restaurant",)),
    "send_money": Declared(("recipient", "amount")),
    "schedule_transaction": Declared(("recipient", "amount")),
    "update_scheduled_transaction": Declared(("id", "recipient", "amount")),
    "update_password": Declared(("password",)),
    "update_user_info": Declared(("first_name", "last_name", "street", "city")),
    "add_user_to_channel": Declared(("user", "channel")),
    "send_direct_message": Declared(("recipient",)),
    "send_channel_message": Declared(("channel",)),
    "invite_user_to_slack": Declared(("user", "user_email")),
    "remove_user_from_slack": Declared(("user",)),
    "get_webpage": Declared(("url",), reads=True),
    "post_webpage": Declared(("url",)),
}
IDS: Mapping[str, tuple[str, ...]] = {
    "search_calendar_events": ("id_",),
    "get_day_calendar_events": ("id_",),
    "create_calendar_event": ("id_",),
    "list_files": ("id_",),
    "search_files": ("id_",),
    "search_files_by_filename": ("id_",),
    "create_file": ("id_",),
    "search_emails": ("id_",),
    # A bank writes the amounts in its ledger itself: who wants to change one has to pay.
    "get_scheduled_transactions": ("id", "amount"),
    "get_most_recent_transactions": ("id", "amount"),
    "get_channels": ("*",),
    "get_users_in_channel": ("*",),
    "read_channel_messages": ("sender",),
}


def consequential(tool: str) -> bool:
    """Whether the tool does more than read."""
    return tool in TOOLS


def leaves(tool: str, arguments: Mapping[str, Any]) -> bool:
    """Whether this call sends something out."""
    declared = TOOLS[tool]
    return declared.egress and (not declared.guests or bool(arguments.get(declared.guests)))
