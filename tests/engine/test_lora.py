"""LoRA: merging while packing, and at load, gives the model that PEFT's formula gives."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cabinos.cli.main import main
from cabinos.engine.errors import EngineError, InvalidRequest, ModelFileError, UnsupportedModel
from cabinos.engine.gguf import read_gguf
from cabinos.engine.lora import gguf_name, load_adapter, merge, merge_cached, parse_lora
from cabinos.engine.pack import pack
from cabinos.engine.pack.quantize import FILE_TYPES, decode
from cabinos.engine.pack.safetensors import read_header
from tests.engine.fixtures import save_safetensors, tiny_hf_model

MODULES = {
    "self_attn.q_proj": (256, 256),
    "self_attn.k_proj": (128, 256),
    "self_attn.v_proj": (128, 256),
    "self_attn.o_proj": (256, 256),
    "mlp.gate_proj": (512, 256),
    "mlp.up_proj": (512, 256),
    "mlp.down_proj": (256, 512),
}
Deltas = dict[str, np.ndarray]


def tiny_adapter(folder: Path, *, rank: int = 4, seed: int = 0, **config: Any) -> Deltas:
    """Write a PEFT adapter for `tiny_hf_model`. Returns B @ A for each HF tensor, unscaled."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    tensors, deltas = {}, {}
    for layer in range(2):
        for module, (rows, columns) in MODULES.items():
            a = rng.standard_normal((rank, columns)).astype(np.float32) * 0.1
            b = rng.standard_normal((rows, rank)).astype(np.float32) * 0.1
            name = f"model.layers.{layer}.{module}"
            tensors[f"base_model.model.{name}.lora_A.weight"] = a
            tensors[f"base_model.model.{name}.lora_B.weight"] = b
            deltas[f"{name}.weight"] = b @ a
    save_safetensors(folder / "adapter_model.safetensors", tensors)
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "bias": "none"} | config
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return deltas


def merged_by_hand(source: Path, target: Path, deltas: Deltas, scale: float) -> Path:
    """A copy of the HF folder with the deltas added to its weights."""
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    weights = {n: t.read() for n, t in read_header(source / "model.safetensors").items()}
    for name, delta in deltas.items():
        weights[name] = weights[name] + np.float32(scale) * delta
    save_safetensors(target / "model.safetensors", weights)
    return target


def weights_of(path: Path) -> dict[str, np.ndarray]:
    file = read_gguf(path)
    return {n: decode(file.data(n), t.type, t.shape) for n, t in file.tensors.items()}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CABIN_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("way", ["pack", "load"])
def test_merge_is_exact(architecture: Any, way: str, tmp_path: Path) -> None:
    """Packing with an adapter, and merging into a GGUF, both equal packing the merged weights."""
    folder = tiny_hf_model(tmp_path / "hf", architecture)
    deltas = tiny_adapter(tmp_path / "lora")
    by_hand = merged_by_hand(folder, tmp_path / "by-hand", deltas, scale=16 / 4 * 0.5)
    expected = weights_of(pack(by_hand, tmp_path / "expected.gguf", "f32").path)

    adapter = load_adapter(tmp_path / "lora", 0.5)
    if way == "pack":
        path = pack(folder, tmp_path / "merged.gguf", "f32", adapters=[adapter]).path
    else:
        base = pack(folder, tmp_path / "base.gguf", "f32").path
        path = merge(base, [adapter], tmp_path / "merged.gguf")
    weights = weights_of(path)
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        np.testing.assert_allclose(weight, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 4.0),
        ({"lora_alpha": 2}, 0.5),
        ({"use_rslora": True}, 16 / math.sqrt(4)),
        ({"alpha_pattern": {"q_proj": 8}}, 2.0),
        ({"alpha_pattern": {r"layers\.1\..*q_proj": 8}}, 4.0),
        ({"r": 99}, 4.0),  # a rank_pattern: the true rank is seen in the weights
    ],
)
def test_scale(config: dict[str, Any], scale: float, tmp_path: Path) -> None:
    tiny_adapter(tmp_path, **config)
    adapter = load_adapter(tmp_path)
    assert adapter.scales["model.layers.0.self_attn.q_proj.weight"] == pytest.approx(scale)


