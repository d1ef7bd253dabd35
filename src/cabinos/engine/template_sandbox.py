"""Jinja for templates by strangers: a GGUF file's chat template is a program that comes with it.

Jinja's own sandbox keeps a template from Python's internals and from changing what it is given. It
does not keep it from running for ever or from filling the memory; this one does, by counting:

- each turn of a loop and each call is a step, and steps and seconds are limited;
- a value that could grow large is measured before it is made (`a * n`, `a ~ b`, `replace`, blocks);
- the few filters and string methods that only pad or repeat are left out.

Everything else is as in transformers' `apply_chat_template`, whose templates these are. What is not
counted is work inside one operation, such as comparing two deeply nested lists.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, ValuesView
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import wraps
from typing import Any

from jinja2 import Environment, Template, TemplateError, nodes, pass_environment
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import do_indent, make_attrgetter
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

MAX_SECONDS = 5.0
MAX_STEPS = 1_000_000
MAX_SIZE = 1 << 24  # characters of a text, elements of a list
MAX_BITS = 1 << 14  # of a number; Python writes none of more than 4,300 digits

# Filters, globals and methods whose result can be far larger than what goes in, and that chat
# templates have no use for.
LEFT_OUT_FILTERS = (
    "batch", "center", "filesizeformat", "format", "pprint", "random", "slice", "sum", "urlize",
    "wordwrap", "xmlattr",
)  # fmt: skip
LEFT_OUT_METHODS = frozenset(
    ("center", "encode", "expandtabs", "format_map", "ljust", "maketrans", "rjust", "to_bytes",
     "translate", "zfill")
)  # fmt: skip

# Filters that write what they are given as text.
TEXT_FILTERS = (
    "capitalize", "e", "escape", "forceescape", "lower", "safe", "string", "striptags", "title",
    "trim", "truncate", "upper", "urlencode", "wordcount",
)  # fmt: skip


class TemplateLimit(TemplateError):
    """The template ran too long or made too much."""


class _Budget:
    def __init__(self) -> None:
        self.steps = MAX_STEPS
        self.deadline = time.monotonic() + MAX_SECONDS


_budget: ContextVar[_Budget] = ContextVar("_budget")


@contextmanager
def _limits() -> Iterator[None]:
    token = _budget.set(_Budget())
    try:
        yield
    except RecursionError:
        raise TemplateLimit("it calls itself without end") from None
    except MemoryError:
        raise TemplateLimit("it needs more memory than there is") from None
    finally:
        _budget.reset(token)


def _step(count: int = 1) -> None:
    budget = _budget.get()
    budget.steps -= count
    if budget.steps < 0 or time.monotonic() > budget.deadline:
        raise TemplateLimit(f"it did not end within {MAX_STEPS:,} steps and {MAX_SECONDS:g} s")


def _room(size: int) -> None:
    if size > MAX_SIZE:
        raise TemplateLimit(f"it makes a value of more than {MAX_SIZE:,} characters or elements")


def _weigh(value: Any) -> int:
    """About how long `value` is as text: [a, a] is twice as long as a, so nesting doubles it."""
    size, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Namespace):
            raise TemplateLimit("it writes out a namespace")
        if isinstance(item, dict):
            item = [*item.keys(), *item.values()]
        if isinstance(item, (list, tuple, AbstractSet, ValuesView)):
            _step(len(item))
            waiting.extend(item)
        size += len(item) if isinstance(item, str) else 1
    return size


def _weighed(value: Any) -> Any:
    _room(_weigh(value))
    return value


def _each(items: Any) -> Any:
    """What a loop runs over, its turns counted."""
    if hasattr(items, "__len__"):
        _step(len(items))
        return items

    def counted() -> Iterator[Any]:
        for item in items:
            _step()
            yield item

    return counted()


def _concatenate(parts: Iterable[Any]) -> str:
    texts, size = [], 0
    for part in parts:
        text = str(_weighed(part))
        size += len(text)
        _room(size)
        texts.append(text)
    return "".join(texts)


class _Count(NodeTransformer):
    """Makes the loops and the `~` of a template count."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "_each", [], [], None, None)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return nodes.Filter(nodes.List(node.nodes), "_concatenate", [], [], None, None)


