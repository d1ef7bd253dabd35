"""Tiny models made on the spot: real formats and real tokenizers around random weights.

`tiny_hf_model` writes a Hugging Face folder that transformers loads; `tiny_gguf` packs one into a
GGUF file. Neither needs torch. Weights are scaled so that every part of the model (norms, biases,
each projection) moves the logits: an engine that drops one of them fails a comparison.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cabinos.engine.pack import pack
from cabinos.engine.pack.vocabulary import SPLIT_LLAMA3, SPLIT_QWEN2, SPLIT_TEKKEN

Family = Literal["llama", "mistral", "qwen2", "qwen3"]
TokenizerStyle = Literal["llama3", "qwen2", "gpt2", "smollm", "tekken", "spm", "spm_model"]

CLASSES: dict[str, str] = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
STYLES: dict[str, TokenizerStyle] = {
    "llama": "llama3",
    "mistral": "spm",
    "qwen2": "qwen2",
    "qwen3": "qwen2",
}
LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind at all.",
    "An operating system shares one machine between many programs, and keeps them apart.",
    "Once upon a time there was a little model that dreamed documents, one token at a time.",
    "It's 3 o'clock; we've 14 apples, 15 pears and 926535 grains of sand. I'll count 1234567 more.",
    "def attention(query, key, value):\n    return softmax(query @ key.T / sqrt(d)) @ value\n",
    '{"name": "read_file", "arguments": {"path": "/tmp/notes.txt", "lines": [1, 2, 3]}}',
    "Größe, naïveté, façade; привет, мир; 你好，世界; こんにちは; 🙂🚀 👩‍💻 مرحبا שלום.",
    "   indented\t\ttext\r\n\r\nwith   runs of    spaces \n \n and trailing space ",
    "While the scheduler waits, the journal writes what will happen; then it happens.",
]


def tiny_tokenizer(
    folder: Path,
    style: TokenizerStyle,
    *,
    vocab: int = 512,
    tags: Mapping[str, bool] | None = None,
    chat_template: str | None = CHAT_TEMPLATE,
) -> None:
    """Train a small tokenizer of the given style and save it as transformers would.

    tags: tokens to add (not for `spm_model`), and whether each is a control token.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spm = style in ("spm", "spm_model")
    if style == "spm_model":
        _sentencepiece_model(folder, vocab)
    else:
        from tokenizers import AddedToken

        size = vocab - len(tags or {})
        tokenizer = _spm_bpe(size) if spm else _byte_level_bpe(style, size)
        for tag, control in (tags or {}).items():
            tokenizer.add_tokens([AddedToken(tag, special=control, normalized=False)])
        tokenizer.save(str(folder / "tokenizer.json"))
    bos, eos = ("<s>", "</s>") if spm else ("<|begin_of_text|>", "<|endoftext|>")
    add_bos = style in ("llama3", "tekken", "spm", "spm_model")
    config: dict[str, Any] = {
        "add_bos_token": add_bos,
        "add_eos_token": False,
        "bos_token": bos if add_bos else None,
        "eos_token": eos,
        "chat_template": chat_template,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        "tokenizer_class": "LlamaTokenizer" if style == "spm_model" else "PreTrainedTokenizerFast",
    }
    if spm:
        config["unk_token"] = "<unk>"
    if style == "spm_model":
        config["legacy"] = True
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))


