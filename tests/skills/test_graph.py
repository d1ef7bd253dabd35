"""The graph: edges, ways, circles, pictures."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.skills.catalog import library_folder, skill_folders
from cabinos.skills.draw import draw, to_svg, write
from cabinos.skills.errors import SkillError
from cabinos.skills.graph import Edge, Graph, compile_graph, explain
from cabinos.skills.knowledge import Principle
from cabinos.skills.package import read_skill
from tests.skills.conftest import Make

NAMES = "abcdef"


def graph_of(edges: list[tuple[str, str, str]]) -> Graph:
    principles = {n: Principle("s", n, n, Path(), 1) for n in NAMES}
    return Graph(principles=principles, edges=[Edge(*edge) for edge in edges])


pairs = st.tuples(st.sampled_from(NAMES), st.just("requires"), st.sampled_from(NAMES))


@settings(deadline=None)
@given(st.lists(pairs, max_size=12))
def test_a_circle_is_found_exactly_if_there_is_one(edges: list[tuple[str, str, str]]) -> None:
    reach = {(a, b) for a, _, b in edges}
    for middle in NAMES:  # Warshall's closure
        reach |= {(a, c) for a, b in reach for b2, c in reach if b == b2 == middle}
    circle = graph_of(edges).cycle()
    assert (circle is not None) == any((n, n) in reach for n in NAMES)
    if circle is not None:
        there = {(a, b) for a, _, b in edges}
        assert all(pair in there for pair in zip(circle, [*circle[1:], circle[0]], strict=True))


@settings(deadline=None)
@given(st.lists(pairs, max_size=10), st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_a_way_is_made_of_links_and_is_shortest(
    edges: list[tuple[str, str, str]], start: str, goal: str
) -> None:
    graph = graph_of(edges)
    steps = graph.path(start, goal)
    distance, ring = {start: 0}, [start]
    while ring:
        ring = [
            b
            for a in ring
            for x, _, y in edges
            for b in ((y,) if x == a else ()) + ((x,) if y == a else ())
            if distance.setdefault(b, distance[a] + 1) == distance[a] + 1
        ][:200]
        ring = [b for b in dict.fromkeys(ring) if distance[b] <= len(NAMES)]
        if all(distance[b] >= len(NAMES) for b in ring):
            break
    assert (steps is None) == (goal not in distance)
    if steps is not None:
        assert len(steps) == distance[goal]
        ends = [start, *(step.end for step in steps)]
        assert [step.start for step in steps] == ends[:-1]
        assert ends[-1] == goal


def test_suggestions_stay_apart(make: Make) -> None:
    skills = [read_skill(path) for path in skill_folders(library_folder())]
    graph = compile_graph(skills, suggest=True)
    facts = {frozenset((e.source, e.target)) for e in graph.edges}
    assert graph.suggested
    assert not any(frozenset((s.source, s.target)) in facts for s in graph.suggested)
    data = graph.to_json()
    assert json.loads(json.dumps(data)) == data
    assert len(data["edges"]) == len(graph.edges)
    quote = data["principles"][0]["quotes"][0]
    assert quote["line"]
    assert quote["heading"]


def test_a_way_is_told_as_its_authors_put_it(make: Make) -> None:
    graph = compile_graph([read_skill(make())])
    steps = graph.path("bread#warmth", "bread#slow")
    assert steps is not None
    (said,) = explain(graph, steps)
    assert said == "“Warmth makes dough rise” contrasts “A slow rise gives taste”"


def test_the_picture_is_a_document(make: Make, tmp_path: Path) -> None:
    path = make(description="x")
    knowledge = path / "knowledge" / "principles.md"
    knowledge.write_text(knowledge.read_text().replace("Warmth makes", "<script>&\x1b[31m"))
    graph = compile_graph([read_skill(path)])
    svg = to_svg(draw(graph, graph.edges[:1]))
    tree = ET.fromstring(svg)
    texts = [element.text or "" for element in tree.iter() if element.tag.endswith("text")]
    assert "bread" in texts
    assert any(text.startswith("<script>&[31m") for text in texts)
    assert not any(element.tag.endswith("script") for element in tree.iter())
    write(draw(graph), tmp_path / "g.svg")
    with pytest.raises(SkillError, match=r"ends with .svg or .png"):
        write(draw(graph), tmp_path / "g.pdf")
    with pytest.raises(SkillError, match="no principles"):
        draw(Graph())


def test_the_picture_as_png(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="PNG needs matplotlib")
    write(draw(compile_graph([read_skill(make())])), tmp_path / "g.png")
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
