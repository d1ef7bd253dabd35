"""The encoders: the small one is whole and does what it says; MiniLM is what transformers has."""

import hashlib
import json
import math
import shutil
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.index import SearchError, minilm
from cabinos.index.static import StaticEncoder, built_in

STATIC = files("cabinos.index").joinpath("static")


def test_the_built_in_one_is_what_its_manifest_says() -> None:
    manifest = json.loads(STATIC.joinpath("manifest.json").read_text(encoding="utf-8"))
    sizes = 0
    for name, digest in manifest["sha256"].items():
        data = STATIC.joinpath(name).read_bytes()
        sizes += len(data)
        assert hashlib.sha256(data).hexdigest() == digest
    assert sizes < 8_000_000
    assert "Apache-2.0" in manifest["teacher"]
    assert "CC BY" in manifest["corpus"]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_vectors_have_length_one_or_none_whatever_the_batch(texts: list[str]) -> None:
    together = built_in().encode(texts)
    alone = np.concatenate([built_in().encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    for length in np.linalg.norm(together, axis=1):
        assert length == 0 or math.isclose(length, 1, rel_tol=1e-5)


def test_meaning_is_nearer_than_chance() -> None:
    pairs = [("doctor", "physician"), ("car", "automobile"), ("buy", "purchase")]
    vectors = built_in().encode([word for pair in pairs for word in pair])
    cosines = vectors @ vectors.T
    for at in range(0, 6, 2):
        others = [cosines[at, other] for other in range(6) if other not in (at, at + 1)]
        assert cosines[at, at + 1] > max(others)


@pytest.mark.parametrize("harm", ["vectors.npy", "scales.npy", "pieces.txt", "manifest.json"])
def test_a_damaged_folder_is_named(harm: str, tmp_path: Path) -> None:
    with as_file(STATIC) as folder:
        shutil.copytree(folder, tmp_path / "static")
    (tmp_path / "static" / harm).write_bytes(b"{}")
    with pytest.raises(SearchError, match="damaged"):
        StaticEncoder(tmp_path / "static")
    (tmp_path / "static" / harm).unlink()
    with pytest.raises(SearchError, match="damaged"):
        StaticEncoder(tmp_path / "static")


def test_the_error_function() -> None:
    x = np.linspace(-6, 6, 201, dtype=np.float32)
    exact = [float(v) * (1 + math.erf(float(v) / math.sqrt(2))) / 2 for v in x]
    np.testing.assert_allclose(minilm._gelu(x.copy()), exact, atol=1e-6)


def test_minilm_is_bert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models

    words = ["[PAD]", "[UNK]", *(f"w{number}" for number in range(48))]
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
        intermediate_size=1536, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(tmp_path)
    Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, "[UNK]")).save(
        str(tmp_path / "tokenizer.json")
    )
    data = (tmp_path / "model.safetensors").read_bytes()
    monkeypatch.setattr(minilm, "WEIGHTS", hashlib.sha256(data).hexdigest())
    ids = [[5, 6, 7], [9] * 40, [12, 3]]
    ours = minilm.MiniLM(tmp_path).encode_ids(ids)
    for row, sequence in zip(ours, ids, strict=True):
        with torch.inference_mode():
            mean = model(torch.tensor([sequence])).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=2e-6)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="no such file"):
        minilm.MiniLM(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(SearchError, match="not the weights"):
        minilm.MiniLM(tmp_path)