def _byte_level_bpe(style: str, vocab: int) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from tokenizers.normalizers import NFC

    tokenizer = Tokenizer(models.BPE(ignore_merges=style in ("llama3", "tekken")))
    splits = {"llama3": SPLIT_LLAMA3, "qwen2": SPLIT_QWEN2, "tekken": SPLIT_TEKKEN}
    if style in splits:
        stages: list[Any] = [
            pre_tokenizers.Split(Regex(splits[style]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    else:
        stages = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    if style == "smollm":
        stages.insert(0, pre_tokenizers.Digits(individual_digits=True))
    single = len(stages) == 1
    tokenizer.pre_tokenizer = stages[0] if single else pre_tokenizers.Sequence(stages)
    if style == "qwen2":
        tokenizer.normalizer = NFC()
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if style in ("llama3", "tekken"):
        bos = ("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))
        template = processors.TemplateProcessing(
            single=f"{bos[0]} $A", pair=f"{bos[0]} $A {bos[0]}:1 $B:1", special_tokens=[bos]
        )
        tokenizer.post_processor = processors.Sequence(
            [processors.ByteLevel(trim_offsets=False), template]
        )
    return tokenizer


def _spm_bpe(vocab: int) -> Any:
    """A Llama 2 style tokenizer.json: BPE over text with U+2581 for spaces, bytes as fallback."""
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    special = ["<unk>", "<s>", "</s>"]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    tokens = special + [f"<0x{byte:02X}>" for byte in range(256)]
    ascii_only = [line for line in CORPUS if line.isascii()]
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=tokens, show_progress=False)
    trained.train_from_iterator(ascii_only, trainer)
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(
        models.BPE(model["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def _sentencepiece_model(folder: Path, vocab: int) -> None:
    import sentencepiece

    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(CORPUS * 4))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=vocab,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    corpus.unlink()
    (folder / "tokenizer.vocab").unlink()


def tiny_config(
    architecture: Family = "llama",
    *,
    tied: bool = False,
    rope_scaling: dict[str, Any] | None = None,
    sliding_window: int | None = None,
    vocab: int = 512,
    hidden: int = 256,
    inner: int = 512,
    heads: int = 8,
    kv_heads: int = 4,
    head_dim: int = 32,
    layers: int = 2,
    context: int = 512,
    rope_theta: float = 10000.0,
) -> dict[str, Any]:
    """A config.json in the spelling of transformers 4, which 5 reads too."""
    config: dict[str, Any] = {
        "architectures": [CLASSES[architecture]],
        "model_type": architecture,
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_theta": rope_theta,
        "rope_scaling": rope_scaling,
        "tie_word_embeddings": tied,
        "torch_dtype": "float32",
    }
    if architecture == "mistral" or sliding_window is not None:
        config["sliding_window"] = sliding_window
    if architecture in ("qwen2", "qwen3"):
        config["use_sliding_window"] = sliding_window is not None
        config["max_window_layers"] = 0
    if architecture == "qwen2":
        assert head_dim * heads == hidden, "Qwen2 has no head_dim of its own"
    return config


def tiny_weights(config: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Random float32 weights under their Hugging Face names."""
    rng = np.random.default_rng(seed)
    hidden, inner, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    q = config["num_attention_heads"] * config["head_dim"]
    kv = config["num_key_value_heads"] * config["head_dim"]
    family = config["model_type"]

    def matrix(rows: int, columns: int, gain: float = 1.0) -> np.ndarray:
        scale = gain / math.sqrt(columns)
        return (rng.standard_normal((rows, columns)) * scale).astype(np.float32)

    def norm(size: int) -> np.ndarray:
        return (1 + 0.2 * rng.standard_normal(size)).astype(np.float32)

    # The head makes logits of about unit size: bolder ones would amplify rounding beyond use.
    gain = 1.5 if config["tie_word_embeddings"] else math.sqrt(hidden) / 4
    weights = {"model.embed_tokens.weight": matrix(vocab, hidden, gain)}
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        weights[at + "input_layernorm.weight"] = norm(hidden)
        for name, rows in (("q", q), ("k", kv), ("v", kv)):
            weights[f"{at}self_attn.{name}_proj.weight"] = matrix(rows, hidden, gain=1.4)
            if family == "qwen2":
                bias = 0.3 * rng.standard_normal(rows)
                weights[f"{at}self_attn.{name}_proj.bias"] = bias.astype(np.float32)
        weights[at + "self_attn.o_proj.weight"] = matrix(hidden, q)
        if family == "qwen3":
            weights[at + "self_attn.q_norm.weight"] = norm(config["head_dim"])
            weights[at + "self_attn.k_norm.weight"] = norm(config["head_dim"])
        weights[at + "post_attention_layernorm.weight"] = norm(hidden)
        weights[at + "mlp.gate_proj.weight"] = matrix(inner, hidden)
        weights[at + "mlp.up_proj.weight"] = matrix(inner, hidden)
        weights[at + "mlp.down_proj.weight"] = matrix(hidden, inner)
    weights["model.norm.weight"] = norm(hidden)
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = matrix(vocab, hidden)
    return weights


def _teach(weights: dict[str, np.ndarray], folder: Path, follows: Mapping[str, str]) -> None:
    """Makes the model say follows[a] after a: the head answers to the embedding of a."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    embeddings, head = weights["model.embed_tokens.weight"], weights["lm_head.weight"]
    embeddings *= 16  # so that the last token outweighs what the layers add
    for current, following in follows.items():
        (a,), (b,) = tokenizer.encode(current).ids, tokenizer.encode(following).ids
        head[b] += embeddings[a] / np.linalg.norm(embeddings[a])


def save_safetensors(path: Path, tensors: dict[str, np.ndarray], dtype: str = "F32") -> None:
    """Write float32 arrays as F32, F16 or BF16 (rounded to nearest even)."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    blobs, offset = [], 0
    for name, tensor in tensors.items():
        blob = _as_bytes(tensor, dtype)
        span = [offset, offset + len(blob)]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": span}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def _as_bytes(tensor: np.ndarray, dtype: str) -> bytes:
    if dtype != "BF16":
        return tensor.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()
    bits = tensor.astype("<f4").view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()


def tiny_hf_model(
    folder: Path,
    architecture: Family = "llama",
    *,
    tokenizer: TokenizerStyle | None = None,
    dtype: str = "F32",
    shards: int = 1,
    seed: int = 0,
    tags: Mapping[str, bool] | None = None,
    chat_template: str | None = CHAT_TEMPLATE,
    follows: Mapping[str, str] | None = None,
    **options: Any,
) -> Path:
    """Write a Hugging Face model folder and return it.

    tokenizer: its style, by default the family's own. dtype: F32, F16 or BF16 storage.
    shards: number of safetensors files. tags, chat_template: those of `tiny_tokenizer`.
    follows: which token the model says after which, as far as not forbidden. options: those of
    `tiny_config` (tied, rope_scaling, sliding_window, vocab, hidden, inner, heads, kv_heads,
    head_dim, layers, context, rope_theta).
    """
    config = tiny_config(architecture, **options)
    style = tokenizer or STYLES[architecture]
    vocab = config["vocab_size"]
    tiny_tokenizer(folder, style, vocab=vocab, tags=tags, chat_template=chat_template)
    spm = style in ("spm", "spm_model")
    config["bos_token_id"], config["eos_token_id"] = (1, 2) if spm else (0, 1)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    weights = tiny_weights(config, seed)
    if follows:
        _teach(weights, folder, follows)
    if shards == 1:
        save_safetensors(folder / "model.safetensors", weights, dtype)
        return folder
    names = list(weights)
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = names[shard::shards]
        save_safetensors(folder / file, {name: weights[name] for name in part}, dtype)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def tiny_gguf(
    path: Path,
    type: str = "q8_0",  # noqa: A002
    architecture: Family = "llama",
    *,
    pure: bool = False,
    metadata: Mapping[str, str | float | int | bool] | None = None,
    **options: Any,
) -> Path:
    """Make a tiny model and pack it to the GGUF file `path`, which is returned.

    options: those of `tiny_hf_model`.
    """
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        model = tiny_hf_model(Path(folder) / "tiny", architecture, **options)
        pack(model, path, type, pure=pure, metadata=metadata)
    return path