def test_two_adapters_add_up(tmp_path: Path) -> None:
    folder = tiny_hf_model(tmp_path / "hf")
    first = tiny_adapter(tmp_path / "one", seed=1)
    second = tiny_adapter(tmp_path / "two", seed=2)
    deltas = {name: first[name] - second[name] for name in first}
    by_hand = merged_by_hand(folder, tmp_path / "by-hand", deltas, scale=4.0)
    expected = weights_of(pack(by_hand, tmp_path / "expected.gguf", "f32").path)
    base = pack(folder, tmp_path / "base.gguf", "f32").path
    weights = weights_of(merge_cached(base, [str(tmp_path / "one"), (tmp_path / "two", -1.0)]))
    for name, weight in weights.items():
        np.testing.assert_allclose(weight, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("type_", FILE_TYPES)
def test_types_and_metadata_are_kept(type_: str, tmp_path: Path) -> None:
    base = pack(tiny_hf_model(tmp_path / "hf"), tmp_path / "base.gguf", type_).path
    tiny_adapter(tmp_path / "lora", lora_alpha=0.01)
    merged = merge(base, [load_adapter(tmp_path / "lora")], tmp_path / "merged.gguf")
    before, after = read_gguf(base), read_gguf(merged)
    assert after.metadata == before.metadata
    assert after.value_types == before.value_types
    assert [(t.name, t.type, t.shape) for t in after.tensors.values()] == [
        (t.name, t.type, t.shape) for t in before.tensors.values()
    ]
    for name in ("token_embd.weight", "output.weight", "blk.0.attn_norm.weight"):
        assert np.array_equal(after.data(name), before.data(name))
    assert not np.array_equal(after.data("blk.0.attn_q.weight"), before.data("blk.0.attn_q.weight"))


def test_other_types_become_q8_0(tmp_path: Path) -> None:
    import gguf

    base = tmp_path / "base.gguf"
    writer = gguf.GGUFWriter(base, "llama")
    writer.add_uint32("llama.attention.head_count", 8)
    weight = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    q5 = gguf.GGMLQuantizationType.Q5_0
    for name in ("blk.0.attn_q.weight", "blk.1.attn_q.weight"):
        writer.add_tensor(name, gguf.quants.quantize(weight, q5), raw_dtype=q5)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    q = "model.layers.0.self_attn.q_proj"
    tiny_adapter(tmp_path / "lora")
    pair = {
        f"base_model.model.{q}.lora_{x}.weight": np.zeros(shape, np.float32)
        for x, shape in (("A", (4, 256)), ("B", (256, 4)))
    }
    save_safetensors(tmp_path / "lora" / "adapter_model.safetensors", pair)
    after = read_gguf(merge(base, [load_adapter(tmp_path / "lora")], tmp_path / "merged.gguf"))
    assert [t.type for t in after.tensors.values()] == ["Q8_0", "Q5_0"]


def test_cache_is_keyed_by_content(tmp_path: Path) -> None:
    base = pack(tiny_hf_model(tmp_path / "hf"), tmp_path / "base.gguf", "q4_0").path
    lora = tmp_path / "lora"
    tiny_adapter(lora)
    first = merge_cached(base, [str(lora)])
    assert first.parent == tmp_path / "cache" / "lora"
    written = first.stat().st_mtime_ns
    assert merge_cached(base, [(lora, 1.0)]) == first
    assert merge_cached(base, [f"{lora}:1"]) == first
    assert first.stat().st_mtime_ns == written
    assert merge_cached(base, [f"{lora}:0.5"]) != first
    tiny_adapter(lora, seed=1)
    assert merge_cached(base, [str(lora)]) != first
    assert merge_cached(base, []) == base
    assert len(list(first.parent.iterdir())) == 3


def test_parse_lora(tmp_path: Path) -> None:
    (tmp_path / "with:2").mkdir()
    assert parse_lora("dir") == (Path("dir"), 1.0)
    assert parse_lora("dir:0.25") == (Path("dir"), 0.25)
    assert parse_lora("dir:-1") == (Path("dir"), -1.0)
    assert parse_lora("c:dir") == (Path("c:dir"), 1.0)
    assert parse_lora(f"{tmp_path}/with:2") == (tmp_path / "with:2", 1.0)
    assert parse_lora(f"{tmp_path}/with:2:0.5") == (tmp_path / "with:2", 0.5)
    with pytest.raises(InvalidRequest, match="finite"):
        parse_lora("dir:nan")


def test_names() -> None:
    assert gguf_name("lm_head.weight") == "output.weight"
    assert gguf_name("model.layers.12.mlp.down_proj.weight") == "blk.12.ffn_down.weight"
    assert gguf_name("model.layers.0.self_attn.q_proj.bias") is None
    assert gguf_name("model.layers.0.block_sparse_moe.gate.weight") is None
    assert gguf_name("transformer.h.0.attn.c_attn.weight") is None


def edit(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | changes))

    return change


