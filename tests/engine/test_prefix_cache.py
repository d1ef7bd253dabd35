"""The prefix cache on a real model: what it finds, what it shares, what it gives back."""

import random
from collections.abc import Iterator

import pytest

from cabinos.engine.model import Model
from cabinos.engine.prefix_cache import PrefixCache
from tests.engine.fixtures import tiny_gguf

PAGE = 16


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    path = tiny_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf")
    with Model(path, kv_tokens=1024) as model:
        yield model


@pytest.fixture
def cache(model: Model) -> Iterator[PrefixCache]:
    assert model.pages_free == model.pages_total
    cache = PrefixCache(model)
    yield cache
    cache.clear()
    assert len(cache) == 0
    assert cache.pages == 0
    assert model.pages_free == model.pages_total


def remember(model: Model, cache: PrefixCache, tokens: list[int]) -> None:
    with model.sequence() as sequence:
        sequence.feed(tokens)
        cache.insert(sequence)


def matched(cache: PrefixCache, tokens: list[int]) -> int:
    sequence, length = cache.match(tokens)
    if sequence is None:
        assert length == 0
        return 0
    with sequence:
        assert sequence.tokens == tokens[:length]
    return length


def words(seed: int, count: int) -> list[int]:
    return random.Random(seed).choices(range(512), k=count)


def test_an_empty_cache_finds_nothing(cache: PrefixCache) -> None:
    assert cache.match(words(0, 100)) == (None, 0)
    assert cache.match([]) == (None, 0)


@pytest.mark.parametrize(
    ("held", "asked", "expected"),
    [
        (15, 40, 0),  # less than a page is not kept
        (16, 40, 16),
        (47, 47, 32),
        (48, 48, 32),  # one token at least is left to compute
        (48, 49, 48),
        (100, 20, 16),
        (100, 16, 0),
        (100, 1, 0),
    ],
)
def test_whole_pages_are_found_but_never_the_whole_prompt(
    model: Model, cache: PrefixCache, held: int, asked: int, expected: int
) -> None:
    text = words(1, 128)
    remember(model, cache, text[:held])
    assert matched(cache, text[:asked]) == expected


def test_a_difference_ends_the_match(model: Model, cache: PrefixCache) -> None:
    text = words(2, 96)
    remember(model, cache, text)
    for place, expected in [(0, 0), (15, 0), (16, 16), (40, 32), (95, 80)]:
        other = text.copy()
        other[place] = (other[place] + 1) % 512
        assert matched(cache, [*other, 7]) == expected
    assert matched(cache, text[PAGE:]) == 0  # the same page elsewhere is another page


def test_a_match_gives_the_very_same_logits(model: Model, cache: PrefixCache) -> None:
    text = words(3, 100)
    remember(model, cache, text[:70])
    sequence, length = cache.match(text)
    assert sequence is not None
    assert length == 64
    with sequence, model.sequence() as fresh:
        assert (sequence.feed(text[length:]) == fresh.feed(text)).all()


def test_a_longer_entry_replaces_its_prefix_and_shares_its_pages(
    model: Model, cache: PrefixCache
) -> None:
    text = words(4, 128)
    with model.sequence() as sequence:
        for start in range(0, 128, 32):
            sequence.feed(text[start : start + 32])
            cache.insert(sequence)
        assert len(cache) == 1
        assert model.pages_total - model.pages_free == 8  # all shared with the sequence
    assert model.pages_total - model.pages_free == 8
    assert matched(cache, [*text, 0]) == 128
    assert matched(cache, text[:40]) == 32


def test_the_same_text_is_kept_once(model: Model, cache: PrefixCache) -> None:
    text = words(5, 64)
    remember(model, cache, text)
    remember(model, cache, text)
    remember(model, cache, text[:40])
    assert len(cache) == 1
    assert model.pages_total - model.pages_free == 4


