"""A reward model: a language model whose last state becomes one number.

r(x, y) = w · h, h being the state at the token that ends the answer y to the prompt x. It learns
-log σ(r(chosen) - r(rejected) - margin) (Ouyang et al. 2022, arXiv:2203.02155, eq. 1; the margin
from Touvron et al. 2023, arXiv:2307.09288, eq. 2). A tie is half of either.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from cabinos.train import checkpoint, lora
from cabinos.train.config import ModelConfig
from cabinos.train.errors import TrainError
from cabinos.train.hardware import Machine, Processes, matrix_peak
from cabinos.train.loop import Run
from cabinos.train.model import Linear, Llama
from cabinos.train.policy import Account, begin, first, open_policy
from cabinos.train.prefer.calibration import measures
from cabinos.train.prefer.config import PairConfig, RewardConfig
from cabinos.train.prefer.pair_batches import PairBatch, PairStream, cut, pair_groups
from cabinos.train.prefer.pairs import Pairs, encode_pairs, split
from cabinos.train.saved import load_base, read_run, weights_hash
from cabinos.train.session import Options, conduct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "RewardModel",
    "describe",
    "differences",
    "load_reward",
    "open_reward",
    "preference_loss",
    "reward",
    "told_apart",
    "with_tokens",
]

C = TypeVar("C", bound=PairConfig)

TOKENS = 8192  # at once, where nothing is learnt


class RewardModel(Llama):
    """A model that says how good an answer is."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(config, dtype)
        self.score = Linear(config.width, 1)
        torch.nn.init.zeros_(self.score.weight)
        if not config.tied:
            self.lm_head.requires_grad_(False)

    @classmethod
    def of(cls, model: Llama) -> "RewardModel":
        """With the weights of a language model; it finds every answer equally good."""
        made = cls(model.config, model.dtype)
        made.load_state_dict(model.state_dict(), strict=False)
        return made

    def rewards(self, inputs: Tensor, ends: Tensor) -> Tensor:
        """Rows [B, T] whose answers end at `ends` [B] -> float32 [B]."""
        h = self.hidden(inputs)[torch.arange(len(inputs), device=inputs.device), ends]
        return self.score(h.float()).squeeze(1)

    def forward(  # type: ignore[override]
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
        r = self.rewards(inputs, ends)
        return preference_loss(r[0::2] - r[1::2], wanted, margins)


def preference_loss(z: Tensor, wanted: Tensor, margins: Tensor | None = None) -> Tensor:
    """Sum of -p log σ(z - margin) - (1 - p) log σ(-z), p being `wanted`: [n] -> []."""
    ahead = z if margins is None else z - margins
    return -(wanted * F.logsigmoid(ahead) + (1 - wanted) * F.logsigmoid(-z)).sum()


def reward(
    config: RewardConfig,
    base: Path,
    files: "Sequence[Path]",
    out: Path,
    options: Options | None = None,
) -> Run:
    """Train a reward model on pairs into the folder `out`, going on from its last checkpoint.

    Raises TrainError, CorpusError or NotANumber, each with what to do.
    """
    return conduct(
        lambda machine, group: open_reward(config, base, files, out, machine, group),
        options or Options(),
        measure="share of pairs told apart, loss and calibration",
        dynamic=True,
    )


def open_reward(
    config: RewardConfig,
    base: Path,
    files: "Sequence[Path]",
    out: Path,
    machine: Machine,
    group: Processes,
) -> Run:
    """A run that is ready to go on. Raises TrainError if `out` holds another one."""
    policy, speech = open_policy(base, config.context, out, machine, group)
    pairs = first(group, lambda: encode_pairs(files, speech, config.context, out / "pairs"))
    learnt, held = split(pairs, config.held, config.seed)
    config = with_tokens(config, pairs, learnt)
    model = RewardModel.of(policy).to(machine.device)
    account = Account("reward", base, describe(pairs, learnt, held), {"pairs": pairs.rows.key})
    optimizers, progress = begin(account, model, config, out, group, [model.score.weight])
    return Run(
        config, out, machine, group, model, optimizers,
        PairStream(pairs, learnt, config, progress.taken or None),
        lambda: told_apart(differences(model, pairs, held), pairs.ties[held]),
        None, matrix_peak(machine) * group.count, progress,
    )  # fmt: skip


def with_tokens(config: C, pairs: Pairs, learnt: "NDArray[np.int64]") -> C:
    """The configuration with as many tokens as its epochs take."""
    if config.tokens:
        return config
    if not len(learnt):
        raise TrainError("no pair is left to learn from; lower --held.")
    groups = len(pair_groups(pairs, learnt, config, 0))
    return replace(config, tokens=max(1, round(config.epochs * groups * config.micro_tokens)))


def describe(
    pairs: Pairs, learnt: "NDArray[np.int64]", held: "NDArray[np.int64]"
) -> dict[str, Any]:
    """What run.json says of the pairs. Answers' lengths are in tokens, on average."""
    chosen, rejected = pairs.answers.mean(0)
    return {
        "files": [Path(file).name for file in pairs.rows.files],
        "pairs": len(pairs),
        "learnt": len(learnt),
        "held": len(held),
        "ties": int(pairs.ties.sum()),
        "held_ties": int(pairs.ties[held].sum()),
        "too_long": pairs.rows.too_long,
        "same": pairs.same,
        "chosen_tokens": round(float(chosen), 2),
        "rejected_tokens": round(float(rejected), 2),
        "longer_chosen": round(float((np.sign(-np.diff(pairs.answers).ravel()) + 1).mean() / 2), 4),
    }


@torch.no_grad()  # type: ignore[untyped-decorator]
def differences(
    model: RewardModel, pairs: Pairs, chosen: "NDArray[np.int64]"
) -> "NDArray[np.float64]":
    """r(chosen) - r(rejected) of the pairs, in their order: [len(chosen)]."""
    found = np.zeros(len(pairs))
    device = model.score.weight.device
    for group in cut(pairs, chosen, TOKENS):
        (part,) = PairBatch(pairs, [group]).parts()
        inputs, ends = (torch.from_numpy(a).to(device) for a in (part.inputs, part.ends))
        r = model.rewards(inputs, ends).double().cpu().numpy()
        found[group] = r[0::2] - r[1::2]
    return found[chosen]


def told_apart(z: "NDArray[np.float64]", ties: "NDArray[np.bool_]") -> dict[str, float]:
    """How well the pairs that are no ties are told apart; nothing if there are fewer than two."""
    decided = z[~ties]
    return measures(decided) if len(decided) > 1 else {}


def load_reward(run: Path) -> tuple[RewardModel, Path]:
    """The reward model of a run, and the folder with its tokenizer. Raises TrainError."""
    facts = read_run(run)
    if facts.get("stage") != "reward":
        raise TrainError(f"{run}: no reward model; make one with `cabin prefer reward`.")
    path = checkpoint.latest(run)
    if path is None:
        raise TrainError(f"{run}: no checkpoint yet.")
    try:
        shape, config = ModelConfig(**facts["model"]), RewardConfig(**facts["run"])
    except TypeError as error:
        raise TrainError(f"{run / 'run.json'}: damaged ({error}).") from None
    if not config.rank:
        model = RewardModel(shape)
        checkpoint.load_weights(path, model)
        return model, run / "hf"
    base = Path(facts["base"])
    if weights_hash(base) != facts["base_weights"]:
        raise TrainError(f"{base}: not the weights that the adapters of {run} were made for.")
    model = RewardModel.of(load_base(base, shape.context)[0])
    lora.adapt(model, config, torch.Generator())
    model.score.requires_grad_(True)
    checkpoint.load_weights(path, model)
    lora.merge(model)
    return model, run / "hf"
