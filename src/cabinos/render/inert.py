"""Links, images and HTML as text that nobody can follow by accident, and nothing fetches.

Nothing is parsed: a reader that parses differently would be led past it. What makes Markdown and
HTML live is broken wherever it stands, in a way that can be read and is still code where it was:

    ![a](http://evil.example/?q=1)   ![a] (‹evil.example/?q=1›)
    [r]: http://evil.example/        [r] : ‹evil.example/›
    <img src=//evil.example/x>       ‹img src=//evil.example/x>
    https://bank.example@evil.org/   ‹evil.org/›

In a fenced block, tags that load nothing stay as they are: there, `List<String>` is code.
"""

import re
from collections.abc import Collection
from urllib.parse import unquote

from cabinos.render.characters import visible

__all__ = ["inert"]

SHOWN = 60  # characters of an address behind its host
MAX_HOST = 253  # of a name (RFC 1035, 2.3.4); what is longer is none
# An address with a scheme, one of those that need no slashes, or a name that says it is one.
ADDRESS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,30})://(?P<rest>[^\s<>\"'`\[\]{}|^]*)"
    r"|\b(?P<other>javascript|vbscript|data|mailto|xmpp|tel|sms):(?P<content>[^\s<>\"'`\[\]{}|^]+)"
    r"|(?<![\w.@/‹-])(?P<www>www\.[^\s<>\"'`\[\]{}|^]+)",
    re.IGNORECASE,
)
WWW = re.compile(r"www\.", re.IGNORECASE)  # many readers make a link of that alone
WEB = ("http", "https", "ftp", "ws", "wss")
MARKUP = re.compile(r"\](?=[(:])|<(?=[a-z/!?])", re.IGNORECASE)
# Tags that load, run, hide where they lead, or change how the rest is read; and those that have
# attributes, behind a space: a style may load too.
LOADING = re.compile(
    r"\](?=[(:])|<(?=/?(?:a|applet|area|audio|base|body|button|embed|form|frame|frameset|iframe|"
    r"image|img|input|link|math|meta|noscript|object|picture|script|source|style|svg|table|td|"
    r"template|th|track|use|video|xml)\b|[!?]|[a-z][\w-]*/?$)",
    re.IGNORECASE,
)


def inert(word: str, known: Collection[str] = (), *, code: bool = False) -> str:
    """A word, which has no space in it, with nothing alive but addresses that are `known`.

    `code`: it stands in a fenced block.
    """
    markup = LOADING if code else MARKUP
    parts, at = [], 0
    for found in ADDRESS.finditer(word):
        address = found[0].rstrip(".,;:!?*_~")
        while address.endswith(")") and address.count(")") > address.count("("):
            address = address[:-1].rstrip(".,;:!?*_~")
        start, end = found.start(), found.start() + len(address)
        whole = ADDRESS.match(address)
        if start < at or whole is None:
            continue
        if word[start - 1 : start] == "<" and word[end : end + 1] == ">":  # an autolink
            parts.append(markup.sub(_broken, word[at : start - 1]))
            at = end + 1
        else:
            parts.append(markup.sub(_broken, word[at:start]))
            at = end
        parts.append(address if address in known else _shown(whole))
    return "".join([*parts, markup.sub(_broken, word[at:])])


def _broken(found: "re.Match[str]") -> str:
    return "] " if found[0] == "]" else "‹"


def _shown(found: "re.Match[str]") -> str:
    """An address as text: the whole host as a name server is asked for it, and some of the rest."""
    if found["other"]:
        text = f"{found['other'].lower()} {_cut(found['content'])}"
    elif found["www"]:
        text = _host(found["www"])
    else:
        scheme = found["scheme"].lower()
        text = ("" if scheme in WEB else f"{scheme} ") + _host(found["rest"])
    text = WWW.sub("www[.]", text.replace("://", ":"))  # nothing is alive within it either
    return f"‹{MARKUP.sub(_broken, text)}›"


def _host(rest: str) -> str:
    """Host and path of what stands behind the slashes; without user name and password."""
    place, path = re.match(r"([^/?#\\]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    host = unquote(place.rpartition("@")[2])
    try:
        host = host.encode("idna").decode("ascii") if not host.isascii() else host
    except UnicodeError:
        host = host.encode("ascii", "backslashreplace").decode()
    return visible(host[:MAX_HOST]) + _cut(path)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