def rename(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        weights = {name: tensor.read() for name, tensor in read_header(path).items()}
        save_safetensors(path, {name.replace(old, new): w for name, w in weights.items()})

    return change


def drop_b(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    weights = {n: t.read() for n, t in read_header(path).items() if "0.mlp.up_proj.lora_B" not in n}
    save_safetensors(path, weights)


def to_pickle(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


MISHAPS: dict[str, tuple[Callable[[Path], Any], type[EngineError], str]] = {
    "no config": (
        lambda f: (f / "adapter_config.json").unlink(),
        ModelFileError,
        "no adapter_config.json",
    ),
    "no weights": (
        lambda f: (f / "adapter_model.safetensors").unlink(),
        ModelFileError,
        "adapter_model.safetensors: no such file",
    ),
    "pickle": (to_pickle, ModelFileError, "only pickled weights"),
    "other method": (edit(peft_type="IA3"), UnsupportedModel, "a IA3 adapter"),
    "DoRA": (edit(use_dora=True), UnsupportedModel, "use_dora"),
    "whole modules": (edit(modules_to_save=["lm_head"]), UnsupportedModel, "modules_to_save"),
    "biases": (edit(bias="all"), UnsupportedModel, "trained biases"),
    "PiSSA": (edit(init_lora_weights="pissa_niter_4"), UnsupportedModel, "base weights"),
    "alpha": (edit(lora_alpha="much"), ModelFileError, "lora_alpha is 'much'"),
    "embedding": (rename("lora_A", "lora_embedding_A"), UnsupportedModel, "not part of a plain"),
    "half a pair": (drop_b, ModelFileError, "has no matching lora_B"),
    "another model": (rename("layers.1", "layers.7"), InvalidRequest, "trained for another model"),
    "other modules": (rename("up_proj", "fc1"), InvalidRequest, "trained for another model"),
}


@pytest.mark.parametrize("mishap", MISHAPS)
def test_mishaps(mishap: str, tmp_path: Path) -> None:
    damage, error, message = MISHAPS[mishap]
    folder = tiny_hf_model(tmp_path / "hf")
    base = pack(folder, tmp_path / "base.gguf", "f32").path
    tiny_adapter(tmp_path / "lora")
    damage(tmp_path / "lora")
    with pytest.raises(error, match=message):
        merge_cached(base, [str(tmp_path / "lora")])
    with pytest.raises(error, match=message):
        pack(folder, tmp_path / "merged.gguf", adapters=[load_adapter(tmp_path / "lora")])
    assert not (tmp_path / "merged.gguf").exists()
    assert not list((tmp_path / "cache").rglob("*"))


def test_wrong_shape_and_tied_head(tmp_path: Path) -> None:
    tiny_adapter(tmp_path / "lora")
    wide = tiny_hf_model(tmp_path / "wide", inner=1024)
    base = pack(wide, tmp_path / "base.gguf", "f32").path
    for act in (
        lambda: merge_cached(base, [str(tmp_path / "lora")]),
        lambda: pack(wide, tmp_path / "m.gguf", adapters=[load_adapter(tmp_path / "lora")]),
    ):
        with pytest.raises(InvalidRequest, match=r"\[512, 256\], but the model has \[1024, 256\]"):
            act()
    tied = tiny_hf_model(tmp_path / "tied", tied=True)
    rename("model.layers.1.mlp.up_proj", "lm_head")(tmp_path / "lora")
    with pytest.raises(InvalidRequest, match=r"changes 'lm_head.weight', which .* does not have"):
        pack(tied, tmp_path / "m.gguf", adapters=[load_adapter(tmp_path / "lora")])


def test_pack_command_with_lora(tmp_path: Path) -> None:
    folder = tiny_hf_model(tmp_path / "hf")
    tiny_adapter(tmp_path / "lora")
    expected = pack(
        folder, tmp_path / "expected.gguf", "f32", adapters=[load_adapter(tmp_path / "lora", 0.5)]
    )
    output = str(tmp_path / "merged.gguf")
    arguments = ["pack", str(folder), "-o", output, "-t", "f32", "--lora", f"{tmp_path}/lora:0.5"]
    run = CliRunner().invoke(main, arguments)
    assert run.exit_code == 0, run.output
    assert (tmp_path / "merged.gguf").read_bytes() == expected.path.read_bytes()
