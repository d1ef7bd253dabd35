"""Packing: what is written is the model that was given, for every architecture, type and mishap."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cabinos.cli.main import main
from cabinos.engine.errors import EngineError, InvalidRequest, ModelFileError, UnsupportedModel
from cabinos.engine.gguf import read_gguf
from cabinos.engine.pack import pack
from cabinos.engine.pack.architecture import permute_heads
from cabinos.engine.pack.kquants import QUANTIZERS
from cabinos.engine.pack.quantize import FILE_TYPES, choose_type, decode, encode
from cabinos.engine.pack.safetensors import read_header
from cabinos.engine.pack.spm import read_spm
from cabinos.engine.pack.vocabulary import read_vocabulary
from tests.engine.fixtures import (
    LLAMA3_SCALING,
    save_safetensors,
    tiny_gguf,
    tiny_hf_model,
    tiny_tokenizer,
)
from tests.engine.reference import reference_logits

MODELS: dict[str, dict[str, Any]] = {
    "llama": {"architecture": "llama"},
    "llama-wide-heads": {"architecture": "llama", "head_dim": 64, "kv_heads": 2},
    "llama3-rope": {"architecture": "llama", "rope_scaling": LLAMA3_SCALING, "rope_theta": 5e5},
    "llama-linear-rope": {
        "architecture": "llama",
        "rope_scaling": {"type": "linear", "factor": 4.0},
    },
    "smollm": {"architecture": "llama", "tied": True, "tokenizer": "smollm"},
    "mistral": {"architecture": "mistral", "sliding_window": 24},
    "mistral-no-window": {"architecture": "mistral"},
    "qwen2": {"architecture": "qwen2", "rope_theta": 1e6},
    "qwen2-tied": {"architecture": "qwen2", "tied": True},
    "qwen3": {"architecture": "qwen3", "head_dim": 64},
}


# What is written computes what transformers computes.


@pytest.mark.parametrize("model", MODELS)
def test_same_logits_as_transformers(model: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tiny_hf_model(tmp_path / "hf", **MODELS[model])
    pack(folder, tmp_path / "model.gguf", "f32")
    tokens = np.random.default_rng(1).integers(0, 512, 48).tolist()

    reference = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        expected = reference.eval()(torch.tensor([tokens])).logits[0].numpy()
    logits = reference_logits(tmp_path / "model.gguf", tokens)
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()


def test_transformers_5_spelling_of_rope(tmp_path: Path) -> None:
    old = tiny_hf_model(tmp_path / "old", rope_scaling=LLAMA3_SCALING, rope_theta=5e5)
    new = tiny_hf_model(tmp_path / "new", rope_scaling=LLAMA3_SCALING, rope_theta=5e5)
    config = json.loads((new / "config.json").read_text())
    config["rope_parameters"] = {
        **config.pop("rope_scaling"),
        "rope_theta": config.pop("rope_theta"),
    }
    (new / "config.json").write_text(json.dumps(config))
    for folder in (old, new):
        pack(folder, tmp_path / f"{folder.name}.gguf", "f32", name="same")
    assert (tmp_path / "old.gguf").read_bytes() == (tmp_path / "new.gguf").read_bytes()


def test_metadata(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "m.gguf", "q4_k", "mistral", sliding_window=24, head_dim=64)
    metadata = read_gguf(path).metadata
    expected = {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "tiny",
        "general.file_type": 15,
        "general.quantization_version": 2,
        "llama.vocab_size": 512,
        "llama.context_length": 512,
        "llama.embedding_length": 256,
        "llama.block_count": 2,
        "llama.feed_forward_length": 512,
        "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 4,
        "llama.attention.key_length": 64,
        "llama.attention.value_length": 64,
        "llama.attention.sliding_window": 24,
        "llama.rope.dimension_count": 64,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
    }
    assert {key: metadata.get(key) for key in expected} == expected
    assert str(metadata["tokenizer.chat_template"]).startswith("{% for message")


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_source_types_and_shards(dtype: str, tmp_path: Path) -> None:
    """bf16 and f16 widen exactly, and shards change nothing."""
    single = tiny_hf_model(tmp_path / "single", dtype=dtype)
    sharded = tiny_hf_model(tmp_path / "sharded", dtype=dtype, shards=3)
    for folder in (single, sharded):
        pack(folder, tmp_path / f"{folder.name}.gguf", "f32", name="same")
    assert (tmp_path / "single.gguf").read_bytes() == (tmp_path / "sharded.gguf").read_bytes()

    stored = read_header(single / "model.safetensors")["lm_head.weight"]
    raw = stored.path.read_bytes()[stored.offset :][: 4 * 512 * 256]
    if dtype == "BF16":
        expected = (np.frombuffer(raw, "<u2", 512 * 256).astype(np.uint32) << 16).view(np.float32)
    else:
        expected = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[dtype], 512 * 256)
    packed = read_gguf(tmp_path / "single.gguf").data("output.weight").view(np.float32)
    assert np.array_equal(packed, expected.astype(np.float32))


def test_permutation_pairs_the_halves_of_each_head() -> None:
    rows = np.arange(2 * 8)[:, None]  # two heads of 8
    assert permute_heads(rows, 2)[:, 0].tolist() == [
        0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15,
    ]  # fmt: skip


# Weight types.


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("F32", 0), ("F16", 1e-3), ("BF16", 4e-3), ("Q8_0", 0.006), ("Q4_0", 0.09), ("Q4_K", 0.075),
     ("Q5_K", 0.038), ("Q6_K", 0.019)],
)  # fmt: skip
def test_quantisation_error(kind: str, limit: float) -> None:
    """Root mean square error against the spread of normal weights; a tenth less would fail."""
    weight = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32) * 0.02
    weight[:2] = 0
    restored = decode(encode("w", weight, kind), kind, weight.shape)
    assert np.array_equal(restored[:2], weight[:2])
    error = np.sqrt(np.mean((restored - weight)[2:] ** 2)) / 0.02
    assert limit * 0.05 <= error <= limit


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_k_quants_of_extreme_blocks(kind: str) -> None:
    weight = np.zeros((8, 256), np.float32)
    weight[0] = 3.5
    weight[1] = -3.5
    weight[2, 7] = 1000
    weight[3] = np.linspace(0, 1, 256)
    weight[4] = np.linspace(-1, 0, 256)
    weight[5] = 1e-30
    weight[6, ::2] = -1e-8
    restored = decode(QUANTIZERS[kind](weight).reshape(-1), kind, weight.shape)
    assert np.isfinite(restored).all()
    scale = np.abs(weight).max(axis=1, keepdims=True)
    assert (np.abs(restored - weight) <= 0.035 * scale + 1e-7).all()


def test_mixtures_follow_llama_cpp() -> None:
    def types(wanted: str, *, tied: bool = False, pure: bool = False) -> dict[str, str]:
        names = ["token_embd.weight", "output.weight", "output_norm.weight", "blk.3.attn_q.bias"]
        names += [
            f"blk.{i}.{n}.weight" for i in range(16) for n in ("attn_v", "ffn_down", "ffn_up")
        ]
        return {
            n: choose_type(
                n, (512,) if "norm" in n or "bias" in n else (512, 512), wanted,
                layers=16, tied=tied, pure=pure,
            ).type
            for n in names
        }  # fmt: skip

    q4_k = types("q4_k")
    assert q4_k["output.weight"] == "Q6_K"
    assert q4_k["token_embd.weight"] == q4_k["blk.0.ffn_up.weight"] == "Q4_K"
    assert q4_k["output_norm.weight"] == q4_k["blk.3.attn_q.bias"] == "F32"
    more = [i for i in range(16) if q4_k[f"blk.{i}.ffn_down.weight"] == "Q6_K"]
    assert more == [0, 1, 4, 7, 10, 13, 14, 15]
    assert types("q4_0", tied=True)["token_embd.weight"] == "Q6_K"
    assert types("q8_0")["output.weight"] == "Q8_0"
    assert types("q4_0", pure=True)["output.weight"] == "Q4_0"
    assert set(types("q4_k", pure=True).values()) == {"Q4_K", "F32"}


def test_rows_that_do_not_fit_fall_back(tmp_path: Path) -> None:
    folder = tiny_hf_model(tmp_path / "hf", hidden=192, inner=272, heads=4, kv_heads=2, head_dim=48)
    report = pack(folder, tmp_path / "m.gguf", "q4_k")
    assert report.tensor_types["blk.0.ffn_up.weight"] == "Q8_0"  # rows of 192
    assert report.tensor_types["blk.0.ffn_down.weight"] == "F16"  # rows of 272
    assert "192" in report.fallbacks["blk.0.ffn_up.weight"]
    assert "272" in report.fallbacks["blk.0.ffn_down.weight"]
    assert "output_norm.weight" not in report.fallbacks


def test_fallbacks_are_summed_up(tmp_path: Path) -> None:
    folder = tiny_hf_model(tmp_path / "hf", hidden=192, heads=4, kv_heads=2, head_dim=48)
    output = str(tmp_path / "m.gguf")
    run = CliRunner().invoke(main, ["pack", str(folder), "-o", output, "-t", "q6_k"])
    assert run.exit_code == 0
    message = "and 13 more: stored as Q8_0: rows of 192 are not a multiple of 256 (Q6_K)"
    assert run.stderr == f"token_embd.weight {message}\n"


@pytest.mark.parametrize("type_", FILE_TYPES)
def test_every_type_packs_close_to_f32(type_: str, tmp_path: Path) -> None:
    tokens = list(range(40, 72))
    exact = reference_logits(tiny_gguf(tmp_path / "f32.gguf", "f32"), tokens)
    logits = reference_logits(tiny_gguf(tmp_path / "q.gguf", type_), tokens)
    error = np.sqrt(np.mean((logits - exact) ** 2)) / exact.std()
    limit = {"f32": 0, "f16": 2e-3, "bf16": 1e-2, "q8_0": 0.04, "q6_k": 0.12, "q5_k": 0.25}
    assert error <= limit.get(type_, 0.5)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN"), (np.inf, "NaN"), (1e6, "too large")]
)
def test_broken_weights_are_refused(value: float, message: str) -> None:
    weight = np.ones((1, 256), np.float32)
    weight[0, 3] = value
    for kind in ("F16", "Q8_0", "Q4_0", "Q4_K", "Q6_K"):
        with pytest.raises(ModelFileError, match=message):
            encode("blk.0.w", weight, kind)


# Tokenizers.


@pytest.mark.parametrize(
    ("style", "model", "pre"),
    [("llama3", "gpt2", "llama-bpe"), ("qwen2", "gpt2", "qwen2"), ("gpt2", "gpt2", "gpt-2"),
     ("smollm", "gpt2", "smollm"), ("tekken", "gpt2", "tekken"), ("spm", "llama", "default"),
     ("spm_model", "llama", "default")],
)  # fmt: skip
def test_vocabulary(style: Any, model: str, pre: str, tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path, style)
    vocabulary = read_vocabulary(tmp_path, 520)
    assert (vocabulary.model, vocabulary.pre) == (model, pre)
    assert len(vocabulary.tokens) == len(vocabulary.types) == 520
    assert vocabulary.tokens[519] == "[PAD519]"
    assert vocabulary.types[519] == 5
    if model == "gpt2":
        assert vocabulary.tokens[:2] == ["<|begin_of_text|>", "<|endoftext|>"]
        assert vocabulary.types[:4] == [3, 3, 3, 3]
        assert vocabulary.types[5] == 1
    else:
        assert vocabulary.tokens[:4] == ["<unk>", "<s>", "</s>", "<0x00>"]
        assert vocabulary.types[:4] == [2, 3, 3, 6]
        assert len(vocabulary.scores) == 520


def test_spm_reader_agrees_with_sentencepiece(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    tiny_tokenizer(tmp_path, "spm_model")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    pieces = read_spm(tmp_path / "tokenizer.model")
    assert len(pieces) == processor.vocab_size()
    for index, piece in enumerate(pieces):
        assert piece.text == processor.id_to_piece(index)
        assert piece.score == processor.get_score(index)
        assert (piece.type == 6) == processor.is_byte(index)
        assert (piece.type == 3) == processor.is_control(index)
        assert (piece.type == 2) == processor.is_unknown(index)


def test_scores_from_merges_reproduce_the_tokenizer(tmp_path: Path) -> None:
    """Joining the best-scored pair first, as SentencePiece does, gives the BPE tokenizer's ids."""
    from tokenizers import Tokenizer

    tiny_tokenizer(tmp_path, "spm")
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    vocabulary = read_vocabulary(tmp_path, 512)
    ids = {token: index for index, token in enumerate(vocabulary.tokens)}
    for text in ("The quick brown fox", "one machine between programs", "softmax(query @ key)"):
        symbols = list("▁" + text.replace(" ", "▁"))
        while True:
            joined = [a + b for a, b in pairwise(symbols)]
            scored = [(vocabulary.scores[ids[t]], -i) for i, t in enumerate(joined) if t in ids]
            if not scored:
                break
            at = -max(scored)[1]
            symbols[at : at + 2] = [joined[at]]
        assert [ids[s] for s in symbols] == tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["model"].update(type="Unigram"), "Unigram tokenizer; only BPE"),
        (
            lambda t: t.update(pre_tokenizer={"type": "Whitespace"}),
            "unknown pre-tokenizer Whitespace",
        ),
        (lambda t: t.update(pre_tokenizer=None), "unknown pre-tokenizer"),
        (
            lambda t: t["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
            "adds a space before",
        ),
        (lambda t: t["model"].pop("vocab"), "not a known tokenizer format"),
        (lambda t: t["model"].update(merges=[]), "no merges"),
        (lambda t: t["added_tokens"].append({"id": 9999, "content": "x"}), "ids up to 9999"),
    ],
)
def test_other_tokenizers(
    change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path
) -> None:
    folder = tiny_hf_model(tmp_path / "hf")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    change(tokenizer)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises((ModelFileError, UnsupportedModel), match=message):
        pack(folder, tmp_path / "m.gguf")


