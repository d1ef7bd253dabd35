"""What is private goes to no model on another machine, unless the person says so."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from cabinos.drivers import files as files_driver
from cabinos.drivers import notes, passages
from cabinos.kernel.capability import Capabilities, files
from cabinos.kernel.driver import ThinkRequest, Thought
from cabinos.kernel.kernel import Kernel
from tests.kernel.help import run
from tests.kernel.models import ScriptedModel, calls

SECRET = "the safe opens with 40-17-3"


class Brain(ScriptedModel):
    """One that is here, or elsewhere."""

    def __init__(self, name: str, *replies: Any, local: bool = False) -> None:
        super().__init__(*replies)
        self.name, self.local = name, local

    @property
    def seen(self) -> str:
        """Everything that it was ever shown."""
        return "\n".join(
            f"{m.text} {[(c.name, c.arguments, c.raw) for c in m.calls]}"
            for request in self.requests
            for m in request.messages
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "docs"
    (place / "letters").mkdir(parents=True)
    (place / "letters" / "safe.txt").write_text(f"Remember: {SECRET}.\n")
    (place / "public.txt").write_text("The office opens at nine.\n")
    return place


def kernel(place: Path, *models: Brain, **cabin: Any) -> Kernel:
    devices = [files_driver.driver({}), passages.driver({}), notes.driver({})]
    return Kernel.open(
        place / "cabin.db", drivers=devices, models=models, synchronous="normal",
        config={"cabin": cabin},
    )  # fmt: skip


async def follow(kernel: Kernel, request: str, say: str, **options: Any) -> list[dict[str, Any]]:
    """Runs a request to its end; answers each question with `say` and returns the questions."""
    asked = []
    handle = await kernel.spawn(request, **options)
    async for event in handle.events():
        if event.kind == "ask":
            asked.append(event.data)
            await kernel.answer(event.data["ask"], say)
    return asked


READ = [
    ("files_read", {"path": "docs/letters/safe.txt"}),
    ("files_search", {"query": "safe"}),
    ("files_passages", {"query": "how does the safe open?"}),
]


@pytest.mark.parametrize("call", READ, ids=[name for name, _ in READ])
@pytest.mark.parametrize("say", ["approved", "denied"])
def test_a_person_decides_and_is_asked_once(
    tmp_path: Path, folder: Path, call: Any, say: str
) -> None:
    async def main() -> None:
        brain = Brain("smart", calls(call), calls(("notes_list", {})), "done")
        async with kernel(tmp_path, brain) as k:
            grants = [files(folder, "rw", private=True)]
            asked = await follow(k, "What about the safe?", say, files=grants)
            assert len(asked) == 1
            assert "smart" in asked[0]["question"]
            assert any(SECRET in text for text in asked[0]["detail"]["arguments"].values())
            assert (SECRET in brain.seen) is (say == "approved")
            assert ("did not let it see" in brain.seen) is (say == "denied")
            kinds = [entry.kind for entry in k.entries(1)]
            assert kinds.count("release" if say == "approved" else "withhold") == 1

    run(main(), 60)


def test_a_brain_on_this_machine_is_asked_nothing(tmp_path: Path, folder: Path) -> None:
    async def main() -> None:
        brain = Brain("small", calls(READ[0]), "done", local=True)
        async with kernel(tmp_path, brain) as k:
            grants = [files(folder, private=True)]
            assert await follow(k, "Read.", "denied", files=grants) == []
            assert SECRET in brain.seen

    run(main(), 60)


@pytest.mark.parametrize(
    ("path", "private"),
    [("docs/public.txt", False), ("docs/letters/safe.txt", True), ("docs/letters", True),
     ("docs", True), ("", True), ("docs/letters2", False), ("../x", True)],
)  # fmt: skip
def test_a_private_folder_inside_of_another(folder: Path, path: str, private: bool) -> None:
    inner = files(folder / "letters", private=True)
    for own in (
        Capabilities(files=(files(folder), inner)),
        Capabilities(files=(files(folder),), private=(folder / "letters",)),
        Capabilities(files=(files(folder), inner)).attenuate(Capabilities(files=(files(folder),))),
    ):
        assert own.holds_private(path) is private
        again = Capabilities.from_json(json.loads(json.dumps(own.to_json())))
        assert again == own
    assert not Capabilities(files=(files(folder),)).holds_private(path)


def test_what_the_configuration_calls_private(tmp_path: Path, folder: Path) -> None:
    async def main() -> None:
        brain = Brain("smart", calls(("files_read", {"path": "docs/public.txt"}), READ[0]), "done")
        async with kernel(tmp_path, brain, private=[str(folder / "letters")]) as k:
            asked = await follow(k, "Read both.", "denied", files=[files(folder)])
            assert len(asked) == 1
            assert SECRET not in brain.seen
            assert "opens at nine" in brain.seen

    run(main(), 60)


def test_what_a_local_brain_made_of_it_is_private_too(tmp_path: Path, folder: Path) -> None:
    """Its words, its calls and their results, its notes, its children, and its messages."""

    async def main() -> None:
        small = Brain(
            "small",
            calls(READ[0]),
            calls(("notes_remember", {"text": SECRET})),
            calls(("spawn", {"request": f"Is it right that {SECRET}?"})),
            f"Well: {SECRET}.",
            local=True,
        )
        smart = Brain("smart", "I see nothing.")
        async with kernel(tmp_path, small, smart) as k:
            handle = await k.spawn(
                "Look.", model="small", files=[files(folder, private=True)], stay=True
            )
            async for event in handle.events():
                if event.kind == "state" and event.data["why"] == "a message":
                    break
            for pid in [row.pid for row in k.ps()]:
                await k.set_model(pid, "smart")
            await handle.send("And now?")
            async for event in handle.events():
                if event.kind == "ask":
                    await k.answer(event.data["ask"], "denied")
                elif event.kind == "state" and event.data["why"] == "a message":
                    break
            assert len(smart.requests) >= 1
            assert SECRET not in smart.seen
            assert "And now?" in smart.seen

    run(main(), 60)


def test_a_note_goes_to_no_brain_that_has_not_seen_it(tmp_path: Path) -> None:
    recall = calls(("notes_recall", {"query": "safe"}))

    async def main() -> None:
        small = Brain("small", calls(("notes_remember", {"text": SECRET})), "noted", local=True)
        remember = calls(("notes_remember", {"text": "safe: blue"}))
        forget = calls(("notes_forget", {"thing": "1"}))
        smart = Brain("smart", recall, "done", remember, "noted", forget, "done", recall, "done")
        async with kernel(tmp_path, small, smart) as k:
            assert await follow(k, "Note it.", "denied", model="small") == []
            assert len(await follow(k, "Recall it.", "denied", model="smart")) == 1
            assert SECRET not in smart.seen
            assert await follow(k, "Note this.", "denied", model="smart") == []
            await follow(k, "Forget the first.", "denied", model="smart")
            assert SECRET not in smart.seen
            assert await follow(k, "Recall it.", "denied", model="smart") == []
            assert "safe: blue" in smart.seen

    run(main(), 60)


@pytest.mark.parametrize("say", ["approved", "denied"])
def test_handing_over_is_one_question(tmp_path: Path, folder: Path, say: str) -> None:
    async def main() -> None:
        small = Brain("small", calls(READ[0]), calls(("escalate", {})), "done", local=True)
        smart = Brain("smart", "I take it from here.")
        async with kernel(tmp_path, small, smart, escalate="smart") as k:
            grants = [files(folder, private=True)]
            asked = await follow(k, "Look.", say, model="small", files=grants)
            assert len(asked) == 1
            assert "files_read:docs/letters/safe.txt" in asked[0]["question"]
            assert len(smart.requests) == (1 if say == "approved" else 0)
            assert (SECRET in smart.seen) is (say == "approved")

    run(main(), 60)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_done_nothing_private_reaches_a_brain_elsewhere(
    tmp_path: Path, folder: Path, seed: int
) -> None:
    """Random calls of two brains that change places, and a person who always says no."""
    rng = random.Random(seed)
    own = [
        *READ[:3],
        ("notes_remember", {"text": SECRET}),
        ("notes_recall", {"query": "safe"}),
        ("notes_list", {"kind": "note"}),
        ("recall", {"query": "safe"}),
        ("spawn", {"request": f"Check {SECRET}"}),
        ("exec", {"code": "read('docs/letters/safe.txt')"}),
        ("exec", {"code": "think('Say: ' + read('docs/letters/safe.txt'))"}),
        ("wait", {"pid": 2}),
        ("escalate", {}),
    ]

    def reply(request: ThinkRequest) -> Thought:
        known = SECRET if any(SECRET in m.text for m in request.messages) else ""
        if rng.random() < 0.25:
            return Thought(f"done. {known}")
        able = [call for call in own if known or SECRET not in json.dumps(call)]
        return calls(*rng.sample(able, rng.choice((1, 1, 2))), text=known)

    async def main() -> None:
        small, smart = Brain("small", reply, local=True), Brain("smart", reply)
        small.local = True
        async with kernel(tmp_path, small, smart, escalate="smart") as k:
            grants = [files(folder, private=True)]
            for _ in range(4):
                model = rng.choice(("small", "smart"))
                await follow(k, "Go on.", "denied", model=model, files=grants, max_steps=8)
            for row in k.ps():
                await k.kill(row.pid)
            assert SECRET not in smart.seen

    run(main(), 60)
