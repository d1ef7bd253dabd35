"""From a Hugging Face config to GGUF: the model's hyperparameters and its list of tensors.

Key names and conventions are those of llama.cpp's converter (`conversion/llama.py`, `qwen.py`,
`base.py`), so that llama.cpp and every other GGUF runtime load what is written here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cabinos.engine.errors import ModelFileError, UnsupportedModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Hugging Face class -> (GGUF architecture, Q/K rows are re-ordered, Q/K norms)
SUPPORTED = {
    "LlamaForCausalLM": ("llama", True, False),
    "MistralForCausalLM": ("llama", True, False),
    "Qwen2ForCausalLM": ("qwen2", False, False),
    "Qwen3ForCausalLM": ("qwen3", False, True),
}

# HF name inside `model.layers.N.` -> GGUF name inside `blk.N.`
ATTENTION = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}
QK_NORMS = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
FEED_FORWARD = {
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@dataclass(frozen=True)
class TensorPlan:
    """One tensor to write: GGUF name, shape (rows, row length), and where it comes from."""

    name: str
    shape: tuple[int, ...]
    source: str  # HF tensor name; "" for the computed rope_freqs.weight
    permute_heads: int = 0  # > 0: rows are re-ordered over this many heads


@dataclass(frozen=True)
class Architecture:
    """The shape of a Llama-family model, read and checked from config.json."""

    hf_class: str
    name: str
    permuted: bool
    qk_norm: bool
    vocab_size: int
    context_length: int
    embedding_length: int
    layer_count: int
    feed_forward_length: int
    head_count: int
    kv_head_count: int
    head_dim: int
    norm_epsilon: float
    tied: bool
    sliding_window: int | None
    rope: Mapping[str, Any]

    def metadata(self) -> dict[str, int | float | str]:
        """The `<architecture>.*` metadata: ints are u32, floats f32."""
        values: dict[str, int | float | str] = {
            "vocab_size": self.vocab_size,
            "context_length": self.context_length,
            "embedding_length": self.embedding_length,
            "block_count": self.layer_count,
            "feed_forward_length": self.feed_forward_length,
            "attention.head_count": self.head_count,
            "attention.head_count_kv": self.kv_head_count,
            "attention.key_length": self.head_dim,
            "attention.value_length": self.head_dim,
            "attention.layer_norm_rms_epsilon": self.norm_epsilon,
            "rope.dimension_count": self.head_dim,
            "rope.freq_base": float(self.rope["rope_theta"]),
        }
        if self.sliding_window is not None:
            values["attention.sliding_window"] = self.sliding_window
        if self.rope["rope_type"] == "linear":
            values["rope.scaling.type"] = "linear"
            values["rope.scaling.factor"] = float(self.rope["factor"])
        return {f"{self.name}.{key}": value for key, value in values.items()}

    def tensors(self) -> list[TensorPlan]:
        """Every required tensor, in the order the forward pass uses them."""
        hidden, vocab = self.embedding_length, self.vocab_size
        plan = [TensorPlan("token_embd.weight", (vocab, hidden), "model.embed_tokens.weight")]
        if self.rope["rope_type"] == "llama3":
            plan.append(TensorPlan("rope_freqs.weight", (self.head_dim // 2,), ""))
        names = ATTENTION | (QK_NORMS if self.qk_norm else {}) | FEED_FORWARD
        for layer in range(self.layer_count):
            for hf, gguf in names.items():
                plan.append(self._layer_tensor(layer, hf, gguf, "weight"))
        plan.append(TensorPlan("output_norm.weight", (hidden,), "model.norm.weight"))
        if not self.tied:
            plan.append(TensorPlan("output.weight", (vocab, hidden), "lm_head.weight"))
        return plan

    def optional_tensors(self) -> list[TensorPlan]:
        """The Q, K and V biases: written when the checkpoint has them (Qwen2 always does)."""
        return [
            self._layer_tensor(layer, hf, gguf, "bias")
            for layer in range(self.layer_count)
            for hf, gguf in ATTENTION.items()
            if gguf in ("attn_q", "attn_k", "attn_v")
        ]

    def _layer_tensor(self, layer: int, hf: str, gguf: str, part: str) -> TensorPlan:
        hidden, inner = self.embedding_length, self.feed_forward_length
        q_rows, kv_rows = self.head_count * self.head_dim, self.kv_head_count * self.head_dim
        shapes: dict[str, tuple[int, ...]] = {
            "attn_q": (q_rows, hidden),
            "attn_k": (kv_rows, hidden),
            "attn_v": (kv_rows, hidden),
            "attn_output": (hidden, q_rows),
            "attn_q_norm": (self.head_dim,),
            "attn_k_norm": (self.head_dim,),
            "ffn_gate": (inner, hidden),
            "ffn_up": (inner, hidden),
            "ffn_down": (hidden, inner),
        }
        shape = shapes.get(gguf, (hidden,))
        heads = {"attn_q": self.head_count, "attn_k": self.kv_head_count}.get(gguf, 0)
        return TensorPlan(
            f"blk.{layer}.{gguf}.{part}",
            shape if part == "weight" else shape[:1],
            f"model.layers.{layer}.{hf}.{part}",
            heads if self.permuted else 0,
        )


def permute_heads(weight: "NDArray[np.float32]", heads: int) -> "NDArray[np.float32]":
    """Re-order the rows of a Q or K projection for interleaved rotary embedding.

    Hugging Face rotates dimension i of a head with i + d/2, the llama architecture of GGUF rotates
    neighbours 2i and 2i + 1 (llama.cpp `LlamaModel.permute`). [heads * d, ...] -> same shape.
    """
    paired = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return paired.swapaxes(1, 2).reshape(weight.shape)


def llama3_rope_factors(architecture: Architecture) -> "NDArray[np.float32]":
    """The per-frequency divisors of Llama 3.1's RoPE scaling: float32 [head_dim / 2].

    High frequencies stay (1), low ones are divided by `factor`, those between are blended
    (Llama 3.1 reference code, `apply_scaling`). llama.cpp reads them as rope_freqs.weight.
    """
    import numpy as np

    rope, dim = architecture.rope, architecture.head_dim
    factor = float(rope["factor"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    context = int(rope["original_max_position_embeddings"])
    if not (factor > 0 and high > low > 0):
        raise ModelFileError(f"config.json: impossible llama3 rope scaling {dict(rope)}.")
    exponents = np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)
    wavelength = 2 * math.pi * np.float32(rope["rope_theta"]) ** exponents
    smooth = np.clip((context / wavelength - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def read_architecture(config: Mapping[str, Any], *, has_head: bool) -> Architecture:
    """Check config.json and extract the model's shape; `has_head`: the weights hold lm_head.

    Raises UnsupportedModel for an architecture or feature Cabin cannot run (named), and
    ModelFileError for missing or impossible values.
    """
    hf_class = (config.get("architectures") or ["(none)"])[0]
    if hf_class not in SUPPORTED:
        raise UnsupportedModel(
            f"config.json: architecture {hf_class!r} is not supported. Supported: "
            f"{', '.join(SUPPORTED)} (Llama 2/3, TinyLlama, SmolLM, Mistral, Qwen2, Qwen3)."
        )
    _refuse_unsupported(config)
    name, permuted, qk_norm = SUPPORTED[hf_class]
    hidden, heads = _positive(config, "hidden_size"), _positive(config, "num_attention_heads")
    kv_heads = _positive(config, "num_key_value_heads", heads)
    head_dim = _positive(config, "head_dim", hidden // heads)
    if head_dim % 2 or heads % kv_heads or (config.get("head_dim") is None and hidden % heads):
        raise ModelFileError(
            f"config.json: hidden_size {hidden}, num_attention_heads {heads}, num_key_value_heads "
            f"{kv_heads} and head_dim {head_dim} do not fit together."
        )
    return Architecture(
        hf_class=hf_class,
        name=name,
        permuted=permuted,
        qk_norm=qk_norm,
        vocab_size=_positive(config, "vocab_size"),
        context_length=_positive(config, "max_position_embeddings"),
        embedding_length=hidden,
        layer_count=_positive(config, "num_hidden_layers"),
        feed_forward_length=_positive(config, "intermediate_size"),
        head_count=heads,
        kv_head_count=kv_heads,
        head_dim=head_dim,
        norm_epsilon=_number(config, "rms_norm_eps", 1e-6),
        tied=bool(config.get("tie_word_embeddings", not has_head)),
        sliding_window=_sliding_window(config, hf_class),
        rope=_rope(config),
    )


def _refuse_unsupported(config: Mapping[str, Any]) -> None:
    quantization = config.get("quantization_config")
    if quantization:
        is_dict = isinstance(quantization, dict)
        method = quantization.get("quant_method") if is_dict else quantization
        raise UnsupportedModel(
            f"config.json: the checkpoint is already quantised ({method}). "
            "Pack the original weights and choose the type with --type."
        )
    activation = config.get("hidden_act", "silu")
    if activation != "silu":
        raise UnsupportedModel(f"config.json: hidden_act {activation!r}; only 'silu' is supported.")


def _positive(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None:
        value = default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise ModelFileError(f"config.json: {key!r} is {value!r}; a positive integer is needed.")
    return value


def _number(config: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = config.get(key)
    if value is None:
        value = default
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ModelFileError(f"config.json: {key!r} is {value!r}; a positive number is needed.")
    return float(value)


def _sliding_window(config: Mapping[str, Any], hf_class: str) -> int | None:
    """The attention window, if every layer has it. A mixture of layers is refused."""
    window = config.get("sliding_window")
    if hf_class == "LlamaForCausalLM" or window is None:
        return None
    if hf_class.startswith("Qwen"):
        if not config.get("use_sliding_window"):
            return None
        layers, first = _positive(config, "num_hidden_layers"), config.get("max_window_layers", 28)
        kinds = config.get("layer_types") or [
            "sliding_attention" if layer >= first else "full_attention" for layer in range(layers)
        ]
        if set(kinds) == {"full_attention"}:
            return None
        if set(kinds) != {"sliding_attention"}:
            raise UnsupportedModel("config.json: only some layers use sliding-window attention.")
    return _positive(config, "sliding_window")


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """RoPE parameters in one shape, checked, with transformers' defaults for missing ones.

    transformers 4 spells them rope_scaling and rope_theta, transformers 5 rope_parameters.
    """
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(given, dict):
        raise ModelFileError(f"config.json: rope scaling is {given!r}; an object is needed.")
    theta = given.get("rope_theta", config.get("rope_theta"))
    rope: dict[str, Any] = {"rope_theta": _number({"rope_theta": theta}, "rope_theta", 10000.0)}
    kind = str(given.get("rope_type", given.get("type", "default"))).lower()
    # Dynamic NTK scaling changes nothing inside the context length, and Cabin stays inside it.
    rope["rope_type"] = "default" if kind == "dynamic" else kind
    if kind in ("default", "dynamic"):
        return rope
    if kind not in ("linear", "llama3"):
        raise UnsupportedModel(
            f"config.json: rope scaling {kind!r} is not supported; linear and llama3 are. Where it "
            "only extends the context, remove it to use the model at its original length."
        )
    rope["factor"] = _number(given, "factor")
    if kind == "llama3":
        rope["low_freq_factor"] = _number(given, "low_freq_factor", 1.0)
        rope["high_freq_factor"] = _number(given, "high_freq_factor", 4.0)
        original = "original_max_position_embeddings"
        rope[original] = _positive(given, original, 8192)
    return rope
