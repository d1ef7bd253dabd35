"""What can go wrong before anything is measured."""


class EvalError(Exception):
    """Something that a person can put right; the message says what, where and how."""
