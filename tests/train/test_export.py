"""What is exported: the engine says the same as torch, transformers loads it, errors are clear."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cabinos.engine.gguf import read_gguf
from cabinos.engine.model import Model
from cabinos.train import checkpoint
from cabinos.train.errors import TrainError
from cabinos.train.export import export_gguf, export_hf
from cabinos.train.model import Llama
from cabinos.train.pretrain import Options, pretrain
from cabinos.train.saved import load_run
from cabinos.train.tokenizer import open_tokenizer
from tests.train.runs import tiny
from tests.train.test_model import small_model


@pytest.fixture
def model(data: Path) -> Llama:
    return small_model(vocabulary=open_tokenizer(data / "tokenizer.json").get_vocab_size())


def greedy(model: Llama, prompt: list[int], count: int) -> list[int]:
    tokens = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            tokens.append(int(model.logits(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]


def test_the_engine_and_torch_agree_on_greedy_tokens(
    model: Llama, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    export_gguf(model, data / "tokenizer.json", path, "f32")
    with Model(path, threads=1, cache=False, kv_type="f32") as engine:
        for start in range(100, 1100, 100):
            expected = greedy(model, [0, start], 40)
            with engine.sequence() as sequence:
                logits, ours = sequence.feed([0, start]), []
                for _ in range(40):
                    assert logits is not None
                    ours.append(int(np.argmax(logits)))
                    logits = sequence.feed(ours[-1:])
            assert ours == expected


@pytest.mark.parametrize(("kind", "tolerance"), [("f16", 1e-2), ("q8_0", 0.1), ("q4_0", 1.0)])
def test_smaller_types_stay_near(
    kind: str, tolerance: float, model: Llama, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    report = export_gguf(model, data / "tokenizer.json", path, kind, name="tiny")
    assert report.parameters == model.config.parameters
    tokens = [0, *range(200, 240)]
    with Model(path, threads=1, cache=False) as engine, engine.sequence() as sequence:
        ours = sequence.feed(tokens, logits="all")
    with torch.no_grad():
        theirs = model.logits(torch.tensor([tokens]))[0].numpy()
    assert ours is not None
    assert np.sqrt(np.mean((ours - theirs) ** 2)) < tolerance * theirs.std()


def test_the_file_carries_tokenizer_and_template(model: Llama, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    export_gguf(model, data / "tokenizer.json", path, "q8_0", name="tiny")
    facts = read_gguf(path).metadata
    assert facts["general.name"] == "tiny"
    assert facts["tokenizer.ggml.pre"] == "smollm"
    assert "tool_response" in str(facts["tokenizer.chat_template"])
    assert facts["tokenizer.ggml.eos_token_id"] == facts["tokenizer.ggml.bos_token_id"] == 0
    assert facts["tokenizer.ggml.eot_token_id"] == 2


def test_transformers_reads_tokenizer_and_template(
    model: Llama, data: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    export_hf(model, data / "tokenizer.json", tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    ids = theirs("Dorothy 12 <tool_call>", add_special_tokens=False).input_ids
    assert ids == open_tokenizer(data / "tokenizer.json").encode("Dorothy 12 <tool_call>").ids
    chat = theirs.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert chat == "<|im_start|>user\nHi<|im_end|>\n"


def test_a_run_is_exported_from_its_last_checkpoint(data: Path, tmp_path: Path) -> None:
    options = Options(device="cpu", dtype="float32", compiled=False, until=2)
    run = pretrain(tiny(), data, tmp_path, options)
    model, tokenizer = load_run(tmp_path)
    assert tokenizer.read_bytes() == (data / "tokenizer.json").read_bytes()
    for name, weight in run.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight)
    early, _ = load_run(tmp_path, tmp_path / "snapshots" / "00000001.safetensors")
    assert not torch.equal(early.embed_tokens.weight, model.embed_tokens.weight)


def test_a_folder_without_a_run_is_named(tmp_path: Path, model: Llama) -> None:
    with pytest.raises(TrainError, match=r"no run\.json"):
        load_run(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(TrainError, match="damaged"):
        load_run(tmp_path)
    shape = {**vars(model.config), "vocabulary": 99}
    (tmp_path / "run.json").write_text(json.dumps({"model": shape}))
    with pytest.raises(TrainError, match="no checkpoint yet"):
        load_run(tmp_path)
    checkpoint.save_weights(tmp_path / "step-00000001.safetensors", model)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TrainError, match="do not fit the model"):
        load_run(tmp_path)
