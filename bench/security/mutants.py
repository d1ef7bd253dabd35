"""Would a wrong policy be noticed? Each mutant of it must be killed by the tests.

    python bench/security/mutants.py
    python bench/security/mutants.py --quick     # every fifth mutant

A mutant is labels.py, grants.py or policy.py with one thing changed: a comparison turned round, a
condition forced, `and` for `or`, a set joined instead of met, a word of the policy's own vocabulary
for another, a number off by one, a statement or an argument left out. It is killed if one of the
tables in tests/security or 4,000 fuzzed calls notice. Words for people are not mutated. What
survives is listed with its line, to be read: some mutants are no change at all.
"""

import argparse
import ast
import copy
import importlib
import importlib.util
import inspect
import os
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import common

FILES = ("labels", "grants", "policy")
TESTS = [common.ROOT / "tests/security" / f"test_{name}.py" for name in FILES]
SLOW = {"test_it_takes_microseconds", "test_links_of_hostile_text_take_no_time"}
CALLS = 4000
LIMIT = 120  # seconds for a mutant; one that hangs is killed
GOAL = 0.95
WORDS = {
    "trusted": "untrusted", "untrusted": "trusted", "allow": "ask", "ask": "allow",
    "deny": "allow", "pure": "raw", "local": "raw", "keyed": "pure", "raw": "pure",
    "model": "typed", "typed": "model", "picked": "model", "grant": "allow", "*": "", ":": "",
}  # fmt: skip
COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Lt: ast.LtE, ast.Gt: ast.GtE,
    ast.LtE: ast.Lt, ast.GtE: ast.Gt,
}  # fmt: skip
OPERATE: dict[type[ast.operator], type[ast.operator]] = {
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.Sub: ast.BitOr, ast.Add: ast.Sub,
}  # fmt: skip


def spots(tree: ast.Module) -> Iterator[tuple[str, int, ast.Module]]:
    """(what was changed, line, the mutant) for every mutant of a module."""
    nodes = [node for node in ast.walk(tree) if hasattr(node, "lineno")]
    silent = said_only(tree)
    for index, node in enumerate(nodes):
        if id(node) in silent:
            continue
        for what, change in changes(node):
            mutant = copy.deepcopy(tree)
            twin = [n for n in ast.walk(mutant) if hasattr(n, "lineno")][index]
            apply(mutant, twin, change)
            yield what, node.lineno, ast.fix_missing_locations(mutant)


