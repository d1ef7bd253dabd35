"""What a process runs: pure functions from (state, results) to (state, next syscall)."""

from collections.abc import Callable

from cabinos.kernel.image import Image
from cabinos.kernel.images.chat import Chat
from cabinos.kernel.images.code import Code

__all__ = ["IMAGES", "Chat", "Code"]

IMAGES: dict[str, Callable[[], Image]] = {"chat": Chat, "code": Code}
