"""Looking inside: what is recorded is true, what is changed is undone, and reports are harmless."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cabinos.cli.inspect import inspect_group
from cabinos.drivers.model.brain import BUILT_IN
from cabinos.engine import Model
from cabinos.train.errors import TrainError
from cabinos.train.inspect import ablation, hooks, plots, report
from cabinos.train.inspect import refusal as refusals
from cabinos.train.inspect.direction import find_direction, last_states
from cabinos.train.inspect.induction import induction
from cabinos.train.inspect.subject import Subject, open_subject
from cabinos.train.inspect.views import look, losses
from tests.engine.fixtures import tiny_gguf, tiny_hf_model

IDS = [7, 300, 12, 45, 300, 12, 99, 7, 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inspect")


@pytest.fixture(scope="module")
def subject(folder: Path) -> Subject:
    return open_subject(tiny_gguf(folder / "tiny.gguf", type="f32"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def logits(subject: Subject) -> torch.Tensor:
    with torch.no_grad():
        return subject.model.logits(torch.tensor([IDS]))[0]


def hooked(subject: Subject) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in subject.model.modules())


def test_hooks_change_nothing_unless_asked_and_leave_nothing(subject: Subject) -> None:
    before = logits(subject)
    with hooks.recorded(subject.model) as record:
        assert torch.equal(logits(subject), before)
    assert len(record.residual) == subject.model.config.depth + 1
    vector = torch.randn(subject.model.config.width, generator=torch.Generator().manual_seed(1))
    for change in (
        hooks.without_heads(subject.model, 1, [0, 2]),
        hooks.without_neurons(subject.model, 0, range(100)),
        hooks.steered(subject.model, 0, vector),
        hooks.without_direction(subject.model, vector),
    ):
        with change:
            assert not torch.equal(logits(subject), before)
        assert hooked(subject) == 0
        assert torch.equal(logits(subject), before)


def test_hooks_go_away_after_an_error(subject: Subject) -> None:
    with pytest.raises(RuntimeError), hooks.recorded(subject.model):  # noqa: PT012
        assert hooked(subject) > 0
        raise RuntimeError
    assert hooked(subject) == 0


def test_recorded_attention_is_what_the_fused_one_does(subject: Subject) -> None:
    attention = subject.model.layers[1].self_attn
    seen: list[torch.Tensor] = []
    handles = [
        attention.v_proj.register_forward_hook(lambda _m, _i, out: seen.append(out[0])),
        attention.o_proj.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0][0])),
    ]
    with hooks.recorded(subject.model) as record:
        logits(subject)
    for handle in handles:
        handle.remove()
    config = subject.model.config
    values = seen[0].view(len(IDS), config.kv_heads, config.head)
    values = values.repeat_interleave(config.heads // config.kv_heads, dim=1)
    mixed = torch.einsum("hts,she->the", record.attention[1], values).reshape(len(IDS), -1)
    assert torch.allclose(mixed, seen[1], atol=1e-5)
    assert torch.allclose(record.attention[1].sum(-1), torch.ones(config.heads, len(IDS)))


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf_file_computes_what_the_engine_computes(
    tmp_path: Path, family: str, tied: bool
) -> None:
    path = tiny_gguf(tmp_path / "m.gguf", "f32", family, tied=tied)  # type: ignore[arg-type]
    opened = open_subject(path)
    with Model(path, threads=1, kv_type="f32") as model, model.sequence() as sequence:
        expected = sequence.feed(IDS, logits="all")
    assert expected is not None
    assert np.allclose(logits(opened).numpy(), expected, atol=2e-3 * np.abs(expected).max())


def test_a_folder_and_its_file_are_one_model(tmp_path: Path) -> None:
    made = tiny_hf_model(tmp_path / "hf")
    from cabinos.engine.pack import pack

    pack(made, tmp_path / "m.gguf", type="f32")
    a, b = open_subject(made), open_subject(tmp_path / "m.gguf")
    assert torch.allclose(logits(a), logits(b), atol=1e-4)
    text = "The quick brown fox, twice."
    assert a.tokens(text) == b.tokens(text)
    assert [a.word(t) for t in a.tokens(text)] == [b.word(t) for t in b.tokens(text)]


def test_what_cannot_be_looked_into(tmp_path: Path, subject: Subject) -> None:
    (tmp_path / "no.gguf").write_bytes(b"GGUF")
    (tmp_path / "empty").mkdir()
    for path in ("no.gguf", "empty", "absent"):
        with pytest.raises(TrainError, match=path):
            open_subject(tmp_path / path)
    with pytest.raises(TrainError, match="qwen3"):
        open_subject(tiny_gguf(tmp_path / "q.gguf", architecture="qwen3"))
    with pytest.raises(TrainError, match="tokens"):
        subject.tokens("word " * 3000)
    with pytest.raises(TrainError, match="tokens"):
        subject.tokens("")
    with pytest.raises(TrainError, match="assistant"):
        refusals.refusal(subject)


def test_a_reading_agrees_with_the_logits(subject: Subject) -> None:
    reading = look(subject, IDS)
    logs = logits(subject).log_softmax(-1) / np.log(2)
    for at, step in enumerate(reading.steps):
        assert step.bits == pytest.approx(-float(logs[at, IDS[at + 1]]), abs=1e-4)
        assert step.rank == int((logs[at] > logs[at, IDS[at + 1]]).sum())
        assert step.guesses[0][1] == pytest.approx(2 ** float(logs[at].max()), abs=1e-4)
    assert torch.allclose(reading.lens.bits[-1], losses(subject, IDS), atol=1e-4)
    assert reading.lens.words[-1][-1] == reading.next[0][0]


def test_heads_and_neurons_without_output_do_nothing(folder: Path) -> None:
    subject = open_subject(tiny_gguf(folder / "mute.gguf", type="f32"))
    length = subject.model.config.head
    with torch.no_grad():
        subject.model.layers[0].self_attn.o_proj.weight[:, length : 2 * length] = 0
        subject.model.layers[0].mlp.down_proj.weight[:, :] = 0
        subject.model.layers[1].mlp.down_proj.weight[:, 1:] = 0
    effects = ablation.heads(subject, IDS)
    assert effects[0, 1] == 0
    assert (effects[1] != 0).all()
    found = ablation.neurons(subject, IDS, 3)
    assert (found[0].layer, found[0].index) == (1, 0)
    assert found[0].effect != 0
    assert [neuron.effect for neuron in found[1:]] == [0, 0]
    whole = losses(subject, IDS).mean()
    with hooks.without_neurons(subject.model, 1, [0]):
        assert float(losses(subject, IDS).mean() - whole) == pytest.approx(found[0].effect)


def test_the_induction_score_knows_an_induction_head(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = 10

    def perfect(attention: object, x: torch.Tensor, *_: object) -> torch.Tensor:
        count = x.shape[1]
        pattern = torch.zeros(subject.model.config.heads, count, count)
        for at in range(count):
            pattern[0, at, max(0, at - length + 1)] = 1  # what followed the same token
            pattern[1, at, max(0, at - 1)] = 1  # the token before
        return pattern

    monkeypatch.setattr(hooks, "_pattern", perfect)
    found = induction(subject, length=length, texts=2)
    assert found.scores[:, 0].tolist() == pytest.approx([1, 1])
    assert found.scores[:, 1:].max() == 0
    assert found.previous[:, 1].tolist() == pytest.approx([1, 1])


def test_a_direction_tells_apart_what_it_was_not_made_from(subject: Subject) -> None:
    generator = torch.Generator().manual_seed(3)
    start = torch.randint(64, 500, (12, 5), generator=generator).tolist()
    toward, away = ([[*ids, last] for ids in start] for last in (8, 9))
    found = find_direction(subject, toward, away)
    assert found.separation[found.layer] == 1.0
    with hooks.steered(subject.model, found.layer, found.vector):
        moved = last_states(subject, away[:1])[0, found.layer]
    plain = last_states(subject, away[:1])[0, found.layer]
    assert torch.allclose(moved - plain, found.vector, atol=1e-4)
    with hooks.without_direction(subject.model, found.vector):
        states = last_states(subject, away[:1])[0]
    assert (states @ found.vector).abs().max() < 1e-3 * found.vector.norm() * states.norm()
    with pytest.raises(TrainError, match="at least"):
        find_direction(subject, toward[:2], away)


def test_the_brain_in_the_box_has_a_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "CALLS", refusals.CALLS[:4])
    monkeypatch.setattr(refusals, "DECLINES", refusals.DECLINES[:4])
    found = refusals.refusal(open_subject(BUILT_IN))
    assert set(found.chances) >= {"as it is", "toward calls", "toward declining"}
    assert found.chances["toward declining"][0] < found.chances["as it is"][0]
    assert plots.refusal(found).startswith(b"\x89PNG")
    assert plots.separation(found.direction).startswith(b"\x89PNG")


def test_a_report_escapes_what_a_text_says(subject: Subject) -> None:
    reading = look(subject, IDS)
    hostile = "<script>$x^{$ \u202e\n"
    reading.words[1] = hostile
    reading.lens.words[0][1] = hostile
    pictures = [
        report.Picture(name, getattr(plots, name)(reading), "<b>") for name in ("loss", "lens")
    ]
    page = report.page("<i>", pictures, reading)
    assert page.count("data:image/png;base64,") == 2
    for text in ("<script", "<b>", "<i>", "\u202e"):
        assert text not in page


def test_the_command(folder: Path, subject: Subject) -> None:
    runner, model = CliRunner(), subject.name
    words = ["text", model, "The quick brown fox", "-o", str(folder / "out")]
    result = runner.invoke(inspect_group, words)
    assert result.exit_code == 0, result.output
    assert "logit lens" in result.output
    assert {p.name for p in (folder / "out").iterdir()} == {
        "report.html", "loss.png", "lens.png", "heads.png", "attention.png"
    }  # fmt: skip
    facts = json.loads(runner.invoke(inspect_group, [*words[:3], "--json"]).stdout)
    assert len(facts["tokens"]) == len(subject.tokens("The quick brown fox")) - 1
    (folder / "a").write_text("one fox\ntwo fox\nred fox\nthe fox")
    (folder / "b").write_text("one dog\ntwo dog\nred dog\nthe dog")
    files = ["--toward", str(folder / "a"), "--away", str(folder / "b")]
    result = runner.invoke(inspect_group, ["steer", model, "The", *files, "-n", "3", "--json"])
    assert set(json.loads(result.stdout)["said"]) == {"away", "as it is", "toward"}
    result = runner.invoke(inspect_group, ["induction", model])
    assert "induction score" in result.output
    result = runner.invoke(inspect_group, ["text", str(folder / "none.gguf"), "x"])
    assert result.exit_code == 1
    assert "none.gguf" in str(result.exception)