def said_only(tree: ast.Module) -> set[int]:
    """Nodes that decide nothing: annotations, decorators, what is exported, words for people."""
    roots: list[ast.AST | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            roots.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            roots += [node.returns, *node.decorator_list, *(a.annotation for a in node.args.args)]
        elif isinstance(node, ast.ClassDef):
            roots += node.decorator_list
        elif (
            isinstance(node, ast.Assign)
            and ast.unparse(node).startswith(("__all__", "Integrity", "Origin"))
        ) or isinstance(node, ast.JoinedStr):
            roots.append(node)
    return {id(part) for root in roots if root is not None for part in ast.walk(root)}


def changes(node: ast.AST) -> Iterator[tuple[str, str]]:  # noqa: PLR0912 - one case a kind
    """(description, kind) of each change that can be made to a node."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARE:
            yield f"{type(op).__name__} → {COMPARE[type(op)].__name__}", "compare"
        case ast.BoolOp(op=op, values=values):
            yield ("and → or" if isinstance(op, ast.And) else "or → and"), "bool"
            for number in range(len(values)):
                yield f"without part {number + 1} of {len(values)}", f"part {number}"
        case ast.BinOp(op=op) if type(op) in OPERATE:
            yield f"{type(op).__name__} → {OPERATE[type(op)].__name__}", "operate"
        case ast.UnaryOp(op=ast.Not()):
            yield "without not", "not"
        case ast.Constant(value=bool(value)):
            yield f"{value} → {not value}", "flip"
        case ast.Constant(value=int(value)):
            yield f"{value} → {value + 1}", "more"
        case ast.Constant(value=str(value)) if value in WORDS:
            yield f"{value!r} → {WORDS[value]!r}", "word"
        case ast.IfExp(body=ast.Constant(value=str(value))) if " " in value:
            return  # words for people
        case ast.If() | ast.IfExp():
            yield "if True", "true"
            yield "if False", "false"
        case ast.Raise():
            yield "without raise", "pass"
        case ast.Return(value=ast.Constant(value=None | "")):
            return  # nothing, either way
        case ast.Return(value=ast.expr()):
            yield "return None", "none"
        case ast.Assign() | ast.AugAssign() | ast.Expr(value=ast.Call()) | ast.Continue():
            yield "without the statement", "pass"
        case ast.Call(func=ast.Name(id="all" | "any" as name)):
            yield f"{name} → {'any' if name == 'all' else 'all'}", "quantify"


def apply(tree: ast.Module, node: ast.AST, change: str) -> None:
    """Makes the change in place."""
    kind, _, number = change.partition(" ")
    if kind == "compare":
        node.ops = [COMPARE[type(node.ops[0])]()]  # type: ignore[attr-defined]
    elif kind == "bool":
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()  # type: ignore[attr-defined]
    elif kind == "part":
        del node.values[int(number)]  # type: ignore[attr-defined]
    elif kind == "operate":
        node.op = OPERATE[type(node.op)]()  # type: ignore[attr-defined]
    elif kind in ("true", "false"):
        node.test = ast.Constant(kind == "true")  # type: ignore[attr-defined]
    elif kind == "flip":
        node.value = not node.value  # type: ignore[attr-defined]
    elif kind == "more":
        node.value += 1  # type: ignore[attr-defined]
    elif kind == "word":
        node.value = WORDS[node.value]  # type: ignore[attr-defined]
    elif kind == "none":
        node.value = ast.Constant(None)  # type: ignore[attr-defined]
    elif kind == "quantify":
        node.func.id = "any" if node.func.id == "all" else "all"  # type: ignore[attr-defined]
    else:
        replace(tree, node, ast.Pass() if kind == "pass" else node.operand)  # type: ignore[attr-defined]


def replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    """Puts another node in the place of one."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(item is old for item in value):
                value[[item is old for item in value].index(True)] = new


def survives(name: str, mutant: ast.Module) -> bool:
    """Whether no test notices the mutant. Runs in a child: it may do anything."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(LIMIT)
        code = 0
        try:
            code = int(not noticed(name, mutant))
        except BaseException:  # noqa: BLE001 - whatever a mutant does, it was noticed
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 1


def noticed(name: str, mutant: ast.Module) -> bool:
    """Whether the fuzz or the tables fail with the mutant in the module's place."""
    for other in FILES:
        sys.modules.pop(f"cabinos.kernel.{other}", None)
    module = types.ModuleType(f"cabinos.kernel.{name}")
    real = common.ROOT / "src/cabinos/kernel" / f"{name}.py"
    module.__file__ = str(real)
    sys.modules[module.__name__] = module
    setattr(sys.modules["cabinos.kernel"], name, module)
    exec(compile(mutant, str(real), "exec"), module.__dict__)
    for other in FILES[FILES.index(name) + 1 :]:
        importlib.import_module(f"cabinos.kernel.{other}")
    if any(not passes(test, case) for test, case in tables()):
        return True
    found: list[str] = []
    importlib.import_module("fuzz").run(CALLS, 7, found.append)
    return bool(found)


def tables() -> Iterator[tuple[Callable[..., None], dict[str, Any]]]:
    """Every test of the tables with the arguments of one of its rows; no property tests."""
    for path in TESTS:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, test in vars(module).items():
            if not name.startswith("test_") or hasattr(test, "hypothesis") or name in SLOW:
                continue
            marks = [m for m in getattr(test, "pytestmark", ()) if m.name == "parametrize"]
            if not marks:
                yield test, {}
            for names, rows in (mark.args for mark in marks):
                for row in rows:
                    alone = isinstance(names, str)
                    yield test, ({names: row} if alone else dict(zip(names, row, strict=True)))


def passes(test: Callable[..., None], case: dict[str, Any]) -> bool:
    """Whether a test does not fail on a row."""
    with tempfile.TemporaryDirectory() as folder:
        if "tmp_path" in inspect.signature(test).parameters:
            case = {**case, "tmp_path": Path(folder)}
        try:
            test(**case)
        except BaseException:  # noqa: BLE001 - whatever it raises, it has failed
            return False
    return True


def main() -> int:
    """Makes and tries the mutants; prints those that live."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=common.FORMAT)
    parser.add_argument("--quick", action="store_true", help="every fifth mutant")
    parser.add_argument("--results", type=Path, default=common.RESULTS)
    options = parser.parse_args()
    for name in ("hypothesis", "pytest", "cabinos.kernel.errors"):
        importlib.import_module(name)  # so that the children need not

    rows: list[dict[str, Any]] = []
    living: list[str] = []
    began = time.perf_counter()
    for name in FILES:
        source = (common.ROOT / "src/cabinos/kernel" / f"{name}.py").read_text()
        mutants = list(spots(ast.parse(source)))[:: 5 if options.quick else 1]
        alive = [(what, line) for what, line, mutant in mutants if survives(name, mutant)]
        living += [f"{name}.py:{line}: {what}" for what, line in alive]
        rows.append(
            {"file": f"{name}.py", "mutants": len(mutants), "killed": len(mutants) - len(alive)}
        )
    total = sum(int(row["mutants"]) for row in rows)
    killed = sum(int(row["killed"]) for row in rows)
    share = killed / total
    rows.append({"file": "all", "mutants": total, "killed": killed, "share": round(share, 4),
                 "goal": GOAL, "ok": share >= GOAL, "living": living,
                 "seconds": round(time.perf_counter() - began)})  # fmt: skip
    for line in living:
        print(line)
    return common.report("mutants", options, rows)


if __name__ == "__main__":
    sys.exit(main())
