"""The engine's errors: each message says what was wrong, where, and what to do."""


class EngineError(Exception):
    """Base of every error the engine raises on purpose."""


class ModelFileError(EngineError):
    """The model file is missing, truncated, corrupt, or not what it claims to be."""


class UnsupportedModel(EngineError):
    """The file is well formed, but its architecture, tensor type or feature is not supported."""


class OutOfPages(EngineError):
    """The KV page pool is exhausted: free or swap out a sequence, or open with more `kv_tokens`."""


class ContextOverflow(EngineError):
    """A sequence would grow past the model's context length."""


class OutOfMemory(EngineError):
    """The operating system refused the memory the model needs; the message says how much."""


class InvalidRequest(EngineError):
    """The caller asked for something that cannot be: a token id out of range, a freed sequence."""
