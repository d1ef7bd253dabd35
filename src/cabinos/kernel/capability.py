"""What a process may touch: tools, folders, hosts, a shell. A child has no more than its parent.

A capability is data in the process's row, checked by whoever serves the call: the kernel checks
tools, the file devices check folders, the web device hosts. Processes never see host paths: they
name `grant/inner/path`, and only the grant knows where on the machine that is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from cabinos.kernel.errors import Denied, InvalidArguments

__all__ = ["ANY_HOST", "Capabilities", "ClientTool", "FileGrant", "FileMode", "files"]

FileMode = Literal["r", "rw"]
ANY_HOST = "*"  # any host whose address is public


@dataclass(frozen=True, slots=True)
class FileGrant:
    """One folder (or single file) of the machine that a process may read, or read and write."""

    root: Path  # absolute, without symbolic links when the grant was made
    mode: FileMode
    name: str  # how processes call it: the first part of every path
    private: bool = False  # what it holds stays on this machine

    def __post_init__(self) -> None:
        if not self.root.is_absolute() or ".." in self.root.parts:
            raise InvalidArguments(f"{self.root}: a granted folder needs an absolute path.")
        if self.mode not in ("r", "rw"):
            raise InvalidArguments(f"{self.root}: the mode is 'r' or 'rw', not {self.mode!r}.")
        if not _is_plain(self.name):
            raise InvalidArguments(f"{self.root}: {self.name!r} cannot be the name of a grant.")

    @property
    def writable(self) -> bool:
        """Whether files below the root may be written."""
        return self.mode == "rw"


def files(
    path: str | PathLike[str],
    mode: FileMode = "r",
    name: str | None = None,
    *,
    private: bool = False,
) -> FileGrant:
    """The grant of a folder, or of a single file. `name` defaults to the last part of the path.

    What is in a `private` one goes to no model and nobody else outside of this machine, unless the
    person says so. Raises InvalidArguments if there is nothing at `path`.
    """
    try:
        root = Path(path).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidArguments(f"{path}: cannot be granted ({reason}).") from None
    return FileGrant(root, mode, name or root.name or "root", private)


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool that the process's client runs: a call of it waits for an answer from there."""

    name: str
    description: str
    parameters: str  # its JSON schema, as text


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Everything one process may touch. The default is nothing but the tools of its image."""

    tools: frozenset[str] | None = None  # None: every tool there is
    files: tuple[FileGrant, ...] = ()
    web: tuple[str, ...] = ()  # hosts; "*.example.org": its subdomains; "*": any public host
    shell: bool = False
    client: tuple[ClientTool, ...] = ()  # of this process alone: children do not get them
    private: tuple[Path, ...] = ()  # folders whose content stays on this machine, granted or not

    def __post_init__(self) -> None:
        names = [grant.name for grant in self.files]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise InvalidArguments(
                f"two granted folders are called {twice[0]!r}; give one of them another name."
            )

    def allows_tool(self, name: str) -> bool:
        """Whether the process may call the tool."""
        return self.tools is None or name in self.tools

    def of_client(self, name: str) -> bool:
        """Whether the tool is one that the client runs; it hides any other of that name."""
        return any(tool.name == name for tool in self.client)

    def allows_host(self, host: str) -> bool:
        """Whether the process may reach the host. Whether its address is public is not asked."""
        host = host.lower().rstrip(".")
        return any(_covers(pattern, host) for pattern in self.web)

    def locate(self, path: str) -> tuple[FileGrant, tuple[str, ...]]:
        """The grant that `path` ("name/inner/path") lies in, and the parts below its root.

        It is a matter of names alone: nothing on disk is looked at. Raises Denied if the path is
        absolute, climbs with "..", or begins with no grant's name. With one grant alone, its name
        may be left out.
        """
        if "\0" in path or path.startswith(("/", "~")):
            raise Denied(f"{path!r}: paths begin with the name of a folder. {self._offer()}")
        parts = tuple(part for part in path.split("/") if part not in ("", "."))
        if ".." in parts:
            raise Denied(f"{path!r}: '..' is not allowed in paths.")
        grant = next((g for g in self.files if parts and g.name == parts[0]), None)
        if grant is None and parts and len(self.files) == 1:  # there is only one it can be
            return self.files[0], parts
        if grant is None:
            raise Denied(f"{path!r} is in no folder that this process may use. {self._offer()}")
        return grant, parts[1:]

    def grant(self, path: str, mode: FileMode = "r", name: str | None = None) -> FileGrant:
        """A narrower grant, from a path as this process names it.

        Raises Denied if it is in no folder that the process may use, or not to write.
        """
        parent, inner = self.locate(path)
        if mode == "rw" and not parent.writable:
            raise Denied(f"{path!r}: the folder {parent.name!r} may only be read.")
        default = inner[-1] if inner else parent.name
        return FileGrant(parent.root.joinpath(*inner), mode, name or default, parent.private)

    @property
    def secluded(self) -> tuple[Path, ...]:
        """The folders whose content stays on this machine."""
        return (*self.private, *(grant.root for grant in self.files if grant.private))

    def holds_private(self, path: str = "") -> bool:
        """Whether something private lies at or below a path as processes see it; "": anywhere."""
        if not self.secluded or not path.strip("/"):
            return bool(self.secluded)
        try:
            grant, inner = self.locate(path)
        except Denied:
            return True
        place = grant.root.joinpath(*inner)
        around = (
            place.is_relative_to(root) or root.is_relative_to(place) for root in self.secluded
        )
        return any(around)

    def with_files(self, grant: FileGrant) -> "Capabilities":
        """The same with one more grant, which `grant` made of what is there."""
        return replace(self, files=(*self.files, grant))

    def attenuate(self, other: "Capabilities") -> "Capabilities":
        """What a child gets that asks for `other`: never more than `self`.

        Tools, hosts and the shell are intersected. A folder must lie inside one of the parent's,
        with no wider mode; otherwise Denied is raised, because a child that silently lacks its
        files would do something else than it was asked to.
        """
        for grant in other.files:
            self._require_within(grant)
        tools = other.tools if self.tools is None else self.tools
        if self.tools is not None and other.tools is not None:
            tools = self.tools & other.tools
        return replace(
            other,
            tools=tools,
            web=_common_hosts(self.web, other.web),
            shell=self.shell and other.shell,
            private=tuple(dict.fromkeys((*self.secluded, *other.private))),
        )

    def _require_within(self, grant: FileGrant) -> None:
        around = [own for own in self.files if grant.root.is_relative_to(own.root)]
        if not around:
            raise Denied(f"the folder {grant.name!r} is not inside one that the parent may use.")
        if grant.writable and not any(own.writable for own in around):
            raise Denied(f"the folder {grant.name!r} may only be read by the parent.")

    def _offer(self) -> str:
        names = ", ".join(f"{g.name!r} ({g.mode})" for g in self.files)
        return f"There are: {names}." if names else "No folders were granted."

    def to_json(self) -> dict[str, Any]:
        """As JSON for the store; `from_json` reads it."""
        return {
            "tools": None if self.tools is None else sorted(self.tools),
            "files": [
                [str(grant.root), grant.mode, grant.name, *([True] if grant.private else [])]
                for grant in self.files
            ],
            "web": list(self.web),
            "shell": self.shell,
            "client": [[tool.name, tool.description, tool.parameters] for tool in self.client],
            **({"private": list(map(str, self.private))} if self.private else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Capabilities":
        """The inverse of `to_json`."""
        tools = data["tools"]
        return cls(
            tools=None if tools is None else frozenset(tools),
            files=tuple(FileGrant(Path(root), *rest) for root, *rest in data["files"]),
            web=tuple(data["web"]),
            shell=data["shell"],
            client=tuple(ClientTool(*tool) for tool in data.get("client", ())),
            private=tuple(map(Path, data.get("private", ()))),
        )


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name and name.isprintable()


def _covers(pattern: str, host: str) -> bool:
    """Whether the pattern covers the host, or a narrower pattern given in its place."""
    pattern = pattern.lower().rstrip(".")
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return pattern in (ANY_HOST, host)


def _common_hosts(ours: Iterable[str], theirs: Iterable[str]) -> tuple[str, ...]:
    """The patterns of each side that the other side covers: the intersection of two sets of hosts.

    Two patterns of this shape are nested or disjoint, so the narrower of each pair is all of it.
    """
    ours, theirs = tuple(ours), tuple(theirs)
    within = [p for p in theirs if any(_covers(own, p.lower().rstrip(".")) for own in ours)]
    within += [p for p in ours if any(_covers(other, p.lower().rstrip(".")) for other in theirs)]
    return tuple(dict.fromkeys(within))
