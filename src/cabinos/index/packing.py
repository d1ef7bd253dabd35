"""What was found, as a text for a model: as much as fits, each passage with its citation."""

from collections.abc import Callable, Sequence

from cabinos.index.index import Hit

__all__ = ["pack"]

LEAST = 40  # tokens; less of a passage is not worth showing


def pack(hits: Sequence[Hit], budget: int, count: Callable[[str], int]) -> tuple[str, list[Hit]]:
    """The text, of at most `budget` tokens as `count` counts them, and the passages that are in it.

    The best come first, each as `[number] citation` above its words; of the one that does not fit
    whole, as many lines are shown as do. Passages with the same words appear once.
    """
    parts: list[str] = []
    shown: list[Hit] = []
    known: set[str] = set()
    left = budget
    for hit in hits:
        if hit.passage.text in known:
            continue
        known.add(hit.passage.text)
        title = f" ({hit.passage.heading})" if hit.passage.heading else ""
        head = f"[{len(shown) + 1}] {hit.where}{title}\n"
        text = f"{head}{hit.passage.text}\n\n"
        if count(text) > left:
            if left < LEAST:
                break
            text = _fitting(head, hit.passage.text, left, count)
            if not text:
                continue
        parts.append(text)
        shown.append(hit)
        left -= count(text)
    return "".join(parts).rstrip("\n"), shown


def _fitting(head: str, text: str, most: int, count: Callable[[str], int]) -> str:
    """The head and the first words of the text that fit; "" if there is no room for any."""
    words = text.split(" ")
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if count(f"{head}{' '.join(words[:middle])} …\n\n") <= most:
            low = middle
        else:
            high = middle - 1
    return f"{head}{' '.join(words[:low])} …\n\n" if low else ""
