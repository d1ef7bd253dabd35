"""The six rules, one table: each row is a process, a call and what comes of it."""

import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cabinos.kernel.errors import InvalidArguments
from cabinos.kernel.grants import Grant
from cabinos.kernel.labels import TRUSTED, UNTRUSTED, Label
from cabinos.kernel.policy import Policy, Request, Subject, Value, Verdict, check

POLICY = Policy()
WEB = Label("untrusted", None, frozenset(("web:x.org",)))
MAIL = Label("untrusted", frozenset(("me", "anna")), frozenset(("mail",)))
MINE = Label("trusted", frozenset(("me",)))
TO_BOB = Grant(
    "g", "send", {"to": "bob"}, frozenset(("body",)), sources=frozenset(("web", "mail")),
    links=frozenset(("https://x.org/a",)),
)  # fmt: skip


def process(*grants: Grant, label: Label = WEB, **facts: Any) -> Subject:
    return Subject(label, grants=grants, **facts)


def send(to: object = "bob", body: object = "hello", label: Label = WEB, **more: Any) -> Request:
    values = {"to": Value(to, label), "body": Value(body, label)}
    values |= {name: Value(value, label) for name, value in more.items()}
    return Request("send", values, "raw", True, ("to",))


def delete(id_: object = 7, label: Label = WEB, origin: Any = "model", **more: Any) -> Request:
    return Request("delete", {"id": Value(id_, label, origin)}, "raw", False, ("id",), **more)


def write(path: str = "a", **more: Any) -> Request:
    values = {"path": Value(path, WEB), "text": Value("t http://new.example", WEB)}
    return Request("write", values, "local", False, ("path",), **more)


ANY_ID = Grant("g", "delete", picked=frozenset(("id",)))
OPEN_ID = Grant("g", "delete", open=frozenset(("id",)))