class _Generation(Extension):
    """`{% generation %}` marks an assistant's words for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 (as jinja2 declares it)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """The environment chat templates are written for: `load` and `render` set the limits."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, loopcontrols],
            optimized=False,  # constants are computed under the limits, too
            finalize=_weighed,
        )
        for name in LEFT_OUT_FILTERS:
            del self.filters[name]
        del self.globals["lipsum"]
        self.filters |= {
            "_each": _each,
            "_concatenate": _concatenate,
            "indent": _indent,
            "join": _join,
            "replace": _replace,
            "tojson": _tojson,
        }
        self.filters |= {name: _of_text(self.filters[name]) for name in TEXT_FILTERS}
        self.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}

    def load(self, source: str) -> Template:
        """Compile a template. Raises TemplateError if it is not one."""
        with _limits():
            return self.from_string(source)

    def render(self, template: Template, values: dict[str, Any]) -> str:
        """Render a template. Raises TemplateError, of which TemplateLimit is one."""
        with _limits():
            return template.render(values)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        return _Count().visit(tree)  # type: ignore[no-any-return]

    def concat(self, parts: Iterable[str]) -> str:
        """Joins the output, or that of a macro or a block."""
        return _concatenate(parts)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Leaves out bytes, and methods that pad."""
        if isinstance(obj, bytes) or (isinstance(obj, (str, int)) and attr in LEFT_OUT_METHODS):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Any:
        """`"…".format`, unless it pads widely."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            _no_padding(value.__self__)
        return wrapped

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Calls a function, macro or method of the template's."""
        _step()
        text = getattr(obj, "__self__", None)
        if isinstance(text, str) and obj.__name__ == "replace" and len(args) > 1:
            _room(text.count(str(args[0])) * len(str(args[1])))
        if isinstance(text, str) and obj.__name__ == "join" and args:
            args = (_joinable(args[0], text),)
        if isinstance(text, str) and obj.__name__ == "format":
            _weighed([*args, *kwargs.values()])
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic whose result can be large."""
        if operator == "%" and isinstance(left, str):
            _no_padding(left)
            _weighed(right)
        elif operator == "+":
            _room(_length(left) + _length(right))
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            _room_for_bits(left.bit_length() * abs(right))
        elif operator == "*" and isinstance(left, int) and isinstance(right, int):
            _room_for_bits(left.bit_length() + right.bit_length())
        elif operator == "*":
            _room(max(_length(left) * _times(right), _times(left) * _length(right)))
        return super().call_binop(context, operator, left, right)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple)) else 0


def _times(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _room_for_bits(bits: int) -> None:
    if bits > MAX_BITS:
        raise TemplateLimit(f"it makes a number of more than {MAX_BITS:,} bits")


def _no_padding(pattern: str) -> None:
    """Refuses a width such as that of "%9999999d", or one given apart."""
    if re.search(r"\d{5}|\*|\{[^{}]*\{", pattern):
        raise TemplateLimit(f"it pads text: {pattern[:80]!r}")


def _joinable(items: Iterable[Any], separator: str) -> list[Any]:
    found = list(_each(items))
    _room(_weigh(found) + len(found) * len(separator))
    return found


def _of_text(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def limited(*args: Any, **kwargs: Any) -> Any:
        return function(*map(_weighed, args), **kwargs)

    return limited


def _indent(text: str, width: int | str = 4, *rest: Any, **options: Any) -> str:
    text = str(_weighed(text))
    lines = len(text.splitlines()) + 1
    _room(len(text) + lines * (len(width) if isinstance(width, str) else int(width)))
    return do_indent(text, width, *rest, **options)


@pass_environment
def _join(
    environment: Environment,
    items: Iterable[Any],
    d: str = "",
    attribute: str | int | None = None,
) -> str:
    if attribute is not None:
        items = map(make_attrgetter(environment, attribute), items)
    return str(d).join(map(str, _joinable(items, str(d))))


def _replace(s: str, old: str, new: str, count: int | None = None) -> str:
    text, old, new = str(_weighed(s)), str(_weighed(old)), str(_weighed(new))
    _room(text.count(old) * len(new))
    return text.replace(old, new, -1 if count is None else count)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON for a model to read: unlike Jinja's own filter, nothing is escaped for HTML."""
    if indent is not None and indent > 16:
        raise TemplateLimit("it indents JSON by more than 16")
    return json.dumps(
        _weighed(value),
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)
