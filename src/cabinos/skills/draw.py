"""A picture of the graph: a column for each skill, a row for each principle, a curve for each link.

Links within a skill bow out to the left of its column; links between skills run from one column to
the other. The picture is laid out once, as plain shapes in pixels, and then written as SVG by hand
or as PNG by matplotlib.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from cabinos.skills.errors import SkillError
from cabinos.skills.graph import BOTH_WAYS, Edge, Graph

__all__ = ["COLOURS", "Picture", "draw", "write"]

COLOURS = {  # Okabe and Ito's palette, which the colour-blind tell apart
    "requires": "#0072b2",
    "supports": "#009e73",
    "contrasts": "#d55e00",
    "specialises": "#cc79a7",
    "example-of": "#e69f00",
    "same-as": "#7f7f7f",
}
INK, FAINT, PAPER, RULE = "#1b1f24", "#c9ced6", "#ffffff", "#e3e6ea"
ROW, HEAD, TOP, BOTTOM = 26, 44, 62, 28  # pixels
ARC = 96  # of the space left of a column, for links within a skill
TEXT, GAP, EDGE = 330, 60, 24  # width of a column's words; space between columns; margin
LETTERS = 46  # of a title that are shown
SIZE = 12.5  # of a title's letters
ACROSS = 4  # columns beside each other
LETTER = 6.7  # average width of one of them
DOT = 4

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """A cubic Bézier curve, with an arrow at its end or not."""

    points: tuple[Point, Point, Point, Point]
    colour: str
    width: float
    arrow: bool
    dashed: bool


@dataclass(frozen=True, slots=True)
class Dot:
    """A principle."""

    at: Point
    colour: str


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text that begins at a point on its baseline."""

    at: Point
    text: str
    size: float
    colour: str
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Shapes in the order in which they are painted; y grows downwards."""

    width: float
    height: float
    shapes: tuple[Curve | Dot | Words, ...]


def draw(graph: Graph, way: Collection[Edge] = ()) -> Picture:
    """The picture of a graph; with a `way`, all else is faint. Raises SkillError if empty."""
    columns = {
        name: [p for p in graph.principles.values() if p.skill == name] for name in graph.skills
    }
    columns = {name: rows for name, rows in columns.items() if rows}
    if not columns:
        raise SkillError("there are no principles to draw: none of these skills has knowledge.")
    places: dict[str, Point] = {}
    heads: list[Words] = []
    top, tallest = float(TOP), 0
    for n, (name, rows) in enumerate(columns.items()):
        if n and n % ACROSS == 0:
            top, tallest = top + HEAD + tallest * ROW + BOTTOM, 0
        x = EDGE + ARC + (n % ACROSS) * (TEXT + GAP + ARC)
        tallest = max(tallest, len(rows))
        heads.append(Words((x - DOT, top + 16), name, 16, INK, bold=True))
        for row, principle in enumerate(rows):
            places[principle.key] = (float(x), top + HEAD + row * ROW)
    across = min(len(columns), ACROSS)
    width = EDGE * 2 + across * (ARC + TEXT) + (across - 1) * GAP
    height = top + HEAD + tallest * ROW + BOTTOM
    on_way = {key for edge in way for key in (edge.source, edge.target)}
    edges = sorted(graph.edges, key=lambda edge: edge in way)
    shapes = [
        *_legend(),
        *heads,
        *(c for edge in edges if (c := _curve(graph, edge, places, way)) is not None),
        *_rows(graph, places, on_way),
    ]
    return Picture(width, height, tuple(shapes))


def _legend() -> Iterator[Curve | Words]:
    x = float(EDGE)
    for kind, colour in COLOURS.items():
        line = ((x, 24.0), (x + 8, 24.0), (x + 16, 24.0), (x + 26, 24.0))
        yield Curve(line, colour, 2, kind not in BOTH_WAYS, kind == "same-as")
        yield Words((x + 34, 28), kind, 12, INK)
        x += 34 + 7 * len(kind) + 28


def _rows(graph: Graph, places: Mapping[str, Point], way: Collection[str]) -> Iterator[Dot | Words]:
    for key, (x, y) in places.items():
        colour = FAINT if way and key not in way else INK
        title = graph.principles[key].title
        yield Dot((x, y), colour)
        yield Words((x + 12, y + 4), _short(title), SIZE, colour, bold=key in way)


def _short(title: str) -> str:
    return title if len(title) <= LETTERS else f"{title[: LETTERS - 1].rstrip()}…"


def _curve(
    graph: Graph, edge: Edge, places: Mapping[str, Point], way: Collection[Edge]
) -> Curve | None:
    """A link's curve, from dot to dot within a column, else from the words to the dot."""
    if edge.source not in places or edge.target not in places:
        return None
    (x1, y1), (x2, y2) = places[edge.source], places[edge.target]
    if x1 == x2:
        bow = 14 + (ARC - 22) * min(1.0, abs(y2 - y1) / (ROW * 14))
        points = ((x1 - 5, y1), (x1 - bow, y1), (x2 - bow, y2), (x2 - 6, y2))
    elif x1 < x2:
        start = x1 + _end(graph, edge.source)
        points = ((start, y1), (x1 + TEXT + GAP, y1), (x2 - ARC - GAP, y2), (x2 - 7, y2))
    else:
        end = x2 + _end(graph, edge.target)
        points = ((x1 - 6, y1), (x1 - ARC - GAP, y1), (x2 + TEXT + GAP, y2), (end, y2))
    chosen = edge in way
    colour = COLOURS[edge.kind] if chosen or not way else FAINT
    width = 2.6 if chosen else 1.3
    return Curve(points, colour, width, edge.kind not in BOTH_WAYS, edge.kind == "same-as")


