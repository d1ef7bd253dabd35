"""What can go wrong when something is packed or unpacked."""


class CompressError(Exception):
    """Something that a person can put right; the message says what, where and how."""