TABLE: list[tuple[str, Subject, Request, str, int]] = [
    # 0: capabilities, refusals, declarations
    ("not given", process(TO_BOB, tools=frozenset(("read",))), send(), "deny", 0),
    ("given", process(TO_BOB, tools=frozenset(("send",))), send(), "allow", 5),
    ("none given", process(label=TRUSTED, tools=frozenset()), send(label=TRUSTED), "deny", 0),
    ("frozen", process(TO_BOB, frozen=True), send(), "deny", 0),
    ("frozen, clean", process(label=TRUSTED, frozen=True), send(label=TRUSTED), "deny", 0),
    ("frozen, local", process(frozen=True), write(), "deny", 0),
    ("frozen, reads", process(frozen=True), Request("r", {}, "pure", False), "allow", 1),
    ("frozen, fetch", process(frozen=True), Request("r", {}, "pure", True), "deny", 0),
    ("frozen, asks", process(frozen=True), Request("r", {}, "pure", False, ask=True), "deny", 0),
    ("asks", process(TO_BOB), replace(send(), ask=True), "ask", 0),
    ("asks, clean", process(label=TRUSTED), replace(send(label=TRUSTED), ask=True), "ask", 0),
    ("asks, reads", process(), Request("r", {}, "pure", False, ask=True), "ask", 0),
    # 1: reads
    ("reads", process(), Request("r", {"q": Value("x", WEB)}, "pure", False), "allow", 1),
    ("fetches", process(), Request("r", {"u": Value("x", WEB)}, "pure", True), "ask", 3),
    # 2: clean
    ("clean", process(label=TRUSTED), send(label=TRUSTED), "allow", 2),
    ("clean, a tainted value", process(label=TRUSTED), send(), "ask", 3),
    ("clean, private", process(label=MINE), send(label=MINE), "allow", 2),
    ("tainted, clean values", process(), send(label=TRUSTED), "ask", 3),
    ("tainted, no values", process(), Request("x", {}, "raw", False), "ask", 3),
    ("clean, no values", process(label=TRUSTED), Request("x", {}, "raw", False), "allow", 2),
    # 3: grants
    ("no grant", process(), send(), "ask", 3),
    ("granted", process(TO_BOB), send(), "allow", 5),
    ("another tool's", process(replace(TO_BOB, tool="mail")), send(), "ask", 3),
    ("other literal", process(TO_BOB), send(to="eve"), "ask", 3),
    ("literal in a list", process(TO_BOB), send(to=["bob"]), "ask", 3),
    ("literal missing", process(TO_BOB),
     Request("send", {"body": Value("x", WEB)}, "raw", True, ("to",)), "ask", 3),
    ("not requested", process(TO_BOB), send(subject="x"), "ask", 3),
    ("not requested but empty", process(TO_BOB), send(subject=""), "allow", 5),
    ("not requested but none", process(TO_BOB), send(cc=None, bcc=[]), "allow", 5),
    ("not requested, false", process(TO_BOB), send(urgent=False), "ask", 3),
    ("not requested, zero", process(TO_BOB), send(urgent=0), "ask", 3),
    ("not requested, but typed by all means", process(TO_BOB), send(cc="anna"), "ask", 3),
    ("second grant fits", process(replace(TO_BOB, id="h", fixed={"to": "al"}), TO_BOB), send(),
     "allow", 5),
    ("memory", process(), Request("note", {"text": Value("x", WEB)}, "local", False, ()),
     "allow", 3),
    ("memory, by name", process(), write(), "ask", 3),
    ("memory that can be undone", process(), write(reversible=True), "allow", 3),
    ("outside, can be undone", process(), delete(reversible=True), "ask", 3),
    ("memory, by an empty name", process(), write(path=""), "allow", 3),
    ("memory that leaves", process(),
     Request("note", {"text": Value("x", WEB)}, "local", True, ()), "ask", 3),
    ("keyed", process(), Request("pay", {}, "keyed", False), "ask", 3),
    ("granted write", process(Grant("g", "write", {"path": "a"}, frozenset(("text",)))), write(),
     "allow", 4),
    # 4: authority
    ("picked", process(ANY_ID), delete(origin="picked"), "allow", 4),
    ("not picked", process(ANY_ID), delete(), "ask", 4),
    ("typed is not picked", process(ANY_ID), delete(origin="typed"), "ask", 4),
    ("picked, open", process(OPEN_ID), delete(origin="picked"), "ask", 4),
    ("trusted, picked", process(ANY_ID), delete(label=TRUSTED), "allow", 4),
    ("trusted, open", process(OPEN_ID), delete(label=TRUSTED), "allow", 4),
    ("trusted, neither", process(Grant("g", "delete")), delete(label=TRUSTED), "ask", 4),
    ("picked, neither", process(Grant("g", "delete")), delete(origin="picked"), "ask", 4),
    ("open authority", process(OPEN_ID), delete(), "ask", 4),
    ("fixed", process(Grant("g", "delete", {"id": 7})), delete(), "allow", 4),
    ("fixed, true for one", process(Grant("g", "delete", {"id": 1})), delete(True), "ask", 3),
    ("undeclared", process(Grant("g", "x", open=frozenset(("a",)))),
     Request("x", {"a": Value("v", WEB)}), "ask", 4),
    ("undeclared, fixed", process(Grant("g", "x", {"a": "v"})),
     Request("x", {"a": Value("v", WEB)}), "allow", 5),
    # a person's program
    ("program, typed", process(program=True), delete(origin="typed"), "allow", 4),
    ("program, picked", process(program=True), delete(origin="picked"), "allow", 4),
    ("program, trusted", process(program=True), delete(label=TRUSTED), "allow", 4),
    ("program, read", process(program=True), delete(), "ask", 4),
    ("program, sends", process(program=True),
     Request("send", {"to": Value("bob", WEB, "typed"), "body": Value("hello", WEB)}, "raw",
             True, ("to",)), "allow", 4),
    ("program, sends a link", process(program=True),
     Request("send", {"to": Value("bob", WEB, "typed"), "body": Value("http://e.example", WEB)},
             "raw", True, ("to",)), "ask", 5),
    # 5: payload
    ("other sources", process(TO_BOB), send(label=Label("untrusted", None, frozenset(("f",)))),
     "ask", 5),
    ("any source", process(TO_BOB), send(label=UNTRUSTED), "ask", 5),
    ("trusted words", process(TO_BOB),
     Request("send", {"to": Value("bob", WEB), "body": Value("http://e.example",
             Label("trusted", None, frozenset(("f",))))}, "raw", True, ("to",)), "allow", 5),
    ("readers", process(TO_BOB), send(label=MAIL), "ask", 5),
    ("readers, trusted", process(TO_BOB),
     Request("send", {"to": Value("bob", WEB), "body": Value("hello", MINE)}, "raw", True,
             ("to",)), "ask", 5),
    ("a reader", process(replace(TO_BOB, fixed={"to": ["anna"]})), send(["anna"], label=MAIL),
     "allow", 5),
    ("a reader and another", process(replace(TO_BOB, fixed={"to": ["anna", "bob"]})),
     send(["anna", "bob"], label=MAIL), "ask", 5),
    ("new link", process(TO_BOB), send(body="see http://e.example"), "ask", 5),
    ("new link in a list", process(TO_BOB), send(body=["a", {"b": "www.e.example"}]), "ask", 5),
    ("typed link", process(TO_BOB), send(body="see https://x.org/a."), "allow", 5),
    ("typed link and more", process(TO_BOB), send(body="https://x.org/a?q=1"), "ask", 5),
    ("picked content", process(replace(TO_BOB, open=frozenset(), picked=frozenset(("body",)))),
     send(), "allow", 5),
    ("picked content, new link",
     process(replace(TO_BOB, open=frozenset(), picked=frozenset(("body",)))),
     send(body="http://e.example"), "ask", 5),
    ("fixed link", process(replace(TO_BOB, fixed={"to": "bob", "body": "http://y.example"})),
     send(body="http://y.example"), "allow", 5),
    ("content that stays", process(Grant("g", "put", {}, frozenset(("text",)))),
     Request("put", {"text": Value("http://e.example", UNTRUSTED)}, "raw", False, ()),
     "allow", 4),
]  # fmt: skip


