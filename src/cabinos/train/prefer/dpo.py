"""DPO: a policy learns from pairs as if their reward model were hidden in it.

Rafailov et al. 2023, arXiv:2305.18290, eq. 7: with Δ(y) = log π(y|x) - log π_ref(y|x), the loss is
-log σ(β (Δ(chosen) - Δ(rejected))). The reference is the model that the run began with; what it
says of every answer is computed once and kept.

Against growing answers, `normalised` divides Δ by the answer's length in tokens (Lambert et al.
2024, arXiv:2411.15124, §5). `smoothing` takes a share of the pairs to be the wrong way round
(Mitchell 2023, "cDPO"). `likelihood` adds the chosen answer's own loss per token (Pang et al. 2024,
arXiv:2404.19733, eq. 1), against policies that learn to say neither.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from cabinos.train import lora
from cabinos.train.errors import TrainError
from cabinos.train.hardware import Machine, Processes, matrix_peak
from cabinos.train.logprobs import token_logprobs
from cabinos.train.loop import Run
from cabinos.train.model import Llama
from cabinos.train.policy import Account, begin, first, open_policy
from cabinos.train.prefer.config import DpoConfig
from cabinos.train.prefer.pair_batches import PairBatch, PairStream, cut
from cabinos.train.prefer.pairs import Pairs, encode_pairs, save_arrays, split
from cabinos.train.prefer.reward import describe, preference_loss, told_apart, with_tokens
from cabinos.train.saved import weights_hash
from cabinos.train.session import Options, conduct

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Preferring", "answer_logprobs", "dpo", "open_dpo"]

TOKENS = 4096  # at once, where nothing is learnt


class Preferring(nn.Module):  # type: ignore[misc]
    """A policy, and the loss that pairs give it."""

    def __init__(self, model: Llama, config: DpoConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(
        self,
        inputs: Tensor,
        targets: Tensor,
        places: Tensor,
        ends: Tensor,
        wanted: Tensor,
        margins: Tensor,
        reference: Tensor,
    ) -> Tensor:
        """The sum of the losses (nats) of all pairs; see `PairPart`."""
        sums, counts = _sums(self.model, inputs, targets, places)
        moved = sums - reference
        if self.config.normalised:
            moved = moved / counts
        loss = preference_loss(self.config.beta * (moved[0::2] - moved[1::2]), wanted)
        if self.config.likelihood:
            loss = loss - self.config.likelihood * (sums / counts)[0::2].sum()
        return loss


def _sums(model: Llama, inputs: Tensor, targets: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Log P of the answer in each row, and its tokens: float32 [rows] both."""
    h = model.hidden(inputs)
    logprobs = token_logprobs(h.flatten(0, 1)[places], model.output, targets)
    rows = places // inputs.shape[1]
    sums = torch.zeros(len(inputs), device=h.device).index_add(0, rows, logprobs)
    return sums, torch.bincount(rows, minlength=len(inputs)).float()


@torch.no_grad()  # type: ignore[untyped-decorator]
def answer_logprobs(
    model: Llama, pairs: Pairs, chosen: "NDArray[np.int64] | None" = None
) -> "NDArray[np.float32]":
    """Log P of every answer, by row: [2 · pairs]; 0 where pairs are not among `chosen`."""
    found = np.zeros(2 * len(pairs), np.float32)
    device = model.embed_tokens.weight.device
    numbers = np.arange(len(pairs)) if chosen is None else chosen
    for group in cut(pairs, numbers, TOKENS):
        (part,) = PairBatch(pairs, [group]).parts()
        arrays = (torch.from_numpy(a).to(device) for a in (part.inputs, part.targets, part.places))
        sums = _sums(model, *arrays)[0].cpu().numpy()
        found[2 * group], found[2 * group + 1] = sums[0::2], sums[1::2]
    return found


def dpo(
    config: DpoConfig,
    base: Path,
    files: Sequence[Path],
    out: Path,
    options: Options | None = None,
) -> Run:
    """Train a policy on pairs into the folder `out`, going on from its last checkpoint.

    A run with adapters leaves them in `out`/adapter. Raises TrainError, CorpusError or NotANumber,
    each with what to do.
    """
    run = conduct(
        lambda machine, group: open_dpo(config, base, files, out, machine, group),
        options or Options(),
        measure="share of pairs told apart by how the policy moved, and how far",
        dynamic=True,
    )
    if config.rank and run.processes.rank == 0:
        lora.save_adapter(run.model, config, str(base), out / "adapter")
    return run


def open_dpo(
    config: DpoConfig,
    base: Path,
    files: Sequence[Path],
    out: Path,
    machine: Machine,
    group: Processes,
) -> Run:
    """A run that is ready to go on. Raises TrainError if `out` holds another one."""
    model, speech = open_policy(base, config.context, out, machine, group)
    pairs = first(group, lambda: encode_pairs(files, speech, config.context, out / "pairs"))
    learnt, held = split(pairs, config.held, config.seed)
    config = with_tokens(config, pairs, learnt)
    model.to(machine.device)
    reference = first(group, lambda: _reference(model, pairs, base, out))
    account = Account("dpo", base, describe(pairs, learnt, held), {"pairs": pairs.rows.key})
    optimizers, progress = begin(account, model, config, out, group)
    stream = PairStream(pairs, learnt, config, progress.taken or None, reference)
    return Run(
        config, out, machine, group, model, optimizers, stream,
        lambda: _moved(model, pairs, held, reference, config),
        None, matrix_peak(machine) * group.count, progress, objective=Preferring(model, config),
    )  # fmt: skip


def _reference(model: Llama, pairs: Pairs, base: Path, out: Path) -> "NDArray[np.float32]":
    """What the model that the run begins with says of every answer; kept beside the pairs."""
    path = out / "pairs" / f"{pairs.rows.key}-{weights_hash(base)[:16]}.npy"
    if not path.is_file():
        found = answer_logprobs(model, pairs)
        save_arrays(path, lambda file: np.save(file, found))
    try:
        kept: NDArray[np.float32] = np.load(path)
        if kept.shape != (2 * len(pairs),):
            raise ValueError("another number of answers")
    except (OSError, ValueError) as error:
        raise TrainError(f"{path}: damaged ({error}). Remove it and start again.") from None
    return kept


def _moved(
    model: Llama,
    pairs: Pairs,
    held: "NDArray[np.int64]",
    reference: "NDArray[np.float32]",
    config: DpoConfig,
) -> dict[str, float]:
    """How the pairs that are held out are told apart, and by how many nats a token each moved."""
    if not len(held):
        return {}
    moved = (answer_logprobs(model, pairs, held) - reference).reshape(-1, 2)[held].astype(float)
    a_token = moved / pairs.answers[held]
    z = config.beta * -np.diff(a_token if config.normalised else moved).ravel()
    chosen, rejected = a_token.mean(0)
    apart = told_apart(z, pairs.ties[held])
    return {key: apart[key] for key in ("accuracy", "loss") if key in apart} | {
        "chosen": float(chosen),
        "rejected": float(rejected),
    }
