"""Budgets: exact after each thought, never overshot by more than a call, never reset."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cabinos.kernel import births, budget
from cabinos.kernel.budget import Account, Budget
from cabinos.kernel.driver import ThinkRequest, Thought
from cabinos.kernel.errors import BudgetExceeded, KernelError
from cabinos.kernel.process import State
from cabinos.kernel.spawn import Spawn
from tests.kernel.help import open_kernel, run, until
from tests.kernel.models import ScriptedModel


@pytest.mark.parametrize(
    ("wall", "seconds"), [(5, 5), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("1d", 86400), (0, 0)]
)
def test_times_of_a_budget(wall: float | str, seconds: float) -> None:
    assert Budget(wall=wall).account().second_limit == seconds


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens": -1}, {"tokens": "9"}, {"tokens": NAN}, {"tokens": 1.5}, {"tokens": True},
        {"usd": -0.1}, {"usd": NAN}, {"usd": INF}, {"usd": "1"},
        {"wall": -1}, {"wall": "10"}, {"wall": "m"}, {"wall": ""}, {"wall": NAN}, {"wall": INF},
        {"wall": True}, {"wall": "10 m"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_limit_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Budget(**wrong)  # type: ignore[arg-type]


LIMITS = st.one_of(st.none(), st.integers(0, 1000))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(LIMITS, LIMITS), min_size=1, max_size=4),
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 400), st.integers(0, 400), st.booleans()),
        max_size=20,
    ),
)
def test_a_lineage_never_overshoots(
    limits: list[tuple[int | None, int | None]], thoughts: list[tuple[int, int, int, bool]]
) -> None:
    """Whatever is reserved and spent below it, no account passes a limit; all are exact."""
    accounts = [(pid, Account(tokens, None, micros)) for pid, (tokens, micros) in enumerate(limits)]
    tokens_spent = micros_spent = 0
    for asked, wanted, micros, crash in thoughts:
        least = min(asked, wanted)
        before = [(a.tokens, a.micros) for _, a in accounts]
        try:
            granted = budget.affordable(accounts, asked, least)
            budget.reserve(accounts, granted, micros)
        except BudgetExceeded:
            assert before == [(a.tokens, a.micros) for _, a in accounts]
            assert all(a.reserved_tokens == a.reserved_micros == 0 for _, a in accounts)
            continue
        assert least <= granted <= asked
        if crash:
            accounts = [(pid, Account.from_json(a.to_json())) for pid, a in accounts]
            assert all(a.forget_reservations() == bool(granted or micros) for _, a in accounts)
            tokens_spent, micros_spent = tokens_spent + granted, micros_spent + micros
        else:
            used = granted // 2
            budget.settle(accounts, (granted, micros), (used, micros // 2), 0.0)
            tokens_spent, micros_spent = tokens_spent + used, micros_spent + micros // 2
        for (_, account), (tokens, money) in zip(accounts, limits, strict=True):
            assert account.tokens == tokens_spent
            assert account.micros == micros_spent
            assert account.reserved_tokens == account.reserved_micros == 0
            assert tokens is None or account.tokens <= tokens
            assert money is None or account.micros <= money


class Costly(ScriptedModel):
    """Reads and writes as much as it is allowed to, and notes what it was."""

    def __init__(self, *replies: str, **options: float) -> None:
        super().__init__(*replies, price=(2.0, 10.0), latency=0.001)
        self.spent = 0
        self.largest = 0

    async def think(self, request: ThinkRequest) -> Thought:
        self.requests.append(request)
        await asyncio.sleep(self.latency)
        read = sum(self.count(m.text) for m in request.messages)
        written = max(1, request.max_tokens // 2)
        self.spent += read + written
        self.largest = max(self.largest, read + request.max_tokens)
        return Thought("more", input_tokens=read, output_tokens=written)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(0, 6000))
def test_a_tree_of_processes_spends_no_more_than_its_root_has(
    tmp_path_factory: pytest.TempPathFactory, parents: list[int], limit: int
) -> None:
    async def main(place: Path) -> None:
        model = Costly()
        async with open_kernel(place, model) as k:
            root = await k.spawn("root", budget=Budget(tokens=limit), stay=True)
            tree = [root]
            for parent in parents:
                tree += await tree[parent % len(tree)].fork()
            for handle in tree:
                await until(k, handle.pid, State.BLOCKED, State.STOPPED, State.EXITED)
            for handle in tree:
                if handle.state != State.EXITED:
                    await handle.send("again")
            for handle in tree:
                await until(k, handle.pid, State.BLOCKED, State.STOPPED, State.EXITED)
            await k.store.commit()
        async with open_kernel(place, model) as k:
            account = k.table.get(root.pid).account
            assert account.reserved_tokens == 0
            assert account.tokens == model.spent, "exact to the token"
            assert account.tokens <= limit
            assert limit < 500 or account.tokens > 0

    run(main(tmp_path_factory.mktemp("tree")))


def test_an_empty_budget_thinks_nothing_and_says_why(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel(price=(1.0, 1.0))
        async with open_kernel(tmp_path, model) as k:
            for empty in (Budget(tokens=0), Budget(usd=0), Budget(wall=0)):
                p = await k.spawn("hello", budget=empty)
                with pytest.raises(KernelError, match="tokens left|spent|seconds|time"):
                    await p.result()
                assert p.state == State.STOPPED
            assert model.requests == []

    run(main())


def test_a_raised_limit_and_cont_go_on_where_it_was(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel("one")
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("hello", budget=Budget(tokens=50))
            with pytest.raises(KernelError, match="50 tokens left|of its 50 tokens"):
                await p.result()
            await k.set_budget(p.pid, Budget(tokens=50_000))
            await p.cont()
            assert await p.result() == "one"
            assert p.process.account.token_limit == 50_000

    run(main())


def test_money_is_booked_as_the_model_asks(tmp_path: Path) -> None:
    async def main() -> None:
        thought = Thought("x", input_tokens=1_000_000, output_tokens=100_000)
        async with open_kernel(tmp_path, ScriptedModel(thought, price=(3.0, 15.0))) as k:
            p = await k.spawn("hello")
            await p.result()
            assert p.process.account.usd == 3.0 + 1.5

    run(main())


def test_a_child_that_has_no_budget_left_fails_and_its_parent_hears(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path, ScriptedModel("x")) as k:
            caught = "except RuntimeError as e:\n    said = str(e)\nsaid"
            source = f"p = spawn('a')\ntry:\n    wait(p['pid'])\n{caught}"
            p = await k.spawn(code=source, budget=Budget(tokens=10))
            assert "tokens left" in str(await p.result())

    run(main())


def test_many_at_once_do_not_reserve_the_same_tokens(tmp_path: Path) -> None:
    async def main() -> None:
        model = Costly()
        async with open_kernel(tmp_path, model) as k:
            root = await k.spawn(code="ask('wait')", budget=Budget(tokens=3000))
            await until(k, root.pid, State.BLOCKED)
            process = root.process

            children = [births.make_child(k, process, Spawn(request=f"{n}")) for n in range(20)]
            for child in children:
                await k.ended(child.pid)
            assert process.account.tokens == model.spent <= 3000
            assert {(child.status or {})["code"] for child in children} == {"done", "failed"}
            await root.kill()

    run(main())
