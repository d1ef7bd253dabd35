"""Llama in plain torch, with the names and the numerics of the Hugging Face implementation.

B rows of T tokens, width D, H heads and K key-value heads of length E (64 in Cabin's own). Nothing
that could not be exported: no normalised queries, no soft caps, and biases only where the models of
others have them. Weights are kept in float32 and cast to the type of the activations where they are
used, so there is no autocast to reason about.
"""

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

from cabinos.train.config import ModelConfig

__all__ = ["Linear", "Llama", "linear_cross_entropy"]

IGNORED = -1  # a target without loss


class Linear(nn.Linear):  # type: ignore[misc]
    """A matrix [out, in], used in the type of its input."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False) -> None:
        super().__init__(inputs, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class RMSNorm(nn.Module):  # type: ignore[misc]
    """x / sqrt(mean(x²) + eps) · weight (Zhang and Sennrich 2019, arXiv:1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]; the mean is taken in float32."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (self.weight * wide).to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021, arXiv:2104.09864), the pairs being i and i + E/2.

    x: [B, heads, T, E]; cos, sin: [T, E/2].
    """
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Attention(nn.Module):  # type: ignore[misc]
    """Causal attention in which H / K queries share a key (Ainslie et al. 2023, 2305.13245)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head = config.head
        queries, keys, bias = self.head * config.heads, self.head * config.kv_heads, config.biased
        self.q_proj = Linear(config.width, queries, bias=bias)
        self.k_proj = Linear(config.width, keys, bias=bias)
        self.v_proj = Linear(config.width, keys, bias=bias)
        self.o_proj = Linear(queries, config.width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        rows, length, _ = x.shape
        q, k, v = (
            projection(x).view(rows, length, -1, self.head).transpose(1, 2)  # [B, H or K, T, E]
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o_proj(y.transpose(1, 2).reshape(rows, length, -1))


class MLP(nn.Module):  # type: ignore[misc]
    """SwiGLU (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.width, config.inner)
        self.up_proj = Linear(config.width, config.inner)
        self.down_proj = Linear(config.inner, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):  # type: ignore[misc]
    """One layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.width, config.eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.width, config.eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):  # type: ignore[misc]
    """The model. Its parameters have Hugging Face's names, less the leading "model."."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype = torch.float32) -> None:
        """`dtype`: of the activations."""
        super().__init__()
        self.config, self.dtype = config, dtype
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = RMSNorm(config.width, config.eps)
        if not config.tied:
            self.lm_head = Linear(config.width, config.vocabulary)
        frequencies = config.theta ** -(torch.arange(0, config.head, 2).float() / config.head)
        if config.divisors:
            frequencies /= torch.tensor(config.divisors)
        angles = torch.outer(torch.arange(config.context).float(), frequencies)  # [context, E/2]
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def initialize(self, generator: torch.Generator) -> None:
        """Fresh weights: normal with deviation 1/sqrt(inputs), and layers that add nothing yet.

        The embedding is also the output matrix: 0.02 keeps the first predictions near uniform.
        """
        for name, weight in self.named_parameters():
            if weight.ndim < 2:
                weight.fill_(1.0)
            elif name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
            else:
                std = 0.02 if name == "embed_tokens.weight" else weight.shape[1] ** -0.5
                weight.normal_(0.0, std, generator=generator)

    def hidden(self, tokens: Tensor) -> Tensor:
        """Final states after the output norm: [B, T] -> [B, T, D]."""
        return self.trunk(self.embed_tokens(tokens).to(self.dtype))

    def compile_trunk(self, *, dynamic: bool = False) -> None:
        """Compile the layers; `dynamic`: once for rows of any number and length.

        The embedding stays out: compiled, its gradient is added up in the order in which threads
        arrive, and a run could not be repeated bit for bit.
        """
        self.trunk = torch.compile(self.trunk, dynamic=dynamic)  # type: ignore[method-assign]

    def trunk(self, x: Tensor) -> Tensor:
        """The layers and the output norm: [B, T, D] -> [B, T, D]."""
        length = x.shape[1]
        cos, sin = self.cos[:length].to(x.dtype), self.sin[:length].to(x.dtype)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)

    @property
    def output(self) -> Tensor:
        """The output matrix: [vocabulary, D]."""
        tied: bool = self.config.tied
        return self.embed_tokens.weight if tied else self.lm_head.weight

    def logits(self, tokens: Tensor) -> Tensor:
        """[B, T] -> float32 [B, T, vocabulary]."""
        h = self.hidden(tokens)
        return F.linear(h, self.output.to(h.dtype)).float()

    def forward(self, tokens: Tensor, targets: Tensor, places: Tensor | None = None) -> Tensor:
        """The sum of the losses (nats) over all targets that are not -1: [B, T], [N] -> [].

        `places` [N] says where in the B · T positions the targets belong, so that the output matrix
        is spared everywhere else; without it there is one for each position.
        """
        h = self.hidden(tokens).flatten(0, 1)
        if places is not None:
            h = h[places]
        return linear_cross_entropy(h, self.output, targets.flatten())


class _LinearCrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    """See `linear_cross_entropy`. The gradients are computed on the way forward."""

    @staticmethod
    def forward(ctx: object, h: Tensor, weight: Tensor, targets: Tensor, chunk: int) -> Tensor:
        total = h.new_zeros((), dtype=torch.float32)
        dh, dw = torch.empty_like(h), torch.zeros_like(weight)
        cast = weight.to(h.dtype)
        for start in range(0, len(h), chunk):
            part = h[start : start + chunk]  # [C, D]
            kept = targets[start : start + chunk, None] != IGNORED  # [C, 1]
            target = targets[start : start + chunk, None].clamp(min=0)
            x = (part @ cast.T).float()  # [C, V]
            peak = x.amax(1, keepdim=True)
            chosen = x.gather(1, target)
            p = x.sub_(peak).exp_()
            mass = p.sum(1, keepdim=True)
            total += ((mass.log() + peak - chosen) * kept).sum()
            # d loss / d logits = softmax - one-hot
            p.mul_(kept / mass).scatter_add_(1, target, -kept.to(p.dtype))
            p = p.to(h.dtype)
            torch.mm(p, cast, out=dh[start : start + chunk])
            if h.dtype == weight.dtype:
                dw.addmm_(p.T, part)
            else:
                dw += p.T @ part
        ctx.save_for_backward(dh, dw)  # type: ignore[attr-defined]
        return total

    @staticmethod
    def backward(ctx: object, scale: Tensor) -> tuple[Tensor, Tensor, None, None]:
        dh, dw = ctx.saved_tensors  # type: ignore[attr-defined]
        return dh * scale.to(dh.dtype), dw * scale, None, None


def linear_cross_entropy(h: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Sum of -log softmax(h weightᵀ)[target], without ever holding all logits.

    h: [N, D]; weight: [V, D]; targets: [N], -1 where there is no loss. The logits of a few rows at
    a time stay in the cache, and are turned into their gradient in place; so this is as exact as,
    and much lighter than, making all of [N, V] (compare Hsu et al. 2024, arXiv:2410.10989).
    """
    if not torch.is_grad_enabled():
        logits = F.linear(h, weight.to(h.dtype)).float()
        return F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
    chunk = 128 if h.device.type == "cpu" else 2048
    total: Tensor = _LinearCrossEntropy.apply(h, weight, targets, chunk)
    return total
