"""The YAML at the head of a file, read as what it is: text by a stranger.

Everything becomes a string, a list or a mapping; YAML's types, tags, anchors and aliases are
refused, as the specification's own validator (strictyaml) refuses them. So nothing is constructed,
nothing expands, and `version: 1.10` stays "1.10".
"""

from pathlib import Path
from typing import Any

from cabinos.skills.errors import SkillError

__all__ = ["MAX_HEAD", "split"]

MAX_HEAD = 64 << 10  # characters
MAX_DEPTH = 8  # of nested mappings and lists
FENCE = "---"


def split(text: str, path: Path) -> tuple[dict[str, Any], str, int]:
    """(what the head says, the rest, the number of the rest's first line).

    Raises SkillError, naming the line, if there is no head or it is not plain YAML.
    """
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    if not lines or lines[0].strip() != FENCE:
        raise SkillError(f"the file must begin with a line {FENCE!r} and YAML.", path, 1)
    end = next((n for n, line in enumerate(lines[1:], 1) if line.strip() == FENCE), None)
    if end is None:
        raise SkillError(f"the head that begins here has no end: a line {FENCE!r}.", path, 1)
    head = "".join(lines[1:end])
    if len(head) > MAX_HEAD:
        raise SkillError(f"the head is longer than {MAX_HEAD >> 10} KiB.", path, 1)
    return _mapping(head, path), "".join(lines[end + 1 :]), end + 2


def _mapping(head: str, path: Path) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # libyaml's is ten times as fast
    try:
        depth = 0
        for event in yaml.parse(head, Loader=loader):  # before anything is built
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            line = event.start_mark.line + 2
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise SkillError("anchors and aliases (& and *) are not allowed.", path, line)
            if getattr(event, "tag", None):
                raise SkillError("tags (!) are not allowed: all values are text.", path, line)
            if depth > MAX_DEPTH:
                raise SkillError(f"nested more than {MAX_DEPTH} deep.", path, line)
        node = yaml.compose(head, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SkillError(f"not YAML: {problem}.", path, mark.line + 2 if mark else 2) from None
    if not isinstance(node, yaml.MappingNode):
        raise SkillError("the head must be a mapping: `name: …`.", path, 2)
    return dict(_pairs(node, path))


def _pairs(node: Any, path: Path) -> dict[str, Any]:
    """A mapping, in which each key stands once."""
    found: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 2
        if key.id != "scalar":
            raise SkillError("a key must be a word.", path, line)
        if key.value in found:
            raise SkillError(f"{key.value!r} stands here twice.", path, line)
        found[key.value] = _value(value, path)
    return found


def _value(node: Any, path: Path) -> Any:
    if node.id == "scalar":
        return node.value
    if node.id == "sequence":
        return [_value(item, path) for item in node.value]
    return _pairs(node, path)
