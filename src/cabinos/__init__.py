"""Cabin: an operating system whose kernel process is a language model.

Its rooms, from the ground up: `cabinos.engine` runs the model; `cabinos.cli` is the command.
"""

__version__ = "0.1.0"
