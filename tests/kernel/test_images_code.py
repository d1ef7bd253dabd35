"""Programs: syscalls as functions, errors one can catch, limits, pauses through restarts."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from cabinos.kernel.budget import Budget
from cabinos.kernel.capability import files
from cabinos.kernel.driver import Context, tool
from cabinos.kernel.errors import KernelError
from cabinos.kernel.images import code
from cabinos.kernel.kernel import Kernel
from cabinos.kernel.process import State
from tests.kernel.help import World, add, fetch, open_kernel, run, until
from tests.kernel.models import ScriptedModel


def value_of(place: Path, source: str, **options: Any) -> Any:
    async def main() -> Any:
        async with open_kernel(place, ScriptedModel("a thought"), tools=[add, fetch]) as k:
            return await k.exec(source, **options)

    return run(main())


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + 1", 2),
        ("add(1, 2)", 3),
        ("add(a=1, b=2)", 3),
        ("add(1, b=2)", 3),
        ("call('add', {'a': 1, 'b': 2})", 3),
        ("call('add', arguments={'a': 1, 'b': 2})", 3),
        ("think('say something')", "a thought"),
        ("p = spawn('do it')['pid']\nwait(p)", "a thought"),
        ("p = spawn(code='40 + 2')['pid']\nwait(pid=p)", 42),
        ("a = spawn(code='1')['pid']\nb = spawn(code='2')['pid']\nwait([a, b])", {"2": 1, "3": 2}),
        ("sleep(0.01)", "awake"),
        ("recv(wait=False)", ""),
        ("p = spawn(code='recv()')['pid']\nsend('hello', p)\nwait(p)", "hello"),
        ("p = spawn(code='sleep(100)')['pid']\nkill(p)", "process 2 is gone"),
        ("n = fork()['pid']\n'child' if n == 0 else wait(n)", "child"),
        ("think('zebra')\nrecall('zebra')[:5]", "[page"),
        ("evict()", "0 pages swapped out"),
        ("print('out')\n'value'", "out\nvalue"),
        ("None", ""),
        ("x", 7),
        ("[(1, 2), {3}]", [[1, 2], [3]]),
        ("'half \\ud800'", None),
        ("2 ** 100", 2**100),
        ("2 ** 20000 > 0", True),
        ("1.5e300 * 1e300", None),
        ("{'a': {1: [None, True]}}", {"a": {"1": [None, True]}}),
        ("'x' * 1000000", "x" * 1_000_000),
        ("call('add', {'a': 1, 'b': 2}) + len(fetch('x' * 0 or 1000000))", 1_000_003),
    ],
)
def test_values_of_programs(tmp_path: Path, source: str, value: Any) -> None:
    found = value_of(tmp_path, source, inputs={"x": 7})
    assert found == value or value is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("nonsense()", "nonsense"),
        ("add()", "missing|required"),
        ("add(1, 2, 3)", "at most 2"),
        ("add('x', 'y')", "integer"),
        ("add(1, 2, c=3)", "c"),
        ("add(1, a=2)", "a"),
        ("add(**{'0': 1, '7': 2})", "."),
        ("call()", "name"),
        ("call('think')", "syscall"),
        ("call('add', 5)", "."),
        ("call('add', [1, 2])", "."),
        ("think(5)", "text"),
        ("think('x', max_tokens=-5)", "max_tokens"),
        ("think('x', max_tokens='many')", "max_tokens"),
        ("think('x', stop=5)", "."),
        ("spawn()", "not empty"),
        ("spawn(5)", "text"),
        ("spawn(code=5)", "text"),
        ("wait()", "."),
        ("wait(99)", "99"),
        ("wait(2 ** 80)", "no process"),
        ("wait([])", ""),
        ("kill(1)", "not a child"),
        ("kill()", "no process"),
        ("send('x')", "no process"),
        ("send('', spawn(code='1')['pid'])", "not empty"),
        ("send('x', 1)", "not a child"),
        ("recall()", "handle or a query"),
        ("recall('nothing at all')", "nothing"),
        ("pin('x')", "no page"),
        ("pin()", "handle"),
        ("read('x/y')", "."),
        ("read(5)", "path"),
        ("write('x')", "."),
        ("ask()", "question"),
        ("sleep('long')", "."),
        ("sleep(-1)", ""),
        ("wait(spawn(code='1/0')['pid'])", "ZeroDivision"),
    ],
)
def test_an_error_of_a_call_can_be_caught(tmp_path: Path, call: str, words: str) -> None:
    source = (
        f"try:\n    {call}\n    said = 'no error'\nexcept Exception as e:\n    said = str(e)\nsaid"
    )
    said = value_of(tmp_path, source)
    if words:
        assert said != "no error"
        import re

        assert re.search(words, said), said


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1/0", "ZeroDivisionError: division by zero"),
        ("def", "Expected an identifier"),
        ("import socket\nsocket.socket()", "socket"),
        ("open('/etc/passwd').read()", "Permission denied"),
        ("import os\nos.system('ls')", "."),
        ("x = y", "NameError"),
        ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError"),
        ("x = [0]\nwhile True:\n    x = x + x", "[Mm]emory"),
        ("await add(1, 2)", "."),
        ("2 ** 20000", "digits|int"),
        ("x = []\nfor i in range(100000):\n    x = [x]\nx", "."),
        ("x = []\nfor i in range(5000):\n    x = [x]\nadd(x, 1)", "."),
        ("add(2 ** 20000, 1)", "."),
        ("call('add', {'a': 'half \\ud800', 'b': 1})", "."),
        ("nonsense_" + "x" * 100_000 + "()", "."),
        ("\0", "."),
        ("raise ValueError('half \\ud800')", "."),
    ],
)
def test_a_program_that_fails_says_why_and_harms_nobody(
    tmp_path: Path, source: str, words: str
) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path, tools=[add]) as k:
            with pytest.raises(KernelError, match=words) as caught:
                await k.exec(source)
            assert "fault in Cabin" not in str(caught.value)
            assert "failed" in str(caught.value)
            assert await k.exec("1 + 1") == 2
            assert k.store.failure is None

    run(main(), 20)


def test_generators_and_comprehensions(tmp_path: Path) -> None:
    assert value_of(tmp_path, "sum(n * n for n in range(10))") == 285
    assert value_of(tmp_path, "[add(n, 1) for n in range(3)]") == [1, 2, 3]
    assert value_of(tmp_path, "def f(n):\n    return add(n, 1)\n[f(n) for n in [5, 6]]") == [6, 7]


def test_a_program_that_never_ends_is_stopped_by_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(code.LIMITS, "max_turn_duration_secs", 0.2)

    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            with pytest.raises(KernelError, match="[Tt]ime"):
                await k.exec("while True:\n    pass")

    run(main())


def test_killed_programs_give_their_interpreters_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            assert await k.exec("1") == 1
            for _ in range(4):
                p = await k.spawn(code="while True:\n    pass")
                await asyncio.sleep(0.05)
                await p.kill()
            assert await k.exec("2") == 2

    run(main())


def test_a_flood_of_output_is_cut_in_the_middle(tmp_path: Path) -> None:
    text = value_of(tmp_path, "for n in range(20000):\n    print('line', n)")
    assert text.startswith("line 0\n")
    assert text.endswith("line 19999")
    assert len(text) < 70_000
    assert "not kept" in text


def test_what_was_printed_before_a_pause_is_kept_once(tmp_path: Path) -> None:
    source = "print('a')\nadd(1, 2)\nprint('b')\nadd(3, 4)\nprint('c')"
    assert value_of(tmp_path, source) == "a\nb\nc"


def test_a_paused_program_goes_on_in_another_kernel(tmp_path: Path) -> None:
    source = (
        "total = 0\nfor n in range(3):\n    print('round', n)\n"
        "    total += add(n, len(ask('well?')))\nprint(total)"
    )

    async def main() -> Any:
        async with open_kernel(tmp_path, tools=[add]) as k:
            p = await k.spawn(code=source)
            await until(k, p.pid, State.BLOCKED)
        for _ in range(3):
            async with open_kernel(tmp_path, tools=[add]) as k:
                assert k.process(1).state == State.BLOCKED
                await k.answer(k.open_asks()[0].id, "12345")
                await until(k, 1, State.BLOCKED, State.EXITED)
        async with open_kernel(tmp_path) as k:
            return await k.process(1).result()

    assert run(main()) == "round 0\nround 1\nround 2\n18"


def test_a_thousand_programs_share_two_interpreters(tmp_path: Path) -> None:
    async def main() -> None:
        from cabinos.kernel.kernel import Spawn

        async with open_kernel(tmp_path, tools=[add]) as k:
            handles = await k.spawn_many([Spawn(code=f"add({n}, 1)") for n in range(150)])
            assert [await handle.result() for handle in handles] == [n + 1 for n in range(150)]

    run(main())


def test_a_program_may_do_no_more_than_its_process(tmp_path: Path) -> None:
    async def main() -> None:
        world = World()
        async with open_kernel(tmp_path, tools=[add, *world.tools()]) as k:
            p = await k.spawn(code="fire('x')", tools=["add"])
            with pytest.raises(KernelError, match="not given"):
                await p.result()
            p = await k.spawn(code="spawn(code='fire(1)')\n1", tools=["add"])
            await p.result()
            for summary in k.ps():
                await until(k, summary.pid, State.EXITED)
            assert not world.began

    run(main())


@pytest.mark.parametrize("inputs", [{"x": object()}, {"x": {1, 2}}, {"x": b"1"}, {1: 2}])
def test_inputs_that_are_no_json_are_refused_or_plain(
    tmp_path: Path, inputs: dict[Any, Any]
) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            with contextlib.suppress(KernelError):
                await k.exec("1", inputs=inputs)
            assert k.store.failure is None
            assert await k.exec("2") == 2

    run(main())


def test_a_budget_of_time_holds_for_a_program(tmp_path: Path) -> None:
    async def main(k: Kernel) -> None:
        p = await k.spawn(code="for n in range(2000):\n    add(n, 1)", budget=Budget(wall=0.01))
        with pytest.raises(KernelError, match="time|seconds"):
            await p.result()

    async def outer() -> None:
        async with open_kernel(tmp_path, tools=[add]) as k:
            await main(k)

    run(outer())


def test_narrow_gives_a_handle_that_holds_less(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "a.txt").write_text("hello")

    @tool(name="files_read", effect="pure", needs="files")
    async def read(path: str, *, context: Context) -> str:
        """Reads."""
        grant, inner = context.capabilities.locate(path)
        return f"{grant.mode} {grant.root.joinpath(*inner).read_text()}"

    async def main() -> None:
        async with open_kernel(tmp_path, tools=[read]) as k:
            granted = [files(tmp_path / "box", "rw")]
            assert await k.exec("read(narrow('box/a.txt'))", files=granted) == "r hello"
            with pytest.raises(KernelError, match="not allowed"):
                await k.exec("narrow('box/../a.txt')", files=granted)

    run(main())


LONG = "n = 0\nfor i in range(1_000_000):\n    n += i\n"


def test_computing_takes_time_of_the_budget(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            source = f"p = spawn(code={LONG + 'n'!r})\nwait(p['pid'])"
            p = await k.spawn(code=source, budget=Budget(wall="1h"))
            assert await p.result() == 499_999_500_000
            child = k.process(p.pid + 1).process
            assert 0 < child.account.seconds <= p.process.account.seconds < 60

    run(main())


def test_a_program_whose_time_is_used_up_stops_and_goes_on_with_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            p = await k.spawn(code=LONG + "evict()\nn", budget=Budget(wall=0.001))
            with pytest.raises(KernelError, match="the time of its budget"):
                await p.result()
            await k.set_budget(p.pid, Budget(wall="1h"))
            await p.cont()
            assert await p.result() == 499_999_500_000

    run(main())
