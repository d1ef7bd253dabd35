"""Files beneath a granted folder, reached in a way that nobody can lead outside.

A path is walked from `/` one name at a time, each opened relative to the folder before it and never
through a symbolic link. So neither `..` nor a link leads out, and neither does a link that somebody
puts in the place of a folder between a check and its use: there is no check apart from the use.
What was opened is a descriptor, and everything after works on that.
"""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from cabinos.kernel.capability import Capabilities, FileGrant
from cabinos.kernel.errors import Denied, ToolError

__all__ = ["Entry", "Place", "entries", "locate", "open_file", "shown", "walk"]

# O_PATH asks only for the right to pass through a folder, not to list it; macOS has no such flag.
THROUGH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe put in a file's place must not make the open wait.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder."""

    name: str
    kind: str  # file, folder, link or special
    size: int  # bytes
    modified: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Place:
    """A path beneath a grant, which need not exist. All methods block."""

    grant: FileGrant
    inner: tuple[str, ...]

    @property
    def path(self) -> str:
        """The path as processes see it."""
        return "/".join((self.grant.name, *self.inner))

    def open(self) -> io.BufferedReader:
        """The bytes of a regular file. Raises ToolError or Denied if there is none to read."""
        with self._parent() as (parent, leaf), self._errors():
            self._require_file(os.stat(leaf, dir_fd=parent, follow_symlinks=False))
            return open_file(parent, leaf)

    @contextmanager
    def open_folder(self) -> Iterator[int]:
        """A descriptor of a folder that can be listed."""
        with self._parent() as (parent, leaf):
            folder = self._step(parent, leaf, LIST)
        try:
            yield folder
        finally:
            os.close(folder)

    def open_path(self) -> int:
        """A descriptor of what is here, a file or a folder, that serves only to name it."""
        with self._parent() as (parent, leaf), self._errors():
            found = os.stat(leaf, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                return self._step(parent, leaf, THROUGH)
            self._require_file(found)
            return os.open(leaf, READ, dir_fd=parent)

    def is_folder(self) -> bool:
        """Whether a folder is here. Raises ToolError if there is nothing."""
        with self._parent() as (parent, leaf), self._errors():
            return stat.S_ISDIR(os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_mode)

    def write(self, data: bytes, token: str) -> bool:
        """Replaces the file, or creates it and the folders it is in; True if it was created.

        Whoever reads sees the old bytes or the new ones, also after a crash at any moment: they are
        written to a file beside, forced to disk, and renamed. The file keeps its permissions.
        `token` names the file beside, so that a repeated call takes up its own litter.
        """
        if not self.grant.writable:
            raise Denied(f"{self.path}: the folder {self.grant.name!r} may only be read.")
        beside = f".cabin-{token}.tmp"
        with self._parent(create=True) as (parent, leaf), self._errors():
            before = self._existing(parent, leaf)
            with suppress(FileNotFoundError):
                os.unlink(beside, dir_fd=parent)
            try:
                file = os.open(beside, CREATE, 0o666, dir_fd=parent)
                with os.fdopen(file, "wb") as opened:
                    if before is not None:
                        _keep_attributes(file, before)
                    opened.write(data)
                    opened.flush()
                    os.fsync(file)
                os.rename(beside, leaf, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with suppress(OSError):
                    os.unlink(beside, dir_fd=parent)
                raise
            _sync_folder(parent)
            return before is None

    def _existing(self, parent: int, leaf: str) -> os.stat_result | None:
        try:
            found = os.stat(leaf, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None
        self._require_file(found)
        return found

    @contextmanager
    def _parent(self, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """The folder that holds this place, and the name in it."""
        names = (*self.grant.root.parts[1:], *self.inner)
        folder = os.open("/", THROUGH)
        try:
            for depth, name in enumerate(names[:-1]):
                inside = depth >= len(self.grant.root.parts) - 1
                if create and inside:
                    with suppress(FileExistsError), self._errors():
                        os.mkdir(name, dir_fd=folder)
                deeper = self._step(folder, name, THROUGH)
                os.close(folder)
                folder = deeper
            yield folder, names[-1] if names else "."
        finally:
            os.close(folder)

    def _step(self, folder: int, name: str, flags: int) -> int:
        """The folder `name` in `folder`."""
        try:
            return os.open(name, flags, dir_fd=folder)
        except NotADirectoryError:
            with self._errors():
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                raise self._link() from None
            raise ToolError(f"{self.path}: {shown(name)!r} is not a folder.") from None
        except OSError as error:
            raise self._explained(error) from None

    def _require_file(self, found: os.stat_result) -> None:
        if stat.S_ISLNK(found.st_mode):
            raise self._link()
        if stat.S_ISDIR(found.st_mode):
            raise ToolError(f"{self.path} is a folder.")
        if not stat.S_ISREG(found.st_mode):
            raise ToolError(f"{self.path} is a pipe, socket or device, not a file.")

    def _link(self) -> Denied:
        return Denied(f"{self.path}: symbolic links are not followed, as they may lead outside.")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns what the system says into what a person understands. Passes FileExistsError on."""
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            raise self._explained(error) from None

    def _explained(self, error: OSError) -> ToolError | Denied:
        if error.errno == errno.ELOOP:
            return self._link()
        if error.errno == errno.ENOENT:
            return ToolError(f"{self.path}: no such file or folder.")
        return ToolError(f"{self.path}: {error.strerror or error}.")


def locate(capabilities: Capabilities, path: str) -> Place:
    """The place that a process means by `path`. Raises Denied if no grant covers it."""
    return Place(*capabilities.locate(path))


def entries(folder: int) -> list[Entry]:
    """What is in an open folder, sorted by name."""
    found: list[Entry] = []
    with os.scandir(folder) as listed:
        for item in listed:
            with suppress(FileNotFoundError):  # deleted meanwhile
                status = item.stat(follow_symlinks=False)
                found.append(Entry(item.name, _kind(status), status.st_size, status.st_mtime))
    return sorted(found, key=lambda entry: entry.name)


def walk(
    folder: int, inner: tuple[str, ...] = (), *, depth: int = 32
) -> Iterator[tuple[tuple[str, ...], int, Entry]]:
    """Everything below an open folder: the path, the open folder it is in, and the entry.

    Leaves out names that begin with a dot, as a shell's `*` does, and folders that may not be read.
    """
    for entry in entries(folder):
        if entry.name.startswith("."):
            continue
        path = (*inner, entry.name)
        yield path, folder, entry
        if entry.kind == "folder" and depth > 1:
            try:
                deeper = os.open(entry.name, LIST, dir_fd=folder)
            except OSError:
                continue
            try:
                yield from walk(deeper, path, depth=depth - 1)
            finally:
                os.close(deeper)


def open_file(folder: int, name: str) -> io.BufferedReader:
    """The regular file `name` in an open folder. Raises OSError if it is anything else."""
    opened = os.fdopen(os.open(name, READ, dir_fd=folder), "rb")
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise OSError(errno.EINVAL, "not a regular file", name)
    return opened


def shown(name: str) -> str:
    """A file name as it may be shown: control characters and undecodable bytes escaped."""
    return name if name.isprintable() else name.encode("unicode_escape").decode("ascii")


def _kind(status: os.stat_result) -> str:
    for kind, test in (("file", stat.S_ISREG), ("folder", stat.S_ISDIR), ("link", stat.S_ISLNK)):
        if test(status.st_mode):
            return kind
    return "special"


def _keep_attributes(file: int, before: os.stat_result) -> None:
    with suppress(PermissionError):  # only root gives files away
        os.fchown(file, before.st_uid, before.st_gid)
    os.fchmod(file, stat.S_IMODE(before.st_mode))


def _sync_folder(parent: int) -> None:
    """Forces the rename itself to disk, where the folder may be listed."""
    with suppress(PermissionError):
        folder = os.open(".", LIST, dir_fd=parent)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