def test_turn_and_message_ends(tmp_path: Path) -> None:
    folder = tiny_hf_model(tmp_path / "hf")
    metadata = read_gguf(_packed(folder)).metadata
    assert metadata["tokenizer.ggml.eot_token_id"] == 3  # <|im_end|>
    assert metadata["tokenizer.ggml.eos_token_id"] == 1
    assert "tokenizer.ggml.eom_token_id" not in metadata


def _packed(folder: Path) -> Path:
    return pack(folder, folder.parent / "packed.gguf", "f32").path


# Mishaps: one clear message, and no half-written file.


def edit_config(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config = {key: v for key, v in (config | changes).items() if v is not ...}
        (folder / "config.json").write_text(json.dumps(config))

    return edit


def edit_weights(change: Callable[[dict[str, np.ndarray]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "model.safetensors"
        weights = {name: tensor.read() for name, tensor in read_header(path).items()}
        change(weights)
        save_safetensors(path, weights)

    return edit


def to_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


Q = "model.layers.1.self_attn.q_proj.weight"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
BIAS = "model.layers.0.mlp.up_proj.bias"
MISHAPS: dict[str, tuple[Callable[[Path], Any], type[EngineError], str]] = {
    "no config": (lambda f: (f / CONFIG).unlink(), ModelFileError, "no config.json"),
    "config cut": (lambda f: (f / CONFIG).write_text("{"), ModelFileError, "not valid JSON"),
    "config list": (lambda f: (f / CONFIG).write_text("[]"), ModelFileError, "JSON object"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), ModelFileError, "no weights; expected"),
    "pickle": (to_pickle, ModelFileError, "pickled weights .pytorch_model.bin., which can run"),
    "cut short": (cut_weights, ModelFileError, "tensor 'lm_head.weight'.*needs"),
    "garbage": (
        lambda f: (f / WEIGHTS).write_bytes(b"x" * 99),
        ModelFileError,
        "not a safetensors file",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), ModelFileError, "no tokenizer"),
    "architecture": (
        edit_config(architectures=["GemmaForCausalLM"]),
        UnsupportedModel,
        "'GemmaForCausalLM' is not supported. Supported: LlamaForCausalLM",
    ),
    "no architecture": (
        edit_config(architectures=...),
        UnsupportedModel,
        "'.none.' is not supported",
    ),
    "quantised": (
        edit_config(quantization_config={"quant_method": "gptq"}),
        UnsupportedModel,
        "already quantised .gptq.",
    ),
    "activation": (edit_config(hidden_act="gelu"), UnsupportedModel, "hidden_act 'gelu'"),
    "rope": (
        edit_config(rope_scaling={"type": "yarn", "factor": 2.0}),
        UnsupportedModel,
        "rope scaling 'yarn'",
    ),
    "rope factor": (
        edit_config(rope_scaling={"type": "linear", "factor": -1}),
        ModelFileError,
        "'factor' is -1",
    ),
    "hidden size": (edit_config(hidden_size="big"), ModelFileError, "'hidden_size' is 'big'"),
    "heads": (edit_config(num_key_value_heads=3), ModelFileError, "do not fit together"),
    "missing tensor": (
        edit_weights(lambda w: w.pop(Q)),
        ModelFileError,
        f"tensor '{Q}' is missing",
    ),
    "missing head": (
        edit_weights(lambda w: w.pop("lm_head.weight")),
        ModelFileError,
        "'lm_head.weight' is missing",
    ),
    "shape": (
        edit_weights(lambda w: w.update({Q: w[Q][:, :32]})),
        ModelFileError,
        r"has shape \[256, 32\]; config.json implies \[256, 256\]",
    ),
    "extra tensor": (
        edit_weights(lambda w: w.update({BIAS: np.ones(512, np.float32)})),
        UnsupportedModel,
        f"'{BIAS}' .* has no place",
    ),
    "NaN": (
        edit_weights(lambda w: w[Q].fill(np.nan)),
        ModelFileError,
        "'blk.1.attn_q.weight' holds NaN",
    ),
}


@pytest.mark.parametrize("mishap", MISHAPS)
def test_mishaps(mishap: str, tmp_path: Path) -> None:
    damage, error, message = MISHAPS[mishap]
    folder = tiny_hf_model(tmp_path / "hf")
    damage(folder)
    with pytest.raises(error, match=message):
        pack(folder, tmp_path / "out" / "m.gguf")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_missing_shard_and_strange_index(tmp_path: Path) -> None:
    folder = tiny_hf_model(tmp_path / "hf", shards=2)
    shard = folder / "model-00002-of-00002.safetensors"
    shard.rename(folder / "elsewhere")
    with pytest.raises(ModelFileError, match=r"model-00002-of-00002.safetensors: no such file"):
        pack(folder, tmp_path / "m.gguf")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "../../etc/passwd"}}))
    with pytest.raises(ModelFileError, match="points outside"):
        pack(folder, tmp_path / "m.gguf")
    index.write_text("{}")
    with pytest.raises(ModelFileError, match="no 'weight_map'"):
        pack(folder, tmp_path / "m.gguf")


