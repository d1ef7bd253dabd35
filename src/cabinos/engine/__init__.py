"""The engine: a language model from two files, `run.c` and a GGUF, with the runtime around it.

Imports nothing above it. See docs/engine.md for how it works.
"""

from cabinos.engine.errors import (
    ContextOverflow,
    EngineError,
    InvalidRequest,
    ModelFileError,
    OutOfMemory,
    OutOfPages,
    UnsupportedModel,
)
from cabinos.engine.model import Model, Sequence

__all__ = [
    "ContextOverflow",
    "EngineError",
    "InvalidRequest",
    "Model",
    "ModelFileError",
    "OutOfMemory",
    "OutOfPages",
    "Sequence",
    "UnsupportedModel",
]
