"""Regular expressions whose time is linear in the text, whoever wrote them.

Python's own engine backtracks: `(a+)+$` against thirty letters takes minutes, during which all of
the interpreter stands still. Patterns here come from models and from foreign servers. pydantic,
which Cabin has anyway, carries the automata of Rust's `regex`; they have no look-around and no
back-references, and that is the price.
"""

from collections.abc import Callable

from cabinos.kernel.errors import InvalidArguments

__all__ = ["searcher"]


def searcher(pattern: str) -> Callable[[str], bool]:
    """A function that tells whether the pattern occurs in a text.

    Raises InvalidArguments, with the place and the reason, if the pattern cannot be used.
    """
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    schema = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex", strict=True)
    try:
        return SchemaValidator(schema).isinstance_python
    except SchemaError as error:
        reason = str(error).partition("SchemaError:")[2].strip() or "it is not a regular expression"
        raise InvalidArguments(f"the pattern {pattern!r} cannot be used: {reason}") from None
