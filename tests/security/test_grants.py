"""Grants: only of what was typed, only while clean, spent once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.kernel.errors import Denied, InvalidArguments
from cabinos.kernel.grants import (
    Grant,
    attenuate,
    links,
    mint,
    occurs,
    same,
    spend,
    split,
    texts,
)
from cabinos.kernel.labels import TRUSTED, UNTRUSTED

TYPED = "Send Bob <bob@x.org> the minutes of 12 May, see https://x.org/a, and pay 1,250.50 or 10."
ROLES = {"send": ("to",), "wipe": ("*",), "note": ()}


@pytest.mark.parametrize(
    ("value", "typed", "found"),
    [
        ("bob@x.org", TYPED, True),
        ("Bob", TYPED, True),
        ("ob", TYPED, False),
        ("x.org", TYPED, False),
        ("https://x.org/a", TYPED, True),
        ("https://x.org", TYPED, False),
        ("bob@x.org", "to notbob@x.org", False),
        ("bob@x.org", "to bob@x.org.evil.example", False),
        ("bob@x.org", "to bob@x.org-evil", False),
        ("bob@x.org", "to bob@x.org.They said", True),
        ("bob@x.org", "to bob@x.org.Evil.example", False),
        ("bob@x.org", "to bob@x.org.evil now", False),
        ("bob@x.org", "Write to bob@x.org.", True),
        ("bob@x.org", "bob@x.org, anna@x.org", True),
        ("x.org", "see x.org/evil", False),
        ("x.org", "see x.org:80", False),
        ("org", "see x.org", False),
        ("b", "a+b", False),
        ("b", "a-b", False),
        ("b", "a:b", False),
        ("a", "a+b", False),
        ("(a)", "x(a)y", True),
        ("…", "wait…", True),
        (12, TYPED, True),
        (1250.5, TYPED, True),
        (1250, TYPED, False),
        (10, TYPED, True),
        (10.0, TYPED, True),
        (10, "100", False),
        (10, "x10", False),
        (10, "10x", False),
        (1, "v1.1", False),
        (-3, "at -3 degrees", True),
        (11, TYPED, False),
        (["Bob", 12], TYPED, True),
        (["Bob", "Eve"], TYPED, False),
        ({"k": "Bob"}, TYPED, True),
        ({"k": "Eve"}, TYPED, False),
        ({"k": "Bob", "l": "Eve"}, TYPED, False),
        ([], TYPED, True),
        (None, TYPED, True),
        (True, TYPED, True),
        ("", TYPED, True),
        (b"Bob", TYPED, False),
        ("bob@x.org", "", False),
        (".*", "anything", False),
    ],
)
def test_occurs(value: object, typed: str, found: bool) -> None:
    assert occurs(value, typed) is found


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("1", 1, False),
        (1, "1", False),
        (1, 1.0, True),
        (1, True, False),
        (True, 1, False),
        (0, False, False),
        (True, True, True),
        (True, False, False),
        (None, None, True),
        (None, 0, False),
        ([1], [True], False),
        ([1, 2], [1], False),
        ([1], [1, 2], False),
        ([1, 2], (1, 2), True),
        ([1, 2], [2, 1], False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
        ([1, 2], [1, 3], False),
        ([], {}, False),
    ],
)
def test_same(one: object, other: object, equal: bool) -> None:
    assert same(one, other) is equal


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see http://evil.example/a?b=c.", ["http://evil.example/a?b=c"]),
        ("www.evil.example", ["www.evil.example"]),
        ("bit.ly/x now", ["bit.ly/x"]),
        ("evil.example", ["evil.example"]),
        ("ftp://h/x", ["ftp://h/x"]),
        ("javascript:alert(1)", ["javascript:alert(1"]),
        ("data:text/html;x", ["data:text/html;x"]),
        ("[a](b)", ["[a](b"]),
        ("![](//h/x)", ["![](//h/x"]),
        ("[a][1]", ["[a][1"]),
        ("[1]: b", ["[1]: b"]),
        ("<img src=x>", ["<img src="]),
        ("<img\n/src=x", ["<img\n/src="]),
        ("<script>", ["<script"]),
        ("< svg/onload", ["< svg"]),
        ("<summary> </b> <stripe>", []),
        ("10.0.0.1/x", ["10.0.0.1/x"]),
        ("ev\u200bil.example", ["evil.example"]),
        ("evil。example", ["evil.example"]),
        ("ｅｖｉｌ．ｅｘａｍｐｌｅ", ["evil.example"]),
        ("exämple.de", ["exämple.de"]),
        ("a@x.org", []),
        ("mailto:a@x.org", ["mailto:a@x.org"]),
        ("minutes.docx and a.txt, feedback.xlsx", []),
        ("At 10.30, 1.5 kg, e.g. this. And that…", []),
        ("2 < 3, Bob <bob@x.org>", []),
        ("(see above) [sic] done", []),
        ("HTTP://EVIL.EXAMPLE", ["HTTP://EVIL.EXAMPLE"]),
    ],
)
def test_links(text: str, found: list[str]) -> None:
    assert list(links([text])) == found


def test_links_of_hostile_text_take_no_time() -> None:
    for part in ("[", "<a", "a.", "a" * 50 + ".", "http:/", "a-", "1.1", "[a]", "\u200b"):
        assert isinstance(list(links([part * 20_000])), list)


def test_texts() -> None:
    assert list(texts({"k": ["a", 1, None, True, {"l": ("b",)}]})) == ["k", "a", "l", "b"]
    assert list(texts("a")) == ["a"]
    assert next(iter(texts(object))).startswith('"<class')


def test_mint() -> None:
    proposals = [
        {"tool": "send", "fixed": {"to": ["bob@x.org"], "subject": "Minutes"}, "open": ["body"],
         "sources": ["files"], "uses": 2},
        {"tool": "note", "picked": ["id"]},
    ]  # fmt: skip
    first, second = mint(TRUSTED, TYPED, proposals, ROLES)
    assert first == Grant(
        "g0", "send", {"to": ["bob@x.org"], "subject": "Minutes"}, frozenset(("body",)),
        frozenset(), frozenset(("files",)), frozenset(("https://x.org/a",)), 2,
    )  # fmt: skip
    marked = mint(TRUSTED, "<b x=1> [a](b) ![c](d) y.example", [{"tool": "note"}], ROLES)
    assert marked[0].links == {"y.example"}
    assert second == Grant(
        "g1", "note", {}, frozenset(), frozenset(("id",)), frozenset(), first.links, 1
    )
    assert mint(TRUSTED, "", [], ROLES, "p") == ()
    assert mint(TRUSTED, "", [{"tool": "note"}], ROLES, "p")[0].id == "p0"


@pytest.mark.parametrize(
    ("proposal", "error"),
    [
        ({"tool": "send", "fixed": {"to": "eve@x.org"}}, Denied),
        ({"tool": "send", "fixed": {"to": ["bob@x.org", "eve@x.org"]}}, Denied),
        ({"tool": "wipe", "fixed": {"what": "all"}}, Denied),
        ({"tool": "nothing"}, InvalidArguments),
        ({"tool": None}, InvalidArguments),
        ({"tool": ["send"]}, InvalidArguments),
        ({}, InvalidArguments),
        ({"tool": "send", "fixed": ["to"]}, InvalidArguments),
        ({"tool": "send", "to": "bob@x.org"}, InvalidArguments),
        ({"tool": "send", "open": "body"}, InvalidArguments),
        ({"tool": "send", "picked": [1]}, InvalidArguments),
        ({"tool": "send", "uses": 0}, InvalidArguments),
        ({"tool": "send", "uses": True}, InvalidArguments),
        ({"tool": "send", "uses": "many"}, InvalidArguments),
    ],
)
def test_what_is_not_minted(proposal: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        mint(TRUSTED, TYPED, [proposal], ROLES)


def test_nothing_is_minted_after_untrusted_text() -> None:
    with pytest.raises(Denied):
        mint(UNTRUSTED, TYPED, [{"tool": "note"}], ROLES)
    with pytest.raises(Denied):
        mint(UNTRUSTED, TYPED, [], ROLES)


def test_what_may_be_fixed() -> None:
    assert mint(TRUSTED, TYPED, [{"tool": "wipe", "fixed": {"what": "Bob"}}], ROLES)
    assert mint(TRUSTED, TYPED, [{"tool": "send", "fixed": {"body": "never typed"}}], ROLES)
    assert mint(TRUSTED, TYPED, [{"tool": "send", "fixed": None}], ROLES)[0].fixed == {}


def test_a_grant_is_spent_once() -> None:
    two = Grant("a", "send", uses=2)
    other = Grant("b", "send")
    left = spend((two, other), "a")
    assert left == (Grant("a", "send", uses=1), other)
    assert spend(left, "a") == (other,)
    assert spend((other, other), "b") == (other,)
    with pytest.raises(Denied):
        spend((other,), "a")
    with pytest.raises(Denied):
        spend((), "a")


def test_a_child_gets_what_its_parent_gives_away() -> None:
    a, b, c = (Grant(name, "send") for name in "abc")
    assert split((a, b, c), ["b"]) == ((a, c), (b,))
    assert split((a,), []) == ((a,), ())
    with pytest.raises(Denied):
        split((a,), ["a", "b"])


def test_a_grant_only_gets_narrower() -> None:
    grant = Grant("a", "send", {"to": "bob"}, frozenset(("body", "subject")))
    less = attenuate(grant, {"subject": "Hi"})
    assert less.fixed == {"to": "bob", "subject": "Hi"}
    assert less.open == {"body"}
    for wider in ({"to": "eve"}, {"cc": "eve"}):
        with pytest.raises(Denied):
            attenuate(grant, wider)


@given(
    st.builds(
        Grant,
        st.text(),
        st.text(),
        st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()),
        *[st.frozensets(st.text(), max_size=3)] * 4,
        st.integers(1, 9),
    )
)
def test_json(grant: Grant) -> None:
    assert Grant.from_json(grant.to_json()) == grant


@given(st.text(max_size=60), st.integers(0, 20), st.integers(0, 20))
def test_what_was_typed_alone_occurs(words: str, at: int, length: int) -> None:
    word = words[at : at + length]
    assert occurs(word, f" {word} ")
    assert occurs(word, word)