def _end(graph: Graph, key: str) -> float:
    """How far right of its dot a principle's words end."""
    return 20 + LETTER * len(_short(graph.principles[key].title))


# ---- Writing -------------------------------------------------------------------------------------


def write(picture: Picture, path: Path) -> None:
    """Writes it as .svg or .png. Raises SkillError for another ending, or without matplotlib."""
    ending = path.suffix.lower()
    if ending not in (".svg", ".png"):
        raise SkillError("a picture's name ends with .svg or .png.", path)
    if ending == ".svg":
        path.write_text(to_svg(picture), encoding="utf-8")
    else:
        _write_png(picture, path)


def to_svg(picture: Picture) -> str:
    """The picture as an SVG document of its own, without scripts, styles or links."""
    marks = "".join(
        f'<marker id="a{colour[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto" markerUnits="userSpaceOnUse">'
        f'<path d="M0 1 L8 4 L0 7 z" fill="{colour}"/></marker>'
        for colour in [*COLOURS.values(), FAINT]
    )
    size = f'width="{picture.width:g}" height="{picture.height:g}"'
    box = f'viewBox="0 0 {picture.width:g} {picture.height:g}"'
    font = 'font-family="Inter, Helvetica, Arial, sans-serif"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} {font}>',
        f"<defs>{marks}</defs>",
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        *map(_svg, picture.shapes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _svg(shape: Curve | Dot | Words) -> str:
    if isinstance(shape, Dot):
        x, y = shape.at
        return f'<circle cx="{x:g}" cy="{y:g}" r="{DOT}" fill="{shape.colour}"/>'
    if isinstance(shape, Words):
        x, y = shape.at
        weight = ' font-weight="600"' if shape.bold else ""
        text = escape("".join(c for c in shape.text if c.isprintable()))
        fill = f'font-size="{shape.size:g}" fill="{shape.colour}"{weight}'
        halo = f'stroke="{PAPER}" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'
        return f'<text x="{x:g}" y="{y:g}" {fill} {halo}>{text}</text>'
    (a, b), *rest = shape.points
    way = " ".join(f"{x:g},{y:g}" for x, y in rest)
    arrow = f' marker-end="url(#a{shape.colour[1:]})"' if shape.arrow else ""
    dash = ' stroke-dasharray="4 3"' if shape.dashed else ""
    stroke = f'stroke="{shape.colour}" stroke-width="{shape.width:g}" stroke-opacity="0.85"'
    return f'<path d="M{a:g},{b:g} C{way}" fill="none" {stroke}{dash}{arrow}/>'


def _write_png(picture: Picture, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import Circle, FancyArrowPatch
        from matplotlib.path import Path as Way
        from matplotlib.patheffects import Normal, Stroke
    except ImportError:
        missing = "PNG needs matplotlib: pip install 'cabinos[train]'; .svg needs nothing."
        raise SkillError(missing, path) from None
    dots = 100  # an inch
    figure = Figure(figsize=(picture.width / dots, picture.height / dots), dpi=2 * dots)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, picture.width)
    axes.set_ylim(picture.height, 0)
    axes.axis("off")
    points = 72 / dots  # of a pixel
    halo = [Stroke(linewidth=4 * points, foreground=PAPER), Normal()]
    for shape in picture.shapes:
        if isinstance(shape, Dot):
            axes.add_patch(Circle(shape.at, DOT, color=shape.colour, linewidth=0))
        elif isinstance(shape, Words):
            text = "".join(c for c in shape.text if c.isprintable()).replace("$", r"\$")
            weight = "bold" if shape.bold else "normal"
            axes.text(
                *shape.at,
                text,
                color=shape.colour,
                fontsize=shape.size * points,
                fontweight=weight,
                path_effects=halo,
            )
        else:
            codes = [Way.MOVETO, Way.CURVE4, Way.CURVE4, Way.CURVE4]
            axes.add_patch(
                FancyArrowPatch(
                    path=Way(shape.points, codes),
                    arrowstyle="-|>,head_length=3,head_width=1.6" if shape.arrow else "-",
                    color=shape.colour,
                    linewidth=shape.width * points,
                    linestyle=(0, (4, 3)) if shape.dashed else "-",
                    alpha=0.85,
                    shrinkA=0,
                    shrinkB=0,
                )
            )
    figure.savefig(path)
