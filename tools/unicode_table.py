r"""Prints the tables of letters, numbers and spaces that `run.c` uses to split text into words.

The classes are those of the `tokenizers` library's own regular expressions (`\p{L}`, `\p{N}`, `\s`
of the Unicode version it was built with), since those decide how models' training text was split.

Each class is a sorted list of code points where membership flips: outside, inside, outside, ...
Only the distances are stored. A distance is zero or more high digits `#`..`[` (base 57) and one
last digit `]`..`~` (base 34), so that most take one character and no quote or backslash can occur.
"""

from collections.abc import Iterator

WIDTH = 92


def members(pattern: str) -> Iterator[int]:
    """The code points that match, in order."""
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Split(Regex(pattern), "removed")
    for start in range(0, 0x110000, 4096):
        block = [c for c in range(start, start + 4096) if not 0xD800 <= c < 0xE000]
        kept = set("".join(text for text, _ in split.pre_tokenize_str("".join(map(chr, block)))))
        yield from (c for c in block if chr(c) not in kept)


def flips(pattern: str) -> list[int]:
    """Code points where membership changes; the first change is from outside to inside."""
    edges: list[int] = []
    for c in members(pattern):
        if edges and edges[-1] == c:
            edges[-1] = c + 1
        else:
            edges += [c, c + 1]
    return edges


def digits(distance: int) -> str:
    """A distance as `run.c` reads it."""
    high, last = divmod(distance, 34)
    text = chr(ord("]") + last)
    while high:
        high, digit = divmod(high, 57)
        text = chr(ord("#") + digit) + text
    return text


def main() -> None:
    """Prints the three tables as C."""
    for name, pattern in (("letters", r"\p{L}"), ("numbers", r"\p{N}"), ("spaces", r"\s")):
        edges = flips(pattern)
        code = "".join(digits(b - a) for a, b in zip([0, *edges], edges, strict=False))
        assert "??" not in code, "would start a C trigraph"
        lines = [f'    "{code[i : i + WIDTH]}"' for i in range(0, len(code), WIDTH)]
        text = lines[0].strip() if len(lines) == 1 else "\n" + "\n".join(lines)
        print(f"static const char {name}[] = {text};".replace("= \n", "=\n"))


if __name__ == "__main__":
    main()
