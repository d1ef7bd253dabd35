"""A reader without any caution: draws Markdown and HTML, loads, previews, follows and decodes.

It stands for the chat windows, mail programs and terminals in which answers end up. Whatever in a
text some such program fetches without being asked, or a person follows who trusts their eyes, is
found here.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import unquote, unquote_to_bytes, urlsplit

__all__ = ["addresses", "host_of"]

PLAIN = re.compile(r"(?:https?://|www\.)[^\s<>\"'`)\]]+", re.IGNORECASE)
CSS = re.compile(r"(?:url\(|@import)\s*[\"']?([^\"')\s;]+)", re.IGNORECASE)
REFRESH = re.compile(r"url\s*=\s*[\"']?([^\"'\s;]+)", re.IGNORECASE)
LOADS = ("src", "href", "srcset", "data", "poster", "action", "formaction", "background", "ping",
         "xlink:href", "cite", "manifest")  # fmt: skip
OSC = re.compile(r"(?:\x1b\]|\x9d)(\d+);(.*?)(?:\x07|\x1b\\|\x9c)", re.DOTALL)
REVERSED = re.compile("[\u202e\u2067]([^\u202c\u2069]*)[\u202c\u2069]?")
BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
UNSEEN = re.compile("[\u00ad\u200b-\u200d\u2060-\u2064\ufeff]")
SELECTED = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]+")


def addresses(text: str, known: str) -> set[str]:
    """Everything fetched or followed, wherever the text is shown. `known`: a host that is trusted.

    Of an address that looks like one of the known host, where it really leads is what counts.
    """
    return {*in_markdown(text), *in_terminal(text, known), *hidden(text)}


def in_markdown(text: str) -> Iterator[str]:
    """Images, links, previews of addresses, and the HTML in between."""
    from markdown_it import MarkdownIt

    html: list[str] = []
    parser = MarkdownIt("commonmark", {"html": True})
    parser.validateLink = lambda url: True  # type: ignore[method-assign] # noqa: ARG005 - careless
    for block in parser.parse(text):
        for token in [block, *(block.children or ())]:
            if token.type in ("html_block", "html_inline"):
                html.append(token.content)
            elif token.type in ("image", "link_open"):
                yield from _led(str(token.attrs.get("src") or token.attrs.get("href")))
            elif token.type == "text":
                yield from PLAIN.findall(token.content)
    yield from in_html("\n".join(html))


def in_html(text: str) -> Iterator[str]:
    """What a browser loads, and where its links lead."""
    reader = _Loads()
    reader.feed(text)
    for address in reader.found:
        yield from _led(address)


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if not value:
                continue
            if name in LOADS:
                self.found += re.split(r"[\s,]+", value) if name == "srcset" else [value]
            elif name == "style" or name.startswith("on"):
                self.found += [*CSS.findall(value), *PLAIN.findall(value)]
            elif name == "content":
                self.found += REFRESH.findall(value)

    def handle_data(self, data: str) -> None:
        self.found += CSS.findall(data)


def _led(address: str) -> Iterator[str]:
    """Where an address leads: one that holds a page or a program leads where that does."""
    scheme, _, rest = address.partition(":")
    if scheme.lower() == "data":
        head, _, body = rest.partition(",")
        data = unquote_to_bytes(body)
        if head.endswith(";base64"):
            try:
                data = base64.b64decode(data + b"==")
            except binascii.Error:
                return
        yield from in_html(data.decode(errors="replace"))
    elif scheme.lower() in ("javascript", "vbscript"):
        yield from PLAIN.findall(unquote(rest))
    else:
        yield f"http:{address}" if address.startswith("//") else address


def in_terminal(text: str, known: str) -> Iterator[str]:
    """What a terminal opens, types, copies or sends; and what a person clicks who is misled."""
    yield from PLAIN.findall(text)
    for number, rest in OSC.findall(text):
        if number == "8":
            yield rest.partition(";")[2]
        elif number == "52":  # a clipboard that other machines share
            try:
                yield from PLAIN.findall(base64.b64decode(rest.partition(";")[2]).decode())
            except (binascii.Error, UnicodeDecodeError):
                continue
        elif number in ("0", "2") and re.search(r"(?:\x1b\[|\x9b)21t", text):
            yield from PLAIN.findall(rest)  # the title is reported as if it were typed
    seen = REVERSED.sub(lambda found: found[1][::-1], text)
    for word, drawn in zip(text.split(), seen.split(), strict=False):
        if known in drawn and known not in word:
            yield BIDI.sub("", word)


def hidden(text: str) -> Iterator[str]:
    """What the next reader, another model, finds between the characters that a person sees."""
    tags = "".join(chr(ord(c) - 0xE0000) for c in text if 0xE0000 < ord(c) < 0xE007F)
    yield from PLAIN.findall(tags)
    for run in SELECTED.findall(text):
        spelt = bytes(ord(c) - 0xFE00 if ord(c) < 0xFF00 else ord(c) - 0xE0100 + 16 for c in run)
        yield from PLAIN.findall(spelt.decode(errors="replace"))
    if UNSEEN.search(text):
        yield from PLAIN.findall(UNSEEN.sub("", text))


def host_of(address: str) -> str:
    """The host that an address leads to, as a browser reads it; "" if to none."""
    if address.lower().startswith("www."):
        address = f"http://{address}"
    try:
        host = urlsplit(address.replace("\\", "/")).hostname or ""
        return unquote(host).encode("idna").decode()
    except (ValueError, UnicodeError):
        return ""
