"""Nothing that was alive in Markdown or HTML is so afterwards; a Markdown parser is the judge."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cabinos.render.answer import Origin, Rendering, quotes, rendered
from cabinos.render.inert import inert

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
PIECES = [
    "![", "[", "]", "(", ")", "](", "][r]", "[r]:", "]: ", "<", ">", "img src=", "a href=", "/",
    "!--", "http://evil.example/?q=42", "//evil.example/x", "www.evil.example", "data:text/html,x",
    "\n", "```", "~~~", "$$", " ", "  ", "- ", "> ", "1. ", "\\", "`", '"', "x", "&lt;",
    "<img src=//e/x>", "![a](//e/x)", "\u200b", "\x1b]8;;http://evil.example/\x07", "<div style=",
    "<http://evil.example>", "svg onload=", "%5D%28//e%29", "http://%5D%28%2F%2Fe%29",
]  # fmt: skip
MARKDOWN = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30).map("".join)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)


def alive(markdown: str) -> list[str]:
    """What a reader of Markdown could follow, or would load."""
    found: list[str] = []
    for block in PARSER.parse(markdown):
        found += (
            f"{token.type} {token.content} {token.attrs}"
            for token in [block, *(block.children or ())]
            if token.type in ("image", "link_open", "html_block", "html_inline")
        )
    return found


def shown(text: str, *known: str) -> str:
    return rendered(text, Origin(known=frozenset(known)))[0]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("![a](http://evil.example/?q=1)", "![a] (‹evil.example/?q=1›)"),
        ("see [this](https://evil.example/x).", "see [this] (‹evil.example/x›)."),
        ("[a][r]\n\n[r]: http://evil.example/x", "[a][r]\n\n[r] : ‹evil.example/x›"),
        ("<img src=//evil.example/x>", "‹img src=//evil.example/x>"),
        ("<https://evil.example/x> is", "‹evil.example/x› is"),
        ("(https://evil.example/a_(b)), yes", "(‹evil.example/a_(b)›), yes"),
        ("https://bank.example@evil.example:8080/", "‹evil.example:8080/›"),
        ("http://аpple.com/login", "‹xn--pple-43d.com/login›"),
        ("HTTPS://EVIL.example", "‹EVIL.example›"),
        ("www.evil.example/x", "‹www[.]evil.example/x›"),
        ("data:text/html;base64,PGk+", "‹data text/html;base64,PGk+›"),
        ("javascript:alert(1)", "‹javascript alert(1)›"),
        ("file:///etc/passwd", "‹file /etc/passwd›"),
        ("h\u200bttp://evil.example", "‹evil.example›"),
        (f"http://evil.example/{'a' * 500}", f"‹evil.example/{'a' * 58}…›"),
        ("2 < 3, a <= b, 12:30, Note: x.", "2 < 3, a <= b, 12:30, Note: x."),
        ("Ask bob@x.org about e.g. main.py", "Ask bob@x.org about e.g. main.py"),
    ],
)
def test_what_it_makes_of(text: str, after: str) -> None:
    assert shown(text) == after
    assert alive(after) == []


def test_an_address_that_was_typed_stays() -> None:
    url = "https://docs.example/a"
    assert shown(f"see {url}, or https://docs.example/b", url) == (
        f"see {url}, or ‹docs.example/b›"
    )


def test_code_stays_code() -> None:
    code = "```sh\nls -l | sort\n```\n```c\n#include <stdio.h>\nList<String> x;\n```"
    assert shown(code) == code
    assert shown("```sh\ncurl https://x.example/a | sh\n```") == (
        "```sh\ncurl ‹x.example/a› | sh\n```"
    )


def test_a_block_that_is_none_hides_nothing() -> None:
    for text in (
        "- a\n  ```\n![](//e/x)",
        "~~~\n```\n~~~\n![](//e/x)\n```",
        "$$\n```\n$$\n<img src=//e/x>\n```",
        "```a`b\n[x](//e/x)",
        "```\n   ```\n![r]\n\n[r]: //e/x",
        "~~~\n```\n~~~\n<div style=background:url(//e/x)>\n",
    ):
        assert "$$" in text or alive(text)  # a reader that knows formulas takes them for the block
        made = shown(text)
        for line in made.split("\n"):
            assert alive(line) == [], made
        assert alive(made) == [], made


@settings(deadline=None)
@given(MARKDOWN)
def test_nothing_is_alive(text: str) -> None:
    made = shown(text)
    assert alive(made) == [], made
    tags = _Tags()
    tags.feed(made)
    assert not {"img", "a", "iframe", "svg", "link", "script"} & set(tags.found)
    assert "http://" not in made


@settings(deadline=None)
@given(MARKDOWN, st.lists(st.integers(0, 200)))
def test_the_pieces_in_which_it_comes_do_not_matter(text: str, cuts: list[int]) -> None:
    origin = Origin(read=(("page", "a man who lived in the red house on the northern hill"),))
    whole = rendered(text, origin)[0]
    rendering, pieces, at = Rendering(origin), [], 0
    for cut in sorted(cuts):
        pieces += rendering.push(text[at:cut])
        at = max(at, cut)
    pieces += rendering.push(text[at:]) + rendering.close()
    assert "".join(p.shown for p in pieces) == whole
    assert "".join(p.raw for p in pieces) == text


def test_a_word_that_never_ends_is_broken_alive_nowhere() -> None:
    for length in range(1990, 2003):
        assert alive(shown(f"![{'a' * length}](//e/x)")) == []
        assert alive(shown(f"{'a' * length}<img/src=//e/x>")) == []


@settings(deadline=None)
@given(st.text(max_size=50))
def test_a_word_is_never_lost(word: str) -> None:
    """Beside addresses and markup, every letter is still there."""
    word = "".join(word.split())
    if not any(sign in word for sign in (":", "<", "]", "www.")):
        assert inert(word) == word


def test_quotations_are_found_and_named() -> None:
    page = "The council said: Pay the bill of 400 pounds\nto Mr Black by Friday, or else."
    origin = Origin(read=(("web:x.org", page), ("files:a", "Nothing of note here at all, really.")))
    text = "It says “pay the BILL of 400 pounds to Mr Black by Friday” at the end."
    (found,) = quotes(text, origin)
    assert text[found.start : found.end] == "“pay the BILL of 400 pounds to Mr Black by Friday”"
    assert found.source == "web:x.org"
    made, (marked,) = rendered(f"See http://e.example/. {text}", origin)
    assert made[marked.start : marked.end] == text[found.start : found.end]
    assert quotes("It asks for 400 pounds by Friday.", origin) == []


@settings(deadline=None)
@given(st.text(st.characters(categories=["L"]), min_size=40, max_size=80), st.text(max_size=20))
def test_a_quotation_is_found_wherever_it_stands(said: str, around: str) -> None:
    origin = Origin(read=(("page", f"before {said} after"),))
    text = f"{around} {said} {around}"
    found = quotes(text, origin)
    assert any(text[q.start : q.end].find(said) >= 0 for q in found)


def test_an_address_within_an_address_is_none() -> None:
    assert shown("http://x.example/?u=http://evil.example/") == "‹x.example/?u=http:evil.example/›"
    assert shown("http://%5D%28%2F%2Fe%29/") == "‹] (//e)/›"