@pytest.mark.parametrize(("subject", "request_", "action", "rule"), [r[1:] for r in TABLE],
                         ids=[row[0] for row in TABLE])  # fmt: skip
def test_table(subject: Subject, request_: Request, action: str, rule: int) -> None:
    verdict = check(subject, request_, POLICY)
    assert (verdict.action, verdict.rule) == (action, rule)
    assert (verdict.reason == "") == (action == "allow")
    spent = bool(subject.grants) and rule in (4, 5)
    assert (verdict.grant != "") == spent
    assert verdict.grant in {"", *(grant.id for grant in subject.grants)}


def test_the_grant_that_fits_is_spent() -> None:
    other = replace(TO_BOB, id="h", fixed={"to": "al"})
    assert check(process(other, TO_BOB), send(), POLICY).grant == "g"
    assert check(process(TO_BOB, other), send("al"), POLICY).grant == "h"


def test_a_verdict_names_the_arguments() -> None:
    assert check(process(TO_BOB), send(to="eve"), POLICY).about == ("to",)
    assert check(process(TO_BOB), send(subject="x"), POLICY).about == ("subject",)
    assert check(process(TO_BOB), send(body="www.e.example"), POLICY).about == ("body",)
    assert check(process(TO_BOB), send(label=MAIL), POLICY).about == ("body",)
    assert check(process(ANY_ID), delete(), POLICY).about == ("id",)
    assert check(process(), send(), POLICY).about == ()


def test_what_is_not_said_is_taken_at_its_worst() -> None:
    assert Value("x").origin == "model"
    assert check(process(), Request("x", egress=False), POLICY).action == "ask"
    assert check(process(), Request("x", effect="pure"), POLICY).action == "ask"
    assert check(process(frozen=True), Request("x"), POLICY) == Verdict(
        "deny", reason=check(process(frozen=True), Request("x"), POLICY).reason
    )
    assert Verdict("deny").rule == 0


