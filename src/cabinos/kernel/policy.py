"""The policy: one pure function that says whether a call may be made.

What it looks at is all in its arguments: what the process may use, the integrity of what it has
read, and what the tool declared. The same facts give the same verdict, so every decision in the
journal can be made again.
"""

from dataclasses import dataclass
from typing import Literal

from cabinos.kernel.capability import Capabilities
from cabinos.kernel.driver import Tool

__all__ = ["Verdict", "check"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Allow, ask a person, or deny; and why, in words for a person."""

    action: Literal["allow", "ask", "deny"]
    reason: str = ""


ALLOW = Verdict("allow")


def check(capabilities: Capabilities, label: str, tool: Tool) -> Verdict:
    """The verdict on one call.

    1. A tool the process was not given is denied.
    2. A tool that was declared `ask`, or whose foreign schema changed, asks.
    3. Once a process has read untrusted text, that text may speak through it: whatever leaves the
       machine, or cannot be taken back (`keyed` and `raw` effects), asks.
    4. Everything else is allowed; folders and hosts are checked by the device at each use.
    """
    if not capabilities.allows_tool(tool.name):
        return Verdict("deny", f"this process was not given the tool {tool.name!r}")
    if tool.ask:
        return Verdict("ask", f"{tool.name} asks before each use")
    if label == "untrusted" and (tool.egress or tool.effect in ("keyed", "raw")):
        doing = "sends data out" if tool.egress else "has an effect outside"
        return Verdict("ask", f"the process has read untrusted text, and {tool.name} {doing}")
    return ALLOW
