"""Capabilities: names of places, and children that never hold more than their parents."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.kernel.capability import Capabilities, FileGrant, files
from cabinos.kernel.errors import Denied, InvalidArguments


def test_a_grant_is_absolute_without_links_and_named_after_its_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert files(tmp_path / "link") == FileGrant(tmp_path.resolve() / "real", "r", "real")
    assert files(tmp_path / "real", "rw", "out") == FileGrant(
        tmp_path.resolve() / "real", "rw", "out"
    )


@pytest.mark.parametrize(
    ("path", "mode", "name"),
    [
        ("missing", "r", None),
        (".", "w", None),
        (".", "r", "a/b"),
        (".", "r", ".."),
        (".", "r", "a\nb"),
        ("a\0b", "r", None),
    ],
)
def test_what_cannot_be_granted(tmp_path: Path, path: str, mode: str, name: str | None) -> None:
    with pytest.raises(InvalidArguments):
        files(f"{tmp_path}/{path}", mode, name)  # type: ignore[arg-type]


def test_names_of_grants_are_unique() -> None:
    with pytest.raises(InvalidArguments, match="two granted folders are called 'x'"):
        Capabilities(files=(FileGrant(Path("/a/x"), "r", "x"), FileGrant(Path("/b/x"), "r", "x")))


def test_a_path_begins_with_the_name_of_a_grant() -> None:
    mail = FileGrant(Path("/home/me/mail"), "r", "mail")
    held = Capabilities(files=(mail,))
    assert held.locate("mail") == (mail, ())
    assert held.locate("mail//inbox/./1.txt/") == (mail, ("inbox", "1.txt"))
    assert held.locate("inbox/1.txt") == (mail, ("inbox", "1.txt"))  # it can be no other
    two = Capabilities(files=(mail, FileGrant(Path("/home/me/music"), "r", "music")))
    with pytest.raises(Denied, match=r"There are: 'mail' \(r\), 'music' \(r\)"):
        two.locate("inbox/1.txt")
    for bad in ("", "/", "/home/me/mail", "mail/../x", "..", "~/mail", "mail/a\0b"):
        with pytest.raises(Denied):
            held.locate(bad)
    with pytest.raises(Denied, match="No folders were granted"):
        Capabilities().locate("mail")


def test_a_child_gets_a_folder_inside_its_parents() -> None:
    parent = Capabilities(files=(FileGrant(Path("/home/me/mail"), "rw", "mail"),))
    inbox = parent.grant("mail/inbox", "rw")
    assert inbox == FileGrant(Path("/home/me/mail/inbox"), "rw", "inbox")
    child = parent.attenuate(Capabilities(files=(inbox,)))
    assert child.locate("inbox/1.txt") == (inbox, ("1.txt",))


def test_a_narrower_grant_is_not_a_wider_one() -> None:
    held = Capabilities(files=(FileGrant(Path("/home/me/mail"), "r", "mail"),))
    assert held.grant("mail/in").mode == "r"
    for path, mode in (("mail/in", "rw"), ("other", "rw"), ("mail/../x", "r"), ("/etc", "r")):
        with pytest.raises(Denied):
            held.grant(path, mode)  # type: ignore[arg-type]
    with pytest.raises(InvalidArguments):
        held.grant("mail", "w")  # type: ignore[arg-type]


def test_a_child_gets_no_other_folder_and_no_wider_mode() -> None:
    parent = Capabilities(files=(FileGrant(Path("/home/me/mail"), "r", "mail"),))
    for root, mode in (
        ("/home/me", "r"),
        ("/home/me/mailing", "r"),
        ("/etc", "r"),
        ("/home/me/mail/in", "rw"),
    ):
        wanted = FileGrant(Path(root), mode, "x")  # type: ignore[arg-type]
        with pytest.raises(Denied, match="'x'"):
            parent.attenuate(Capabilities(files=(wanted,)))


def test_hosts() -> None:
    held = Capabilities(web=("Example.org", "*.wiki.org"))
    assert held.allows_host("example.org")
    assert held.allows_host("EXAMPLE.ORG.")
    assert held.allows_host("en.wiki.org")
    assert not held.allows_host("wiki.org")
    assert not held.allows_host("notwiki.org")
    assert not held.allows_host("www.example.org")
    assert Capabilities(web=("*",)).allows_host("anything.net")
    assert not Capabilities().allows_host("example.org")


TOOLS = st.none() | st.frozensets(st.sampled_from(["a", "b", "c"]))
HOSTS = st.lists(
    st.sampled_from(["*", "a.org", "b.a.org", "*.a.org", "*.b.a.org", "c.net"]), max_size=4
).map(tuple)
GRANTS = st.lists(
    st.builds(
        lambda parts, mode: FileGrant(Path("/", *parts), mode, "_".join(["g", *parts])),
        st.lists(st.sampled_from(["x", "y"]), max_size=3),
        st.sampled_from(["r", "rw"]),
    ),
    max_size=3,
    unique_by=lambda grant: grant.name,
).map(tuple)
CAPABILITIES = st.builds(Capabilities, tools=TOOLS, files=GRANTS, web=HOSTS, shell=st.booleans())


def holds(held: Capabilities, root: Path, writing: bool) -> bool:
    return any(
        root.is_relative_to(grant.root) and (grant.writable or not writing) for grant in held.files
    )


@given(CAPABILITIES, CAPABILITIES)
def test_a_child_holds_what_both_hold(parent: Capabilities, wanted: Capabilities) -> None:
    try:
        child = parent.attenuate(wanted)
    except Denied:
        assert any(not holds(parent, grant.root, grant.writable) for grant in wanted.files)
        return
    for tool in "abc":
        both = parent.allows_tool(tool) and wanted.allows_tool(tool)
        assert child.allows_tool(tool) == both
    for host in ("a.org", "b.a.org", "x.a.org", "x.b.a.org", "c.net", "d.net"):
        both = parent.allows_host(host) and wanted.allows_host(host)
        assert child.allows_host(host) == both
    for grant in child.files:
        assert holds(parent, grant.root, grant.writable)
    assert child.shell == (parent.shell and wanted.shell)
    assert child.attenuate(wanted).web == child.web  # nothing more is lost the second time


@given(CAPABILITIES)
def test_json_and_back(held: Capabilities) -> None:
    assert Capabilities.from_json(json.loads(json.dumps(held.to_json()))) == held
