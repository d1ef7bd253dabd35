"""The policy as a table: every combination of what it looks at, and its verdict."""

from itertools import product
from typing import Any

import pytest

from cabinos.kernel.capability import Capabilities
from cabinos.kernel.driver import Tool
from cabinos.kernel.policy import check


async def nothing() -> None: ...


def tool(**declared: Any) -> Tool:
    return Tool("mail", "Sends.", {}, nothing, **declared)


GIVEN = {"every": Capabilities(), "this": Capabilities(tools=frozenset({"mail"}))}
ALLOWED = "allow", ""
OUT = "ask", "sends data out"
EFFECT = "ask", "has an effect outside"

# label, effect, egress, ask: the verdict, and words of its reason
TABLE = {
    ("trusted", "pure", False, False): ALLOWED,
    ("trusted", "local", False, False): ALLOWED,
    ("trusted", "keyed", False, False): ALLOWED,
    ("trusted", "raw", False, False): ALLOWED,
    ("trusted", "pure", True, False): ALLOWED,
    ("trusted", "local", True, False): ALLOWED,
    ("trusted", "keyed", True, False): ALLOWED,
    ("trusted", "raw", True, False): ALLOWED,
    ("untrusted", "pure", False, False): ALLOWED,
    ("untrusted", "local", False, False): ALLOWED,
    ("untrusted", "keyed", False, False): EFFECT,
    ("untrusted", "raw", False, False): EFFECT,
    ("untrusted", "pure", True, False): OUT,
    ("untrusted", "local", True, False): OUT,
    ("untrusted", "keyed", True, False): OUT,
    ("untrusted", "raw", True, False): OUT,
    **{
        (label, effect, egress, True): ("ask", "asks before each use")
        for label, effect, egress in product(
            ("trusted", "untrusted"), ("pure", "local", "keyed", "raw"), (False, True)
        )
    },
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize(("facts", "verdict"), TABLE.items(), ids=map(str, TABLE))
def test_a_tool_that_was_given(
    given: Capabilities, facts: tuple[str, Any, bool, bool], verdict: tuple[str, str]
) -> None:
    label, effect, egress, ask = facts
    found = check(given, label, tool(effect=effect, egress=egress, ask=ask))
    assert (found.action, found.reason == "") == (verdict[0], verdict[1] == "")
    assert verdict[1] in found.reason


@pytest.mark.parametrize("facts", TABLE, ids=str)
@pytest.mark.parametrize("tools", [frozenset(), frozenset({"Mail", "mail2"})], ids=["none", "else"])
def test_a_tool_that_was_not_given(
    tools: frozenset[str], facts: tuple[str, Any, bool, bool]
) -> None:
    label, effect, egress, ask = facts
    declared = tool(effect=effect, egress=egress, ask=ask)
    found = check(Capabilities(tools=tools), label, declared)
    assert found.action == "deny"
    assert "'mail'" in found.reason
