"""The file device: what it reads and writes, and that nothing leads out of a granted folder."""

import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cabinos.drivers import beneath
from cabinos.drivers.files import driver, edited, matches
from cabinos.kernel.capability import Capabilities, files
from cabinos.kernel.driver import Tool
from cabinos.kernel.errors import Denied, InvalidArguments, ToolError
from tests.drivers.support import call, context, named

FILES = driver({})
READ, LIST, FIND = (named(FILES, f"files_{verb}") for verb in ("read", "list", "find"))
SEARCH, WRITE, EDIT = (named(FILES, f"files_{verb}") for verb in ("search", "write", "edit"))


class House:
    """A granted folder `in` (rw), one that may only be read, and a secret outside of both."""

    def __init__(self, path: Path) -> None:
        self.inside, self.library, self.secret = path / "in", path / "library", path / "secret.txt"
        self.inside.mkdir()
        self.library.mkdir()
        self.secret.write_text("SECRET")
        self.capabilities = Capabilities(files=(files(self.inside, "rw"), files(self.library)))

    def call(self, tool: Tool, *, key: str = "1.1", **given: Any) -> str:
        answer = call(tool, context(self.capabilities, key=key), **given)
        assert isinstance(answer, str)
        return answer


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


# ---- Declarations --------------------------------------------------------------------------------


def test_declared_effects() -> None:
    assert {tool.name: (tool.effect, tool.label, tool.authority) for tool in FILES.tools} == {
        "files_read": ("pure", "untrusted", ()),
        "files_list": ("pure", "untrusted", ()),
        "files_find": ("pure", "untrusted", ()),
        "files_search": ("pure", "untrusted", ()),
        "files_write": ("local", "trusted", ("path",)),
        "files_edit": ("local", "trusted", ("path",)),
    }


# ---- Confinement ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["in/../secret.txt", "../secret.txt", "/etc/passwd", "~/x", ""])
def test_names_that_lead_outside_are_denied(house: House, path: str) -> None:
    for tool, more in ((READ, {}), (WRITE, {"text": "x"}), (EDIT, {"old": "S", "new": "x"})):
        with pytest.raises(Denied):
            house.call(tool, path=path, **more)
    assert house.secret.read_text() == "SECRET"


def test_no_host_path_is_shown(house: House) -> None:
    for path in ("in/missing/x", "in/missing"):
        for tool in (READ, LIST):
            with pytest.raises(ToolError) as raised:
                house.call(tool, path=path)
            assert str(house.inside.parent) not in str(raised.value)
            assert path in str(raised.value)


def test_links_are_not_followed_wherever_they_stand(house: House) -> None:
    (house.inside / "file").symlink_to("../secret.txt")
    (house.inside / "up").symlink_to("..")
    (house.inside / "loop").symlink_to("loop")
    (house.inside / "gone").symlink_to("../new.txt")
    for path in ("in/file", "in/up/secret.txt", "in/loop", "in/gone"):
        for tool, more in ((READ, {}), (WRITE, {"text": "x"}), (EDIT, {"old": "S", "new": "x"})):
            with pytest.raises(Denied, match="symbolic links are not followed"):
                house.call(tool, path=path, **more)
    with pytest.raises(Denied):
        house.call(LIST, path="in/up")
    assert house.secret.read_text() == "SECRET"
    assert not (house.inside.parent / "new.txt").exists()
    assert "file  (link, cannot be opened)" in house.call(LIST, path="in")
    assert house.call(FIND, pattern="*") == "No file matches."
    assert house.call(SEARCH, query="SECRET") == "No line matches."


def test_a_granted_folder_that_became_a_link_is_refused(house: House) -> None:
    house.inside.rmdir()
    house.inside.symlink_to(house.library)
    (house.library / "x").write_text("x")
    with pytest.raises(Denied, match="symbolic links"):
        house.call(READ, path="in/x")


def swap_before(
    monkeypatch: pytest.MonkeyPatch, name: str, function: str, swap: Callable[[], None]
) -> None:
    """Runs `swap` right before the first call of os.<function> on `name`: the worst moment."""
    real = getattr(os, function)
    done = threading.Event()

    def hooked(path: Any, *rest: Any, **named: Any) -> Any:
        if path == name and not done.is_set():
            done.set()
            swap()
        return real(path, *rest, **named)

    monkeypatch.setattr(beneath.os, function, hooked)


