"""The encoder by which skills are found by meaning: the small one that comes with the index."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cabinos.index.encoder import Encoder

__all__ = ["encoder"]

log = logging.getLogger("cabinos.skills")


def encoder() -> "Encoder | None":
    """The encoder, or None, with a warning, if its files are damaged: then words alone count."""
    from cabinos.index.errors import SearchError
    from cabinos.index.static import built_in

    try:
        return built_in()
    except SearchError as error:
        log.warning("skills are found by words alone: %s", error)
        return None
