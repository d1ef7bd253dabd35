"""Stage 2: what is learnt, that nothing leaks between rows, and a run that can be killed."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cabinos.engine.lora import load_adapter
from cabinos.train import checkpoint, loop, lora
from cabinos.train.errors import NotANumber, TrainError
from cabinos.train.evaluate import answers
from cabinos.train.export import export_hf
from cabinos.train.finetune import Material, finetune, open_run
from cabinos.train.hardware import Machine, Processes
from cabinos.train.model import Llama
from cabinos.train.pretrain import pretrain
from cabinos.train.row_batches import RowBatch, RowStream, alike, epoch_groups
from cabinos.train.rows import open_speech
from cabinos.train.saved import load_run
from cabinos.train.session import Options
from tests.train import runs
from tests.train.conversations import tiny, write_rows
from tests.train.runs import losses

CPU = Machine(torch.device("cpu"), torch.float32)
ALONE = Processes(0, 1)
QUICK = Options(device="cpu", dtype="float32", compiled=False, threads=1, test_every=1000)
ROOT = Path(__file__).parents[2]
OWN_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + ':' + message.content }}
{%- for call in message.tool_calls or [] %}
{{- '!' + call.function.name + (call.function.arguments | tojson) }}
{%- endfor %}
{{- '<|im_end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant:' }}{%- endif %}"""


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of 8 updates, that dreams badly."""
    out = tmp_path_factory.mktemp("base")
    pretrain(runs.tiny(tokens=256 * 8, long_context=256), data, out, QUICK)
    return out


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", 60)


@pytest.fixture
def material(base: Path, rows: Path) -> Material:
    return Material(base, [rows], held=rows)


def opened(material: Material, out: Path, **changes: Any) -> loop.Run:
    return open_run(tiny(**changes), material, out, CPU, ALONE)


def rows_of(run: loop.Run) -> Any:
    assert isinstance(run.stream, RowStream)
    return run.stream._rows


def alone(model: Llama, row: tuple[Any, Any]) -> tuple[torch.Tensor, int]:
    """The loss of one row by itself, unpadded, over all positions of the output matrix."""
    ids, learnt = (torch.from_numpy(np.array(part)) for part in row)
    targets = ids[1:].long().where(learnt[1:], -1)
    return model(ids[None, :-1].long(), targets[None]), int(learnt[1:].sum())


def test_a_group_of_rows_learns_what_they_learn_one_by_one(
    material: Material, tmp_path: Path
) -> None:
    run = opened(material, tmp_path)
    rows, batch = rows_of(run), run.stream.batch(0)
    assert isinstance(batch, RowBatch)
    total = torch.zeros(())
    for part in batch.parts():
        total = total + run.model(*loop._on(CPU.device, part))
    total.backward()
    together = {name: p.grad.clone() for name, p in run.model.named_parameters()}
    run.model.zero_grad()
    single = [alone(run.model, rows.row(int(i))) for group in batch.groups for i in group]
    sum(loss for loss, _ in single).backward()
    assert total.item() == pytest.approx(sum(loss.item() for loss, _ in single), rel=1e-5)
    assert len(batch.targets) == sum(count for _, count in single)
    for name, p in run.model.named_parameters():
        assert torch.allclose(together[name], p.grad, rtol=1e-3, atol=1e-4), name


def test_every_row_is_seen_once_an_epoch_in_another_order(
    material: Material, tmp_path: Path
) -> None:
    run = opened(material, tmp_path)
    rows, config = rows_of(run), tiny()
    epochs = [epoch_groups(rows, config, epoch) for epoch in range(2)]
    for groups in epochs:
        assert sorted(np.concatenate(groups).tolist()) == list(range(60))
        for group in groups:
            assert len(group) == 1 or len(group) * (rows.lengths[group].max() - 1) <= 256
    assert np.concatenate(epochs[0]).tolist() != np.concatenate(epochs[1]).tolist()
    stream = RowStream(rows, config)
    steps = (len(epochs[0]) + len(epochs[1])) // 2
    seen = [row for step in range(steps) for group in stream.batch(step).groups for row in group]
    assert sorted(seen[:60]) == list(range(60))
    later = RowStream(rows, config)
    assert str(later.batch(steps - 1)) == str(stream.batch(steps - 1))


def test_a_row_longer_than_the_parts_goes_alone() -> None:
    groups = alike(np.array([10, 500, 11, 12]), np.arange(4), 64)
    assert sorted(map(len, groups)) == [1, 3]


def test_a_run_learns_to_answer(material: Material, tmp_path: Path) -> None:
    options = Options(device="cpu", dtype="float32", compiled=False, threads=1, test_every=20)
    finetune(tiny(tokens=512 * 40), material, tmp_path, options)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first, last = (line["held_out"] for line in lines if "held_out" in line)
    assert last["loss"] < first["loss"] < 4
    assert last["tokens"] > max(first["tokens"], 0.5)
    _, companion = load_run(tmp_path)
    assert (companion / "chat_template.jinja").is_file()
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["data"]["rows"] == 60
    assert 0 < facts["data"]["learnt"] < facts["data"]["tokens"]


def test_right_rows_are_counted(material: Material, tmp_path: Path) -> None:
    run = opened(material, tmp_path)
    rows = rows_of(run)
    fresh = answers(run.model, rows)
    expected = [alone(run.model, rows.row(i)) for i in range(60)]
    mean = sum(loss.item() for loss, _ in expected) / sum(count for _, count in expected)
    assert fresh["loss"] == pytest.approx(mean, rel=1e-5)
    assert fresh["rows"] == 0.0
    right = _Oracle(run.model, rows)
    assert answers(right, rows) == {"loss": pytest.approx(0, abs=1e-6), "tokens": 1, "rows": 1}


class _Oracle:
    """Knows every row by heart: a state is the next token, the output matrix the identity."""

    def __init__(self, model: Llama, rows: Any) -> None:
        self.embed_tokens = model.embed_tokens
        self.output = torch.eye(model.config.vocabulary) * 50
        self._next = {tuple(rows.row(i)[0][:-1].tolist()): rows.row(i)[0] for i in range(len(rows))}

    def hidden(self, inputs: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(*inputs.shape, len(self.output))
        for r, line in enumerate(inputs.tolist()):
            row = next(ids for key, ids in self._next.items() if tuple(line[: len(key)]) == key)
            for t, token in enumerate(row[1:].tolist()):
                h[r, t, token] = 1.0
        return h


@pytest.mark.parametrize("rank", [0, 2])
def test_a_killed_run_goes_on_bit_for_bit(
    base: Path, rows: Path, tmp_path: Path, rank: int
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    command = [
        sys.executable,
        "-m",
        "tests.train.conversations",
        *map(str, (base, rows, cut, rank)),
    ]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 120
        while not list(cut.glob("step-0000000[4-9].safetensors")):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.005)
        process.kill()  # SIGKILL: nothing can be tidied up
        process.communicate()
    assert len(losses(cut)) < 16
    for out in (cut, whole):
        finetune(tiny(rank=rank), Material(base, [rows]), out, QUICK)
    assert losses(cut) == losses(whole)
    assert len(losses(whole)) == 16
    ours, theirs = (checkpoint._read(checkpoint.latest(out))[0] for out in (cut, whole))  # type: ignore[arg-type]
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def test_two_processes_have_the_loss_curve_of_one(base: Path, rows: Path, tmp_path: Path) -> None:
    finetune(tiny(), Material(base, [rows]), tmp_path / "one", QUICK)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += ["-m", "tests.train.conversations", str(base), str(rows), str(tmp_path / "two"), "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-3)


def test_a_loss_that_is_no_number_names_the_rows(material: Material, tmp_path: Path) -> None:
    run = opened(material, tmp_path)
    with torch.no_grad():
        run.model.norm.weight[3] = math.inf
    before = run.model.embed_tokens.weight.clone()
    with pytest.raises(NotANumber, match=r"update 1: the loss .*rows\.jsonl:\d+, "):
        loop.train(run, [])
    assert torch.equal(run.model.embed_tokens.weight, before)


def test_only_adapters_learn_and_the_engine_loads_them(
    material: Material, tmp_path: Path, data: Path
) -> None:
    run = finetune(tiny(rank=2, other_rate=0.02), material, tmp_path / "run", QUICK)
    before, _ = load_run(material.base)
    frozen = dict(before.named_parameters())
    trained = [name for name, p in run.model.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * 7 * before.config.depth
    for name, p in run.model.named_parameters():
        if name in frozen:
            assert torch.equal(p, frozen[name]), name
        else:
            assert ".lora_" in name
            assert p.abs().sum() > 0
    path = checkpoint.latest(tmp_path / "run")
    assert path is not None
    assert path.stat().st_size < 500_000  # not the frozen weights
    merged, _ = load_run(tmp_path / "run")
    tokens = torch.tensor([list(range(40, 90))])
    with torch.no_grad():
        difference = (merged.logits(tokens) - run.model.logits(tokens)).abs().max()
    assert difference < 1e-4
    adapter = load_adapter(tmp_path / "run" / "adapter")
    for name, weight in merged.named_parameters():
        added = adapter.apply(f"model.{name}", frozen[name].detach().numpy())
        assert np.allclose(added, weight.detach().numpy(), atol=1e-6), name
    export_hf(merged, tmp_path / "run" / "hf", tmp_path / "merged")
    assert (tmp_path / "merged" / "model.safetensors").is_file()


def test_a_hugging_face_folder_keeps_its_own_template(material: Material, tmp_path: Path) -> None:
    model, tokenizer = load_run(material.base)
    folder = export_hf(model, tokenizer, tmp_path / "hf")
    (folder / "chat_template.jinja").write_text(OWN_TEMPLATE)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    small = {"rank": 1, "tokens": 1024, "batch_tokens": 1024, "micro_tokens": 1024}
    run = finetune(
        tiny(**small, context=256), Material(folder, material.rows), tmp_path / "run", QUICK
    )
    ids, learnt = rows_of(run).row(0)
    speech = open_speech(tmp_path / "run" / "hf")
    text = speech.tokenizer.decode(ids.tolist(), special=True)
    assert text.startswith("<|im_start|>user:how many")
    said = speech.tokenizer.decode(ids[learnt].tolist(), special=True)
    assert said.startswith('!units_convert{"value": ')
    assert said.endswith("<|im_end|>")
    _, companion = load_run(tmp_path / "run")
    assert (companion / "chat_template.jinja").read_text() == OWN_TEMPLATE
    assert json.loads((companion / "config.json").read_text())["dtype"] == "float32"


def test_nothing_held_out_is_nothing_told(material: Material, tmp_path: Path) -> None:
    finetune(tiny(tokens=512), Material(material.base, material.rows), tmp_path, QUICK)
    assert "held_out" not in (tmp_path / "metrics.jsonl").read_text()


def test_an_unknown_matrix_is_named(material: Material, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="no matrix is called 'w1'"):
        opened(material, tmp_path, rank=2, adapted=("q_proj", "w1"))


def test_adapters_of_other_weights_are_refused(
    material: Material, data: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    pretrain(runs.tiny(tokens=256, long_context=256), data, base, QUICK)
    finetune(tiny(rank=1, tokens=512), Material(base, material.rows), tmp_path / "run", QUICK)
    model, _ = load_run(base)
    with torch.no_grad():
        model.norm.weight += 1
    path = checkpoint.latest(base)
    assert path is not None
    checkpoint.save_weights(path, model)
    with pytest.raises(TrainError, match="not the weights that the adapters"):
        load_run(tmp_path / "run")
    with pytest.raises(TrainError, match="another base_weights"):
        finetune(tiny(rank=1, tokens=512), Material(base, material.rows), tmp_path / "run", QUICK)


def test_other_rows_are_refused(material: Material, tmp_path: Path) -> None:
    opened(material, tmp_path)
    other = write_rows(tmp_path / "other.jsonl", 20, seed=9)
    with pytest.raises(TrainError, match="another rows"):
        opened(Material(material.base, [other]), tmp_path)


def test_texts_of_stage_one_are_mixed_in(material: Material, data: Path, tmp_path: Path) -> None:
    with_texts = Material(material.base, material.rows, texts=data)
    run = opened(with_texts, tmp_path, replay=0.25)
    rows = rows_of(run)
    texts = len(rows) - 60
    added = rows.lengths[60:].sum() / rows.lengths[:60].sum()
    assert texts > 1
    assert added == pytest.approx(0.25, abs=0.1)
    assert rows.row(61)[1].all()
    with pytest.raises(TrainError, match="--replay needs the data folder"):
        opened(material, tmp_path / "other", replay=0.25)


def test_epochs_say_how_many_updates(material: Material, tmp_path: Path) -> None:
    run = opened(material, tmp_path, tokens=0, epochs=2.0)
    groups = len(epoch_groups(rows_of(run), tiny(), 0))
    assert run.config.steps == groups


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"micro_tokens": 1024}, "must not be more than batch_tokens"),
        ({"replay": 2.0}, "replay must be from 0 to 1"),
        ({"rank": -1}, "the rank of adapters"),
        ({"epochs": 0}, "epochs must be positive"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(TrainError, match=problem):
        tiny(**wrong)


def test_a_base_that_is_none_is_named(tmp_path: Path, rows: Path) -> None:
    with pytest.raises(TrainError, match=r"no config\.json"):
        opened(Material(tmp_path, [rows]), tmp_path / "out")


def test_merging_changes_nothing_that_has_not_learnt(material: Material, tmp_path: Path) -> None:
    run = opened(material, tmp_path, rank=3)
    before, _ = load_run(material.base)
    lora.merge(run.model)
    assert run.model.state_dict().keys() == before.state_dict().keys()
    for name, weight in before.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], weight), name
