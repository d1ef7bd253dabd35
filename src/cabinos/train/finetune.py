"""Stage 2: an assistant, from a base model and conversations.

The base is the folder of a run, or a Hugging Face folder of the Llama family, whose own chat
template then writes the conversations. The run's folder also holds `hf/`, all that is exported
beside the weights, and `rows/`, the encoded rows.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist

from cabinos.train import checkpoint, lora
from cabinos.train.batches import Batches
from cabinos.train.checkpoint import Progress
from cabinos.train.config import TuneConfig
from cabinos.train.errors import TrainError
from cabinos.train.evaluate import answers
from cabinos.train.export import keep_description
from cabinos.train.hardware import Machine, Processes, matrix_peak
from cabinos.train.loop import Run
from cabinos.train.optimizer import make_optimizers
from cabinos.train.row_batches import RowStream, epoch_groups
from cabinos.train.rows import Rows, Speech, encode_rows, join, open_speech
from cabinos.train.saved import load_base, read_run, weights_hash
from cabinos.train.session import Options, check_same, conduct

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["Material", "finetune", "open_run"]

REPLAYED = 256  # tokens in a row of stage 1's texts


@dataclass(frozen=True)
class Material:
    """What a run on conversations is made of."""

    base: Path  # the folder of a run, or a Hugging Face folder
    rows: Sequence[Path]
    held: Path | None = None  # rows that the run is measured by
    texts: Path | None = None  # the data folder that `replay` takes its texts from


def finetune(
    config: TuneConfig, material: Material, out: Path, options: Options | None = None
) -> Run:
    """Train an assistant into the folder `out`, going on from its last checkpoint if it has one.

    A run with adapters leaves them in `out`/adapter. Raises TrainError, CorpusError or NotANumber,
    each with what to do.
    """
    run = conduct(
        lambda machine, group: open_run(config, material, out, machine, group),
        options or Options(),
        measure="loss, and the shares of tokens and rows that are right",
        dynamic=True,
    )
    if config.rank and run.processes.rank == 0:
        lora.save_adapter(run.model, config, str(material.base), out / "adapter")
    return run


def open_run(
    config: TuneConfig, material: Material, out: Path, machine: Machine, group: Processes
) -> Run:
    """A run that is ready to go on, from `out`'s last checkpoint or from the base.

    Raises TrainError if `out` holds a run with another configuration.
    """
    model, companion = load_base(material.base, config.context)
    model.dtype = machine.dtype
    if group.rank == 0:  # the others find what it has made
        keep_description(model.config, companion, out / "hf")
        speech = open_speech(out / "hf")
        rows, held = _rows(config, material, speech, out)
    if group.count > 1:
        dist.barrier()
    if group.rank > 0:
        speech = open_speech(out / "hf")
        rows, held = _rows(config, material, speech, out)
    if not config.tokens:
        groups = len(epoch_groups(rows, config, 0))
        config = replace(config, tokens=round(config.epochs * groups * config.micro_tokens))
    if config.batch_tokens // config.micro_tokens < group.count:
        raise TrainError(f"{group.count} processes need at least as many parts in a batch: lower "
                         "--micro-tokens, or raise --batch-tokens.")  # fmt: skip
    facts = json.loads(json.dumps(asdict(config)))  # lists, as they are read again
    base = {"base_weights": weights_hash(material.base), "rows": rows.key}
    check_same(out, facts, **base)
    torch.manual_seed(config.seed)
    if config.rank:
        lora.adapt(model, config, torch.Generator().manual_seed(config.seed))
    model.to(machine.device)
    optimizers = make_optimizers(model, config)
    progress = Progress(0, {}, 0.0, facts)
    if (path := checkpoint.latest(out)) is not None:
        progress = checkpoint.load(path, model, optimizers)
    if group.rank == 0:
        description = {"run": facts, "model": asdict(model.config)}
        description |= {"base": str(material.base.resolve()), **base}
        text = json.dumps(description | {"data": _facts(rows)}, indent=1)
        (out / "run.json").write_text(text + "\n", encoding="utf-8")
    return Run(
        config, out, machine, group, model, optimizers,
        RowStream(rows, config, progress.taken or None),
        lambda: {} if held is None else answers(model, held),
        _token_lengths(speech, model.config.vocabulary), matrix_peak(machine) * group.count,
        progress,
    )  # fmt: skip


def _rows(
    config: TuneConfig, material: Material, speech: Speech, out: Path
) -> tuple[Rows, Rows | None]:
    """What is learnt from, and what is held out."""
    rows = encode_rows(material.rows, speech, config.context, out / "rows")
    held = None
    if material.held is not None:
        held = encode_rows([material.held], speech, config.context, out / "rows")
    if config.replay:
        rows = join(rows, _replayed(config, material, out, int(rows.lengths.sum())))
    return rows, held


def _replayed(config: TuneConfig, material: Material, out: Path, tokens: int) -> Rows:
    """Rows out of the texts that the base was trained on, every token of which is learnt."""
    texts = material.texts
    if texts is None or not (material.base / "run.json").is_file():
        raise TrainError("--replay needs the data folder and the run that a base was made by.")
    if (texts / "tokenizer.json").read_bytes() != (out / "hf" / "tokenizer.json").read_bytes():
        raise TrainError(f"{texts}: has another tokenizer than the base; give its data folder.")
    mix = read_run(material.base)["run"]["mix"]
    count = max(1, round(config.replay * tokens / REPLAYED))
    context = min(REPLAYED, config.context)
    batch = Batches(texts, mix).next(count, context - 1)
    files = sorted(mix)
    places = [(files.index(domain), offset) for domain, offset in batch.places]
    return Rows(
        batch.tokens.astype(np.uint16).ravel(),
        np.ones(batch.tokens.size, np.bool_),
        np.arange(0, batch.tokens.size + 1, context, dtype=np.int64),
        np.array(places, np.int32),
        files,
    )


def _token_lengths(speech: Speech, vocabulary: int) -> "NDArray[np.int64]":
    """Bytes of text that each token stands for; markup stands for none."""
    tokenizer = speech.tokenizer
    markup = set(tokenizer.special_tokens.values())
    sizes = [0 if i in markup else len(tokenizer.token_bytes(i)) for i in range(vocabulary)]
    return np.array(sizes, np.int64)


def _facts(rows: Rows) -> dict[str, Any]:
    return {
        "files": [Path(file).name for file in rows.files],
        "rows": len(rows),
        "left_out": rows.too_long,
        "tokens": int(rows.lengths.sum()),
        "learnt": int(rows.learnt.sum()),
    }