def test_the_strict_policy() -> None:
    strict = Policy(strict=True)
    assert check(process(label=TRUSTED), delete(label=TRUSTED), strict).rule == 6
    assert check(process(label=TRUSTED), delete(label=TRUSTED), strict).action == "ask"
    assert check(process(label=TRUSTED), delete(label=TRUSTED), strict).about == ("id",)
    assert check(process(ANY_ID), delete(origin="picked"), strict).action == "ask"
    typed = delete(label=TRUSTED, origin="typed")
    assert check(process(label=TRUSTED), typed, strict) == Verdict("allow", 2)
    undone = delete(label=TRUSTED, reversible=True)
    assert check(process(label=TRUSTED), undone, strict) == Verdict("allow", 2)
    reads = Request("r", {"q": Value("x", WEB)}, "pure", False)
    assert check(process(), reads, strict) == Verdict("allow", 1)


def test_other_policies() -> None:
    free = Policy(local="allow")
    assert check(process(), write(), free) == Verdict("allow", 3)
    assert check(process(), replace(write(), egress=True), free).action == "ask"
    assert check(process(), replace(write(), effect="raw"), free).action == "ask"
    hard = Policy(links="deny")
    assert check(process(TO_BOB), send(body="www.e.example"), hard).action == "deny"
    assert check(process(TO_BOB), send(to="eve"), hard).action == "ask"


def test_the_shipped_policy() -> None:
    policy = Policy.load()
    assert policy == replace(POLICY, hash=policy.hash)
    assert len(policy.hash) == 64
    assert Policy.load(Path("/nowhere/policy.toml")) == policy


def test_a_policy_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "policy.toml"
    text = 'version = 1\nstrict = true\nlocal = "allow"\nlinks = "deny"\nfreeze = false\n'
    own.write_text(text)
    policy = Policy.load(own)
    assert policy == Policy(True, "allow", "deny", False, policy.hash)
    assert policy.hash != Policy.load().hash
    own.write_bytes(b"\xff")
    with pytest.raises(InvalidArguments):
        Policy.load(own)
    own.unlink()
    own.mkdir()
    with pytest.raises(InvalidArguments):
        Policy.load(own)


@pytest.mark.parametrize(
    "change",
    [("version = 1", "version = 2"), ("version = 1", "version = true"), ("version = 1", ""),
     ("strict = true", 'strict = "yes"'), ("strict = true", "strict = 1"),
     ("strict = true", ""), ('"allow"', '"all"'), ('"deny"', '"allow"'),
     ("freeze = false", ""), ("freeze = false", "freeze = 0"), ("strict", "strikt"),
     ("freeze", "unfreeze = 1\nfreeze"), ("=", "")],
)  # fmt: skip
def test_a_policy_that_is_none(change: tuple[str, str]) -> None:
    text = 'version = 1\nstrict = true\nlocal = "allow"\nlinks = "deny"\nfreeze = false\n'
    assert Policy.parse(text)
    with pytest.raises(InvalidArguments):
        Policy.parse(text.replace(*change))


def test_decisions_are_made_again_from_json() -> None:
    for name, subject, request, *_ in TABLE:
        facts = json.loads(json.dumps([subject.to_json(), request.to_json()]))
        again_subject, again_request = Subject.from_json(facts[0]), Request.from_json(facts[1])
        verdict = check(subject, request, POLICY)
        assert check(again_subject, again_request, POLICY) == verdict, name
        assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict
        assert again_subject == subject
        assert again_request == request


def test_it_takes_microseconds() -> None:
    rows = [(subject, request) for _, subject, request, *_ in TABLE]
    random.Random(5).shuffle(rows)
    best = min(_p99(rows) for _ in range(5))
    assert best < 200e-6  # the goal is 20 µs on an idle machine: bench/security/latency.py


def _p99(rows: list[tuple[Subject, Request]]) -> float:
    times = []
    for subject, request in rows * 5:
        began = time.perf_counter()
        check(subject, request, POLICY)
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) * 99 // 100]
