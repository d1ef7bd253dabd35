"""The engine: a language model from two files, `run.c` and a GGUF, with the runtime around it.

Imports nothing above it. Names are loaded when first used, so that a command that needs no model
starts at once. See docs/engine.md for how it works.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cabinos.engine.chat_template import ChatTemplate
    from cabinos.engine.constraints import Constraint
    from cabinos.engine.errors import (
        ContextOverflow,
        EngineError,
        InvalidRequest,
        ModelFileError,
        OutOfMemory,
        OutOfPages,
        UnsupportedModel,
    )
    from cabinos.engine.generate import generate, score
    from cabinos.engine.model import Model, Sequence
    from cabinos.engine.request import Choice, Completion, Delta, Handle
    from cabinos.engine.sampling import SampledToken, Sampler, SamplingParams
    from cabinos.engine.scheduler import Scheduler, SchedulerStats
    from cabinos.engine.speculation import DraftModel, PromptLookup
    from cabinos.engine.tokenizer import Detokenizer, Tokenizer

_HOMES = {
    "chat_template": ("ChatTemplate",),
    "constraints": ("Constraint",),
    "errors": (
        "ContextOverflow",
        "EngineError",
        "InvalidRequest",
        "ModelFileError",
        "OutOfMemory",
        "OutOfPages",
        "UnsupportedModel",
    ),
    "generate": ("generate", "score"),
    "model": ("Model", "Sequence"),
    "request": ("Choice", "Completion", "Delta", "Handle"),
    "sampling": ("SampledToken", "Sampler", "SamplingParams"),
    "scheduler": ("Scheduler", "SchedulerStats"),
    "speculation": ("DraftModel", "PromptLookup"),
    "tokenizer": ("Detokenizer", "Tokenizer"),
}

__all__ = [
    "ChatTemplate",
    "Choice",
    "Completion",
    "Constraint",
    "ContextOverflow",
    "Delta",
    "Detokenizer",
    "DraftModel",
    "EngineError",
    "Handle",
    "InvalidRequest",
    "Model",
    "ModelFileError",
    "OutOfMemory",
    "OutOfPages",
    "PromptLookup",
    "SampledToken",
    "Sampler",
    "SamplingParams",
    "Scheduler",
    "SchedulerStats",
    "Sequence",
    "Tokenizer",
    "UnsupportedModel",
    "generate",
    "score",
]


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