def test_mixed_sliding_layers_are_refused(tmp_path: Path) -> None:
    folder = tiny_hf_model(tmp_path / "hf", "qwen2", sliding_window=24)
    edit_config(max_window_layers=1)(folder)
    with pytest.raises(UnsupportedModel, match="only some layers"):
        pack(folder, tmp_path / "m.gguf")
    edit_config(max_window_layers=2)(folder)
    pack(folder, tmp_path / "m.gguf")
    assert "qwen2.attention.sliding_window" not in read_gguf(tmp_path / "m.gguf").metadata


def test_unknown_type_and_unwritable_output(tmp_path: Path) -> None:
    folder = tiny_hf_model(tmp_path / "hf")
    with pytest.raises(InvalidRequest, match=r"Unknown type 'q3_k'. Known types: f32, f16"):
        pack(folder, tmp_path / "m.gguf", "q3_k")
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot be written"):
        pack(folder, tmp_path / "file" / "m.gguf")


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_FSIZE semantics of Linux")
def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A limit on file size stands in for a full disk: the write fails half way."""
    tiny_hf_model(tmp_path / "hf")
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "from cabinos.cli.main import main; main(['pack', 'hf', '-o', 'out/m.gguf'])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("cabin: error: ")
    assert "out/m.gguf: cannot be written" in run.stderr.replace("\n", " ")
    assert list((tmp_path / "out").iterdir()) == []


def test_too_little_room_is_seen_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_hf_model(tmp_path / "hf")
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(EngineError, match="2 MB are needed, and only 1 MB are free"):
        pack(folder, tmp_path / "out" / "m.gguf", progress=lambda *_: pytest.fail("wrote"))
    assert list((tmp_path / "out").iterdir()) == []


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    folder = tiny_hf_model(tmp_path / "hf")

    def interrupt(name: str, written: int, total: int) -> None:
        assert 0 < written <= total
        if name.startswith("blk.1"):
            assert len(list((tmp_path / "out").iterdir())) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(folder, tmp_path / "out" / "m.gguf", progress=interrupt)
    assert list((tmp_path / "out").iterdir()) == []


def test_memory_stays_near_one_tensor(tmp_path: Path) -> None:
    """The peak does not grow with the number of layers."""
    import tracemalloc

    peaks = []
    for layers in (1, 6):
        folder = tiny_hf_model(tmp_path / str(layers), layers=layers, inner=1024)
        tracemalloc.start()
        pack(folder, tmp_path / "m.gguf", "q8_0")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000  # six layers are 15 MB in float32


# The command.


def test_pack_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_hf_model(tmp_path / "hf")
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(main, ["pack", "hf", "--type", "Q4_K", "--json"])
    assert run.exit_code == 0, run.output
    report = json.loads(run.stdout)
    assert report["path"] == "hf-q4_k.gguf"
    assert report["tensor_types"]["output.weight"] == "Q6_K"
    assert (tmp_path / "hf-q4_k.gguf").stat().st_size == report["size"]

    run = CliRunner().invoke(main, ["pack", "hf", "--type", "q4_k"])
    assert (run.exit_code, "exists" in run.stderr) == (2, True)
    run = CliRunner().invoke(main, ["pack", "hf", "--type", "q4_k", "--pure", "--force"])
    assert run.exit_code == 0
    assert run.stdout == "hf-q4_k.gguf: llama, 1.4M parameters, q4_k, 0.8 MB\n"
    assert CliRunner().invoke(main, ["pack", "hf", "--type", "q3"]).exit_code == 2
    run = CliRunner().invoke(main, ["pack", "nowhere"])
    assert run.exit_code == 1
    assert "nowhere: not a folder" in run.stderr
    assert "Traceback" not in run.stderr


def test_quantising_is_fast_enough() -> None:
    """A billion weights take minutes, not hours: about 25 MB/s of float32 on one old core."""
    weight = np.random.default_rng(0).standard_normal((512, 2048)).astype(np.float32)
    started = time.process_time()
    encode("w", weight, "Q4_K")
    assert time.process_time() - started < 2.0
