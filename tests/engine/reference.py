"""The Llama family in NumPy, straight from a GGUF file: slow, plain, and only to compare with."""

from pathlib import Path
from typing import Any

import numpy as np

from cabinos.engine.gguf import GGUFFile, read_gguf
from cabinos.engine.pack.quantize import decode


def reference_logits(path: Path, tokens: list[int]) -> np.ndarray:
    """Logits of every position: float64 [tokens, vocabulary]."""
    file = read_gguf(path)
    architecture = str(file.metadata["general.architecture"])

    def number(key: str, default: float = 0) -> Any:
        return file.metadata.get(f"{architecture}.{key}", default)

    embedding = tensor(file, "token_embd.weight")
    x = embedding[tokens]
    for layer in range(number("block_count")):
        block = Block(file, layer, architecture, number)
        x = x + block.attention(rms_norm(x, block.get("attn_norm"), block.epsilon))
        x = x + block.feed_forward(rms_norm(x, block.get("ffn_norm"), block.epsilon))
    x = rms_norm(x, tensor(file, "output_norm.weight"), number("attention.layer_norm_rms_epsilon"))
    head = tensor(file, "output.weight") if "output.weight" in file.tensors else embedding
    return x @ head.T


def tensor(file: GGUFFile, name: str) -> np.ndarray:
    info = file.tensors[name]
    return decode(file.data(name), info.type, info.shape).astype(np.float64)


def rms_norm(x: np.ndarray, weight: np.ndarray, epsilon: float) -> np.ndarray:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


class Block:
    """One layer."""

    def __init__(self, file: GGUFFile, layer: int, architecture: str, number: Any) -> None:
        self.file, self.prefix, self.number = file, f"blk.{layer}.", number
        self.interleaved = architecture == "llama"
        self.epsilon = number("attention.layer_norm_rms_epsilon")

    def get(self, name: str, part: str = "weight") -> np.ndarray:
        return tensor(self.file, f"{self.prefix}{name}.{part}")

    def project(self, x: np.ndarray, name: str) -> np.ndarray:
        bias = f"{self.prefix}{name}.bias" in self.file.tensors
        return x @ self.get(name).T + (self.get(name, "bias") if bias else 0)

    def attention(self, x: np.ndarray) -> np.ndarray:
        heads, kv_heads = (
            self.number("attention.head_count"),
            self.number("attention.head_count_kv"),
        )
        dim = self.number("attention.key_length")
        q = self.rotate(self.heads(x, "attn_q", heads, dim))
        k = self.rotate(self.heads(x, "attn_k", kv_heads, dim))
        v = self.heads(x, "attn_v", kv_heads, dim)
        k, v = (np.repeat(t, heads // kv_heads, axis=0) for t in (k, v))
        scores = q @ k.swapaxes(1, 2) / np.sqrt(dim)
        age = np.arange(len(x))[:, None] - np.arange(len(x))[None]
        window = self.number("attention.sliding_window") or len(x)
        scores = np.where((age >= 0) & (age < window), scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return self.project((weights @ v).swapaxes(0, 1).reshape(len(x), -1), "attn_output")

    def heads(self, x: np.ndarray, name: str, count: int, dim: int) -> np.ndarray:
        """[count, tokens, dim], normalised if the model has Q/K norms."""
        split = self.project(x, name).reshape(len(x), count, dim).swapaxes(0, 1)
        if f"{self.prefix}{name}_norm.weight" in self.file.tensors:
            split = rms_norm(split, self.get(f"{name}_norm"), self.epsilon)
        return split

    def rotate(self, x: np.ndarray) -> np.ndarray:
        dim = x.shape[-1]
        frequency = self.number("rope.freq_base") ** (-np.arange(0, dim, 2) / dim)
        if "rope_freqs.weight" in self.file.tensors:
            frequency = frequency / tensor(self.file, "rope_freqs.weight")
        frequency = frequency / self.number("rope.scaling.factor", 1.0)
        angle = np.arange(x.shape[1])[:, None] * frequency
        pairs = (slice(0, None, 2), slice(1, None, 2))
        if not self.interleaved:
            pairs = (slice(0, dim // 2), slice(dim // 2, None))
        a, b = x[..., pairs[0]], x[..., pairs[1]]
        out = np.empty_like(x)
        out[..., pairs[0]] = a * np.cos(angle) - b * np.sin(angle)
        out[..., pairs[1]] = a * np.sin(angle) + b * np.cos(angle)
        return out

    def feed_forward(self, x: np.ndarray) -> np.ndarray:
        gate = self.project(x, "ffn_gate")
        return self.project(gate / (1 + np.exp(-gate)) * self.project(x, "ffn_up"), "ffn_down")
