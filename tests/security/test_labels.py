"""Labels are a join semilattice, and nothing in it goes back up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.kernel.labels import ANYWHERE, MOST, TRUSTED, UNTRUSTED, Label, join

names = st.frozensets(st.sampled_from(["a", "b", "c", "web:x", ANYWHERE]), max_size=4)
many = st.integers(0, 60).map(lambda n: frozenset(f"s{i}" for i in range(n, n + 40)))
labels = st.builds(
    Label,
    st.sampled_from(["trusted", "untrusted"]),
    st.none() | st.frozensets(st.sampled_from(["me", "anna", "bob"])),
    names | many,
)


@given(labels, labels, labels)
def test_join_is_a_semilattice(a: Label, b: Label, c: Label) -> None:
    assert a.join(b) == b.join(a)
    assert a.join(b.join(c)) == a.join(b).join(c)
    assert a.join(a) in (a, Label(a.integrity, a.readers, frozenset((ANYWHERE,))))
    assert a.join(b).join(b) == a.join(b)


@given(labels, labels)
def test_join_is_an_upper_bound(a: Label, b: Label) -> None:
    both = a.join(b)
    assert both.trusted == (a.trusted and b.trusted)
    for one in (a, b):
        assert one.join(both) == both
        assert one.flows_to(both)
        if one.readers is not None:
            assert both.readers is not None
            assert both.readers <= one.readers
        assert one.sources <= both.sources or both.sources == {ANYWHERE}


@given(labels)
def test_json(label: Label) -> None:
    assert Label.from_json(label.to_json()) == label


@given(st.lists(labels))
def test_join_of_many(some: list[Label]) -> None:
    whole = join(some)
    assert whole.trusted == all(label.trusted for label in some)
    assert whole == join(reversed(some))


def test_what_a_join_is() -> None:
    mine = Label("trusted", frozenset(("me", "anna")), frozenset(("a",)))
    web = Label("untrusted", frozenset(("me", "bob")), frozenset(("b",)))
    both = mine.join(web)
    assert both == Label("untrusted", frozenset(("me",)), frozenset(("a", "b")))
    assert mine.join(TRUSTED) == mine == TRUSTED.join(mine)
    assert TRUSTED.join(web).readers == web.readers
    assert join([]) == TRUSTED
    assert TRUSTED.trusted
    assert not UNTRUSTED.trusted
    assert TRUSTED.readers is None
    assert TRUSTED.sources == frozenset()
    assert UNTRUSTED.sources == {ANYWHERE}
    assert mine.join(mine) is mine
    assert TRUSTED.flows_to(mine)
    assert not web.flows_to(mine)


def test_an_endorsement_keeps_readers_and_sources() -> None:
    web = Label("untrusted", frozenset(("me",)), frozenset(("b",)))
    assert web.endorsed() == Label("trusted", frozenset(("me",)), frozenset(("b",)))


@pytest.mark.parametrize(
    ("sources", "allowed", "within"),
    [
        ((), (), True),
        (("web",), ("web",), True),
        (("web:x.org",), ("web",), True),
        (("webmail",), ("web",), False),
        (("web",), ("web:x.org",), False),
        (("web:x.org", "files"), ("web",), False),
        (("web:x.org", "files"), ("web", "files"), True),
        ((ANYWHERE,), ("web", "files"), False),
        (("web",), (), False),
    ],
)
def test_sources_are_covered(
    sources: tuple[str, ...], allowed: tuple[str, ...], within: bool
) -> None:
    assert Label(sources=frozenset(sources)).within(allowed) is within


def test_too_many_sources_are_any_source() -> None:
    whole = join(Label(sources=frozenset((f"s{i}",))) for i in range(MOST))
    assert len(whole.sources) == MOST == 64
    assert whole.join(Label(sources=frozenset(("one more",)))).sources == {ANYWHERE}
    assert whole.join(UNTRUSTED).sources == {ANYWHERE}
    assert Label(sources=frozenset(("a",))).join(UNTRUSTED).sources == {ANYWHERE}
