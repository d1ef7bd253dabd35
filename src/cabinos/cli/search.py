"""`cabin search`: what indexed files say about something, with citations."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.documents import as_answer, print_answer
from cabinos.cli.errors import Failure
from cabinos.cli.follow import one_line
from cabinos.cli.options import as_json
from cabinos.cli.terminal import note, print_json, show

if TYPE_CHECKING:
    from cabinos.index import Hit

SHOWN = 300  # characters of a passage


@click.command("search")
@click.argument("query", nargs=-1, required=True)
@click.option("-n", "--limit", type=click.IntRange(1, 100), default=8, show_default=True)
@click.option(
    "--under", type=click.Path(path_type=Path), multiple=True, help="Only in this file or folder."
)
@click.option("--explain", is_flag=True, help="Say why each passage was found.")
@as_json
def search_command(
    query: tuple[str, ...], limit: int, under: tuple[Path, ...], explain: bool, as_json: bool
) -> None:
    """Find the passages of indexed files that fit QUERY best, by words and by meaning.

    `cabin index` says which files there are. If QUERY is a question and a sentence there answers
    it, that comes first.
    """
    from cabinos.answers.ask import Indexed
    from cabinos.answers.question import is_question
    from cabinos.index import open_index

    text = " ".join(query)
    with open_index() as index:
        folders = [path.resolve() for path in under]
        hits = index.search(text, limit, kinds=["file"], under=folders, explain=explain or as_json)
        if not hits and not index.rows("SELECT 1 FROM source LIMIT 1"):
            raise Failure("nothing is indexed yet: cabin index FOLDER")
        asked = bool(hits) and is_question(text)
        answer = Indexed(index, folders).answer(text) if asked else None
    if as_json:
        said = as_answer(answer) if answer is not None and answer.found else None
        print_json({"query": text, "answer": said, "hits": [_as_data(hit) for hit in hits]})
        return
    if answer is not None and answer.found:
        print_answer(answer)
        show([""])
    for hit in hits:
        heading = f"  {hit.passage.heading}" if hit.passage.heading else ""
        show([f"{hit.where}{heading}"])
        if explain:
            note(f"  {why(hit)}")
        show([f"  {one_line(hit.passage.text, SHOWN)}"])
    if not hits:
        note("No indexed file says anything about that.")


def why(hit: "Hit") -> str:
    """The reasons in one line."""
    fused = hit.fused
    by_words = (
        f"words: place {fused.lexical_rank}, BM25 {fused.bm25:.2f} ({', '.join(hit.words)})"
        if fused.lexical_rank
        else "words: none of the first"
    )
    by_meaning = (
        f"meaning: place {fused.dense_rank}, cosine {fused.cosine:.2f}"
        if fused.dense_rank
        else f"meaning: none of the first, cosine {fused.cosine:.2f}"
    )
    likeness = f"with the best {fused.likeness:.2f}"
    return f"score {fused.score:.3f} · {by_words} · {by_meaning}, {likeness}"


def _as_data(hit: "Hit") -> dict[str, Any]:
    return {
        "file": hit.name,
        "line": hit.passage.line,
        "page": hit.passage.page or None,
        "heading": hit.passage.heading,
        "text": hit.passage.text,
        "score": round(hit.score, 4),
        "words": list(hit.words),
        "bm25": round(hit.fused.bm25, 3),
        "lexical_rank": hit.fused.lexical_rank or None,
        "cosine": round(hit.fused.cosine, 4),
        "dense_rank": hit.fused.dense_rank or None,
        "likeness": round(hit.fused.likeness, 4),
    }