def test_branches_share_their_trunk(model: Model, cache: PrefixCache) -> None:
    trunk = words(6, 64)
    for branch in range(3):
        text = [*trunk, *words(100 + branch, 32)]
        found, length = cache.match(text)
        with found if found is not None else model.sequence() as sequence:
            sequence.feed(text[length:])
            cache.insert(sequence)
    assert len(cache) == 3
    assert cache.pages == 4 + 3 * 2
    assert model.pages_total - model.pages_free == 4 + 3 * 2


def test_the_trunk_outlives_the_eviction_of_a_branch(model: Model, cache: PrefixCache) -> None:
    trunk = words(7, 64)
    for branch in (1, 2):
        remember(model, cache, [*trunk, *words(branch, 32)])
    assert cache.make_room(model.pages_free + 1)
    assert len(cache) == 1
    assert matched(cache, [*trunk, *words(3, 32)]) == 64
    assert matched(cache, [*trunk, *words(1, 32), 0]) == 64  # the older branch has gone
    assert matched(cache, [*trunk, *words(2, 32), 0]) == 96


def test_the_least_recently_used_goes_first(model: Model, cache: PrefixCache) -> None:
    texts = [words(seed, 32) for seed in range(10, 14)]
    for text in texts:
        remember(model, cache, text)
    assert matched(cache, [*texts[0], 0]) == 32  # use refreshes
    remember(model, cache, texts[1])  # and so does coming again
    assert cache.make_room(model.pages_free + 4)
    assert [matched(cache, [*text, 0]) for text in texts] == [32, 32, 0, 0]
    assert cache.stats().evictions == 2


def test_room_that_cannot_be_made(model: Model, cache: PrefixCache) -> None:
    remember(model, cache, words(20, 64))
    with model.sequence() as sequence:
        sequence.feed(words(21, 64))
        assert not cache.make_room(model.pages_total)
        assert len(cache) == 0
        assert cache.make_room(model.pages_total - 4)


def test_statistics_count_what_was_used(model: Model, cache: PrefixCache) -> None:
    text = words(30, 100)
    remember(model, cache, text)
    matched(cache, text)
    matched(cache, words(31, 100))
    sequence, _ = cache.match(text)
    assert sequence is not None
    cache.give_back(sequence)
    stats = cache.stats()
    assert (stats.lookups, stats.hits, stats.tokens_reused) == (2, 1, 96)
    assert (stats.entries, stats.tokens, stats.evictions) == (1, 96, 0)


def test_thousands_of_random_operations_agree_with_a_plain_set(
    model: Model, cache: PrefixCache
) -> None:
    """Texts over a tiny alphabet of pages, so that prefixes collide; no page may be lost."""
    rng = random.Random(0)
    pages = [words(seed, PAGE) for seed in range(3)]
    known: set[tuple[int, ...]] = set()
    for _ in range(1500):
        text = [token for _ in range(rng.randint(1, 5)) for token in rng.choice(pages)]
        text += words(99, rng.randint(0, PAGE - 1))
        prefixes = [tuple(text[:end]) for end in range(PAGE, len(text) + 1, PAGE)]
        if rng.random() < 0.02:
            cache.make_room(rng.randint(0, model.pages_total))
            known = {prefix for prefix in known if matched(cache, [*prefix, 0]) == len(prefix)}
            assert len(known) == cache.pages
            continue
        expected = max((len(p) for p in prefixes if p in known and len(p) < len(text)), default=0)
        sequence, length = cache.match(text)
        assert length == expected
        sequence = sequence if sequence is not None else model.sequence()
        with sequence:
            if rng.random() < 0.3 and cache.make_room(5):
                known = {prefix for prefix in known if matched(cache, [*prefix, 0]) == len(prefix)}
                sequence.feed(text[length:], logits="none")
                cache.insert(sequence)
                known.update(prefixes)
    assert cache.pages == len(known)
    assert model.pages_total - model.pages_free == len(known)
