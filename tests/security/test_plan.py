"""Plans: which holes there are, what fills them, and what may decide."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.kernel.errors import InvalidArguments
from cabinos.kernel.labels import TRUSTED, Label
from cabinos.kernel.plan import Found, evaluate, fill, proposals, validate

LIST = Label("untrusted", None, frozenset(("list",)))
FILES = Found.of(
    [
        {"id": 1, "name": "a.txt", "size": 30, "tags": ["x", "y"]},
        {"id": 2, "name": "b.txt", "size": 10, "tags": ["y"]},
        {"id": 3, "name": "c.md", "size": 20, "tags": []},
    ],
    LIST,
    ["id"],
)
NAMES = Found.of(["general", "External_0", "random"], LIST, ["*"])
R1: dict[str, Any] = {"result": 1}
N2: dict[str, Any] = {"result": 2}


@pytest.mark.parametrize(
    ("part", "value", "picked"),
    [
        ({"field": [{"lookup": [R1, "name", "eq", "b.txt"]}, "id"]}, 2, True),
        ({"field": [{"lookup": [R1, "name", "eq", "b.txt"]}, "size"]}, 10, False),
        ({"field": [{"max": [R1, "size"]}, "id"]}, 1, True),
        ({"field": [{"min": [R1, "size"]}, "id"]}, 2, True),
        ({"field": [{"max": [R1, "tags"]}, "id"]}, 1, True),
        ({"field": [{"min": [R1, "tags"]}, "id"]}, 3, True),
        ({"field": [R1, "id"]}, [1, 2, 3], True),
        ({"field": [R1, "tags"]}, ["x", "y", "y"], False),
        ({"field": [{"filter": [R1, "size", "gt", 15]}, "id"]}, [1, 3], True),
        ({"field": [{"filter": [R1, "size", "ge", 20]}, "id"]}, [1, 3], True),
        ({"field": [{"filter": [R1, "size", "lt", 20]}, "id"]}, [2], True),
        ({"field": [{"filter": [R1, "size", "le", 20]}, "id"]}, [2, 3], True),
        ({"field": [{"filter": [R1, "size", "ne", 20]}, "id"]}, [1, 2], True),
        ({"field": [{"filter": [R1, "name", "in", ["c.md"]]}, "id"]}, [3], True),
        ({"field": [{"filter": [R1, "tags", "contains", "x"]}, "id"]}, [1], True),
        ({"lookup": [N2, None, "starts", "External"]}, "External_0", True),
        ({"filter": [N2, None, "not in", ["random"]]}, ["general", "External_0"], True),
        ({"at": [N2, 1]}, "External_0", True),
        ({"count": R1}, 3, False),
        ({"tally": [{"field": [R1, "tags"]}]},
         [{"value": "y", "count": 2}, {"value": "x", "count": 1}], False),
        ({"field": [{"at": [{"tally": [N2]}, 0]}, "value"]}, "External_0", True),
        ({"text": ["{} and {}.", {"at": [N2, 0]}, 2]}, "general and 2.", False),
        ({"sub": [{"field": [{"at": [R1, 0]}, "size"]}, 5]}, 25, False),
        ({"add": [{"field": [{"at": [R1, 0]}, "id"]}, 5]}, 6, True),
        ({"mul": [{"field": [{"at": [R1, 1]}, "id"]}, 2]}, 4, True),
        ([{"field": [{"at": [R1, 0]}, "id"]}, 9], [1, 9], True),
        ([{"field": [{"at": [R1, 0]}, "size"]}, 9], [30, 9], False),
        (R1, FILES.value, False),
        (N2, NAMES.value, True),
    ],
)  # fmt: skip
def test_expressions(part: Any, value: object, picked: bool) -> None:
    validate([{"tool": "a"}, {"tool": "b"}, {"tool": "c", "arguments": {"x": part}}])
    found = evaluate(part, [FILES, NAMES])
    assert found.value == value
    assert found.picked is picked
    assert found.label == LIST
    filled = fill({"x": part}, [FILES, NAMES])["x"]
    assert (filled.value, filled.label) == (value, LIST)
    assert filled.origin == ("picked" if picked else "model")


def test_literals() -> None:
    for literal in (1, "a", None, [1, ["b"]], {"a": 1, "b": 2}, {"size": 3}, []):
        filled = fill({"x": literal}, [])["x"]
        assert (filled.value, filled.label, filled.origin) == (literal, TRUSTED, "typed")


def test_items() -> None:
    item = Found("general", LIST, picked=True)
    assert fill({"channel": {"item": None}}, [], item)["channel"].origin == "picked"


@pytest.mark.parametrize(
    "part",
    [
        {"lookup": [R1, "size", "gt", 5]},
        {"lookup": [R1, "size", "eq", 5]},
        {"max": [{"filter": [R1, "size", "gt", 99]}, "size"]},
        {"field": [R1, "none"]},
        {"at": [R1, 7]},
        {"max": [N2, "size"]},
        {"filter": [R1, "name", "gt", 5]},
        {"count": 5},
        {"text": ["{}"]},
        {"text": [5, 5]},
        {"add": ["a", "b"]},
        {"tally": [R1]},
    ],
)
def test_data_that_do_not_fit(part: Any) -> None:
    with pytest.raises(InvalidArguments):
        evaluate(part, [FILES, NAMES])


@pytest.mark.parametrize(
    "steps",
    [
        [], None, "x", [1], [{}], [{"tool": 1}], [{"tool": "a", "more": 1}],
        [{"tool": "a", "arguments": []}], [{"tool": "a"}] * 41,
        [{"tool": "a", "arguments": {"x": {"result": 1}}}],
        [{"tool": "a", "arguments": {"x": {"result": 0}}}],
        [{"tool": "a", "arguments": {"x": {"result": "1"}}}],
        [{"tool": "a", "arguments": {"x": {"item": None}}}],
        [{"tool": "a"}, {"tool": "a", "arguments": {"x": [{"count": [{"result": 2}]}]}}],
        [{"tool": "a"}, {"tool": "a", "arguments": {"x": {"filter": [R1, "a", "like", 1]}}}],
        [{"tool": "a"}, {"tool": "a", "arguments": {"x": {"field": [R1]}}}],
        [{"tool": "a"}, {"tool": "a", "for": {"result": 2}}],
    ],
)  # fmt: skip
def test_what_is_no_plan(steps: Any) -> None:
    with pytest.raises(InvalidArguments):
        validate(steps)


def test_expressions_nested_too_deeply() -> None:
    part: Any = R1
    for _ in range(20):
        part = {"field": [part, "x"]}
    with pytest.raises(InvalidArguments):
        validate([{"tool": "a"}, {"tool": "b", "arguments": {"x": part}}])


def test_the_grants_of_a_plan() -> None:
    steps = validate(
        [
            {"tool": "list"},
            {"tool": "read", "arguments": {"id": {"field": [{"at": [R1, 0]}, "id"]}, "n": 5}},
            {"tool": "send", "arguments": {"to": "bob", "body": {"text": ["{}", {"result": 2}]}}},
            {"tool": "add", "arguments": {"to": {"item": None}}, "for": R1, "most": 3},
        ]
    )
    first, second, third, fourth = proposals(steps)
    assert first == {
        "tool": "list", "fixed": {}, "open": [], "picked": [], "sources": [], "uses": 1
    }  # fmt: skip
    assert (second["fixed"], second["open"], second["sources"]) == ({"n": 5}, ["id"], ["list"])
    assert (third["fixed"], third["picked"], third["sources"]) == (
        {"to": "bob"},
        ["body"],
        ["read"],
    )
    assert (fourth["fixed"], fourth["open"], fourth["uses"]) == ({}, ["to"], 3)


parts = st.recursive(
    st.none() | st.integers(-5, 5) | st.text(max_size=3) | st.just({"result": 1}),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(
            st.sampled_from(["field", "filter", "lookup", "max", "tally", "at", "count", "text",
                             "add", "item", "result"]),
            st.lists(inner | st.sampled_from(["id", "eq", "gt", "in"]), max_size=4),
        ).map(lambda pair: {pair[0]: pair[1]})
    ),
    max_leaves=12,
)  # fmt: skip


@given(parts)
def test_any_part_is_a_plan_or_an_error(part: Any) -> None:
    try:
        validate([{"tool": "a"}, {"tool": "b", "arguments": {"x": part}}])
        found = evaluate(part, [FILES])
    except InvalidArguments:
        return
    assert found.label.flows_to(LIST)
    if found.picked and not found.label.trusted:
        assert "name" not in str(found.value)