def test_a_file_swapped_for_a_link_between_look_and_open(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = house.inside / "victim.txt"
    victim.write_text("fine")

    def swap() -> None:
        victim.unlink()
        victim.symlink_to(house.secret)

    swap_before(monkeypatch, "victim.txt", "open", swap)
    with pytest.raises(Denied, match="symbolic links"):
        house.call(READ, path="in/victim.txt")


@pytest.mark.parametrize("tool", [READ, WRITE])
def test_a_folder_swapped_for_a_link_on_the_way(
    house: House, monkeypatch: pytest.MonkeyPatch, tool: Tool
) -> None:
    folder = house.inside / "folder"
    folder.mkdir()
    (folder / "secret.txt").write_text("fine")

    def swap() -> None:
        folder.rename(house.inside / "aside")
        folder.symlink_to(house.secret.parent)

    swap_before(monkeypatch, "folder", "open", swap)
    with pytest.raises(Denied, match="symbolic links"):
        house.call(tool, path="in/folder/secret.txt", **({"text": "x"} if tool is WRITE else {}))
    assert house.secret.read_text() == "SECRET"


def test_a_folder_swapped_after_it_was_opened_does_not_matter(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened stays what it is: the write lands in the folder moved aside."""
    folder = house.inside / "folder"
    folder.mkdir()

    def swap() -> None:
        folder.rename(house.inside / "aside")
        folder.symlink_to(house.secret.parent)

    swap_before(monkeypatch, "secret.txt", "stat", swap)
    house.call(WRITE, path="in/folder/secret.txt", text="mine")
    assert (house.inside / "aside/secret.txt").read_text() == "mine"
    assert house.secret.read_text() == "SECRET"


def test_swapping_without_end_never_shows_the_secret(house: House) -> None:
    good, bad, spot = (house.inside / name for name in ("good", "bad", "spot"))
    good.mkdir()
    (good / "secret.txt").write_text("fine")
    bad.symlink_to(house.secret.parent)
    stop = threading.Event()

    def swapping() -> None:
        while not stop.is_set():
            good.rename(spot)
            spot.rename(good)
            bad.rename(spot)
            spot.rename(bad)

    swapper = threading.Thread(target=swapping)
    swapper.start()
    try:
        outcomes = set()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not {"fine", Denied} <= outcomes:
            try:
                outcomes.add(house.call(READ, path="in/spot/secret.txt"))
            except (ToolError, Denied) as error:
                outcomes.add(type(error))
    finally:
        stop.set()
        swapper.join()
    assert "SECRET" not in outcomes


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_what_is_no_file_is_refused_at_once(house: House, kind: str) -> None:
    path = house.inside / "odd"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            folder = os.open(house.inside, os.O_RDONLY)
            listener.bind(f"/proc/self/fd/{folder}/odd")  # sun_path is short
            os.close(folder)
    for tool, more in ((READ, {}), (WRITE, {"text": "x"})):
        with pytest.raises(ToolError, match="not a file"):
            house.call(tool, path="in/odd", **more)
    assert house.call(SEARCH, query="x") == "No line matches."


def test_a_pipe_put_in_place_of_a_file_does_not_block(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = house.inside / "victim"
    victim.write_text("fine")

    def swap() -> None:
        victim.unlink()
        os.mkfifo(victim)

    swap_before(monkeypatch, "victim", "open", swap)
    with pytest.raises(ToolError, match="not a regular file"):
        house.call(READ, path="in/victim")


def test_no_descriptor_is_left_open(house: House) -> None:
    (house.inside / "a/b").mkdir(parents=True)
    (house.inside / "a/b/x.txt").write_text("x")
    opened = Path("/dev/fd")
    before = len(list(opened.iterdir()))
    for _ in range(20):
        house.call(READ, path="in/a/b/x.txt")
        house.call(FIND, pattern="x.*")
        house.call(SEARCH, query="x")
        house.call(WRITE, path="in/a/b/y.txt", text="y")
        for path in ("in/a/missing", "in/a/b/x.txt/y", "in/a"):
            with pytest.raises(ToolError):
                house.call(READ, path=path)
    assert len(list(opened.iterdir())) <= before + 3


# ---- Reading -------------------------------------------------------------------------------------


def test_a_whole_file_is_exactly_its_text(house: House) -> None:
    for content in ("", "one\ntwo\n", "no end", "a\r\nb\r\n", "ünï ✓ \u2028 x\x0b\n"):
        (house.inside / "x.txt").write_bytes(content.encode())
        assert house.call(READ, path="in/x.txt") == content


def test_pages_join_to_the_whole(house: House) -> None:
    content = "".join(f"line {n}\n" for n in range(1, 2501))
    (house.inside / "x.txt").write_text(content)
    first = house.call(READ, path="in/x.txt")
    assert first.startswith("[lines 1 to 1000; more from offset=1001]\nline 1\n")
    last = house.call(READ, path="in/x.txt", offset=2001, limit=600)
    assert last.startswith("[lines 2001 to 2500, the last]\nline 2001\n")
    middle = house.call(READ, path="in/x.txt", offset=1001)
    assert "".join(page.partition("]\n")[2] for page in (first, middle, last)) == content
    tail = house.call(READ, path="in/x.txt", offset=-3)
    assert tail == "[lines 2498 to 2500, the last]\nline 2498\nline 2499\nline 2500\n"
    with pytest.raises(ToolError, match="has 2500 lines; there is no line 2501"):
        house.call(READ, path="in/x.txt", offset=2501)


def test_one_endless_line_is_read_in_pages(house: House) -> None:
    content = "x" * 120_000
    (house.inside / "x.json").write_text(content)
    pages, offset = [], 1
    while offset:
        note, _, page = house.call(READ, path="in/x.json", offset=offset).partition("]\n")
        pages.append(page)
        assert len(page) <= 50_000
        offset = int(note.partition("offset=")[2] or 0)
    assert "".join(pages) == content
    assert len(pages) == 3


def test_encodings(house: House) -> None:
    text = "Größe\nπ\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        (house.inside / "x.txt").write_bytes(text.encode(encoding))
        assert house.call(READ, path="in/x.txt") == text
    (house.inside / "x.txt").write_bytes("Größe\n".encode("latin-1"))
    assert house.call(READ, path="in/x.txt") == "[not valid UTF-8, so read as latin-1]\nGröße\n"
    (house.inside / "x.txt").write_bytes(b"\xff\xfe\x00\xd8\x00")  # UTF-16, cut in a pair
    with pytest.raises(ToolError, match="begins like utf-16 but is not"):
        house.call(READ, path="in/x.txt")


def test_a_character_on_the_edge_of_what_is_sniffed(house: House) -> None:
    content = "x" * 8191 + "ü\n"
    (house.inside / "x.txt").write_text(content)
    assert house.call(READ, path="in/x.txt") == content


def test_binary_files_and_folders_are_not_text(house: House) -> None:
    (house.inside / "x.bin").write_bytes(b"\x7fELF\0\0\0")
    with pytest.raises(ToolError, match="in/x.bin is a binary file"):
        house.call(READ, path="in/x.bin")
    with pytest.raises(ToolError, match="in is a folder"):
        house.call(READ, path="in")


@pytest.mark.parametrize("given", [{"limit": 0}, {"limit": 10**6}, {"offset": -5000}, {"line": 3}])
def test_arguments_out_of_range(house: House, given: dict[str, int]) -> None:
    with pytest.raises(InvalidArguments):
        house.call(READ, path="in/x", **given)


def test_a_single_file_can_be_granted(house: House) -> None:
    house.capabilities = Capabilities(files=(files(house.secret, "rw", "it"),))
    assert house.call(READ, path="it") == "SECRET"
    assert house.call(SEARCH, query="SEC") == "it:1: SECRET"
    house.call(WRITE, path="it", text="new")
    assert house.secret.read_text() == "new"
    with pytest.raises(ToolError, match="is not a folder"):
        house.call(READ, path="it/x")


# ---- Looking around ------------------------------------------------------------------------------


def test_listing(house: House) -> None:
    assert house.call(LIST) == "in  read and write\nlibrary  read only"
    assert house.call(LIST, path="in") == "The folder is empty."
    (house.inside / "sub").mkdir()
    (house.inside / "a\nb\x1b[2J").write_text("12345")
    os.utime(house.inside / "a\nb\x1b[2J", (0, 0))
    listed = house.call(LIST, path="in").splitlines()
    assert listed[0].startswith("a\\nb\\x1b[2J  5 bytes  1970-01-01 ")
    assert listed[1] == "sub/"


def test_a_name_that_is_not_utf8_is_shown_escaped(house: House) -> None:
    (house.inside / os.fsdecode(b"caf\xe9")).write_text("x")
    assert house.call(LIST, path="in").startswith("caf\\udce9  ")
    assert house.call(FIND, pattern="caf*") == "in/caf\\udce9"


def test_listings_and_finds_are_bounded(house: House) -> None:
    for number in range(1_003):
        (house.inside / f"{number:04}").touch()
    assert house.call(LIST, path="in").splitlines()[1000:] == ["[3 more; files_find picks by name]"]
    assert house.call(FIND, pattern="*").splitlines()[1000:] == ["[only the first 1,000 are shown]"]


def test_finding(house: House) -> None:
    for name in ("a.csv", "x/b.csv", "x/y/c.csv", "x/y/d.txt", ".hidden/e.csv", "x/.f.csv"):
        (house.inside / name).parent.mkdir(parents=True, exist_ok=True)
        (house.inside / name).touch()
    (house.library / "g.csv").touch()
    find = lambda *a: house.call(FIND, **dict(zip(("pattern", "path"), a, strict=False))).split()  # noqa: E731
    assert find("*.csv") == ["in/a.csv", "in/x/b.csv", "in/x/y/c.csv", "library/g.csv"]
    assert find("*.csv", "in/x") == ["in/x/b.csv", "in/x/y/c.csv"]
    assert find("x/**/*.csv", "in") == ["in/x/b.csv", "in/x/y/c.csv"]
    assert find("x/*/?.txt", "in") == ["in/x/y/d.txt"]


@given(
    st.lists(st.sampled_from("ab"), max_size=6),
    st.lists(st.sampled_from(["a", "*", "**"]), max_size=6),
)
def test_matching_agrees_with_its_definition(path: list[str], pattern: list[str]) -> None:
    def defined(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
        if not pattern:
            return not path
        if pattern[0] == "**":
            return any(defined(path[n:], pattern[1:]) for n in range(len(path) + 1))
        return bool(path) and pattern[0] in ("*", path[0]) and defined(path[1:], pattern[1:])

    assert matches(tuple(path), tuple(pattern)) == defined(tuple(path), tuple(pattern))


def test_searching(house: House) -> None:
    (house.inside / "a.py").write_text("def f():\n    return 1\r\n# Return\n")
    (house.inside / "b.txt").write_bytes("return größe".encode("latin-1"))
    (house.inside / "c.bin").write_bytes(b"return\0")
    assert (
        house.call(SEARCH, query="return")
        == "in/a.py:2:     return 1\nin/b.txt:1: return gr\ufffd\ufffde"
    )
    assert house.call(SEARCH, query="RETURN", ignore_case=True, names="*.py") == (
        "in/a.py:2:     return 1\nin/a.py:3: # Return"
    )
    assert house.call(SEARCH, query=r"^\s+return \d$", regex=True) == "in/a.py:2:     return 1"
    assert house.call(SEARCH, query="f(", path="in/a.py") == "in/a.py:1: def f():"
    assert house.call(SEARCH, query=r"(?-i)X", regex=True, ignore_case=True) == "No line matches."


def test_searching_is_bounded(house: House) -> None:
    (house.inside / "x").write_text("match\n" * 500 + "y" * 5_000 + "z" * 5_000)
    found = house.call(SEARCH, query="match").splitlines()
    assert len(found) == 201
    assert found[-1] == "[only the first 200 lines are shown]"
    (line,) = house.call(SEARCH, query="yz").splitlines()
    assert len(line) < 330


def test_a_catastrophic_pattern_costs_nothing(house: House) -> None:
    (house.inside / "x").write_text("a" * 5_000 + "b\n")
    started = time.monotonic()
    assert house.call(SEARCH, query="(a+)+$", regex=True) == "No line matches."
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("query", ["(", "(?=x)", r"\1", "(?:a{1000}){1000}"])
def test_a_pattern_that_cannot_be_used(house: House, query: str) -> None:
    with pytest.raises(InvalidArguments, match="the pattern .* cannot be used: "):
        house.call(SEARCH, query=query, regex=True)


def test_folders_nested_without_end(house: House) -> None:
    folder = house.inside
    for _ in range(40):
        folder = folder / "d"
    folder.mkdir(parents=True)
    (folder / "deep.txt").touch()
    assert house.call(FIND, pattern="deep.txt") == "No file matches."


# ---- Writing -------------------------------------------------------------------------------------


def test_writing_creates_folders_and_keeps_permissions(house: House) -> None:
    assert house.call(WRITE, path="in/new/x.txt", text="Größe") == "Created in/new/x.txt: 7 bytes."
    target = house.inside / "new/x.txt"
    target.chmod(0o751)
    assert house.call(WRITE, path="in/new/x.txt", text="").startswith("Replaced")
    assert target.read_bytes() == b""
    assert stat.S_IMODE(target.stat().st_mode) == 0o751
    assert [path.name for path in target.parent.iterdir()] == ["x.txt"]


def test_a_reader_sees_the_old_or_the_new_file(house: House) -> None:
    target = house.inside / "x.txt"
    target.write_text("old")
    with target.open() as reader:
        house.call(WRITE, path="in/x.txt", text="new")
        assert reader.read() == "old"
    assert target.read_text() == "new"


def test_what_may_only_be_read_is_not_written(house: House) -> None:
    (house.library / "x.txt").write_text("old")
    for tool, more in ((WRITE, {"text": "n"}), (EDIT, {"old": "old", "new": "n"})):
        with pytest.raises(Denied, match="'library' may only be read"):
            house.call(tool, path="library/x.txt", **more)
    with pytest.raises(Denied):
        house.call(WRITE, path="library/new/x.txt", text="n")
    assert [path.name for path in house.library.iterdir()] == ["x.txt"]


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_a_write_that_fails_leaves_everything_as_it_was(
    house: House, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    (house.inside / "x.txt").write_text("old")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(beneath.os, failing, fail)
    with pytest.raises(ToolError, match="in/x.txt: No space left on device"):
        house.call(WRITE, path="in/x.txt", text="new")
    assert (house.inside / "x.txt").read_text() == "old"
    assert len(list(house.inside.iterdir())) == 1


def test_a_call_repeated_after_a_crash_takes_up_its_litter(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as crash:
        crash.setattr(beneath.os, "rename", killed)
        crash.setattr(beneath.os, "unlink", lambda *_, **__: None)
        with pytest.raises(Killed):
            house.call(WRITE, path="in/x.txt", text="new", key="7.3")
    assert [path.suffix for path in house.inside.iterdir()] == [".tmp"]
    house.call(WRITE, path="in/x.txt", text="new", key="7.3")
    assert [path.name for path in house.inside.iterdir()] == ["x.txt"]


def test_writing_over_a_folder(house: House) -> None:
    (house.inside / "sub").mkdir()
    for path in ("in/sub", "in"):
        with pytest.raises(ToolError, match="is a folder"):
            house.call(WRITE, path=path, text="x")


def test_text_that_is_no_unicode_is_refused(house: House) -> None:
    with pytest.raises((ToolError, InvalidArguments)):
        house.call(WRITE, path="in/x.txt", text="\ud800")
    assert not (house.inside / "x.txt").exists()


def test_huge_text_is_refused(house: House) -> None:
    with pytest.raises(ToolError, match="at most 10,485,760 are written"):
        house.call(WRITE, path="in/x.txt", text="x" * (10 << 20) + "y")


def test_editing_twice_is_editing_once(house: House) -> None:
    target = house.inside / "x.txt"
    target.write_text("a = 1\nb = 2\n")
    edit = {"path": "in/x.txt", "old": "a = 1\n", "new": "a = 1\na2 = 1\n"}
    assert house.call(EDIT, **edit) == "Edited in/x.txt."
    assert "nothing was changed" in house.call(EDIT, **edit)
    assert target.read_text() == "a = 1\na2 = 1\nb = 2\n"


def test_editing_needs_one_place(house: House) -> None:
    (house.inside / "x.txt").write_text("x x")
    for old, count in (("x", 2), ("y", 0)):
        with pytest.raises(ToolError, match=f"occurs {count} times"):
            house.call(EDIT, path="in/x.txt", old=old, new="z")


def test_editing_keeps_encoding_and_line_ends(house: House) -> None:
    target = house.inside / "x.txt"
    target.write_bytes("grün\r\nrot\r\n".encode("latin-1"))
    house.call(EDIT, path="in/x.txt", old="grün\nrot", new="blau\ngrün")
    assert target.read_bytes() == "blau\r\ngrün\r\n".encode("latin-1")
    with pytest.raises(ToolError, match="latin-1 cannot express"):
        house.call(EDIT, path="in/x.txt", old="blau", new="π")
    target.write_text("eins", "utf-16")
    house.call(EDIT, path="in/x.txt", old="eins", new="π")
    assert target.read_text("utf-16") == "π"


@given(
    st.text("ab", max_size=12), st.text("ab", min_size=1, max_size=3), st.text("abc", max_size=4)
)
@example("aabb", "ab", "")
def test_what_was_edited_is_not_changed_by_a_repeated_call(
    content: str, old: str, new: str
) -> None:
    try:
        after = edited(content, old, new)
    except ValueError:
        return
    if after is not None:
        assert after == content.replace(old, new, 1)
        with suppress(ValueError):
            assert edited(after, old, new) is None
