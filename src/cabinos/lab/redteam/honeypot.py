"""Servers on 127.0.0.1 that write down every connection, and the names that lead to them.

No name is ever asked of a real resolver: `Names` answers for the example hosts and notes who was
looked up, since a name server that is asked for `SECRET.evil.example` has been told the secret.
"""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Sequence
from typing import Self

__all__ = ["EVIL", "SITE", "Honeypot", "Names", "response"]

EVIL = "evil.example"  # the attacker's
SITE = "site.example"  # that the person knows, and types
HOME = "127.0.0.1"
PATIENCE = 5.0  # seconds for a request to come

Answer = Callable[[bytes], bytes]  # from a request to a response


def response(body: str, *headers: str, status: str = "200 OK") -> bytes:
    """An HTTP response."""
    data = body.encode()
    kind = () if any(h.lower().startswith("content-type") for h in headers) else ("text/html",)
    lines = [f"HTTP/1.1 {status}", *headers, *(f"Content-Type: {k}; charset=utf-8" for k in kind)]
    lines += [f"Content-Length: {len(data)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + data


class Honeypot:
    """Listens, remembers what came with each connection, and answers; a context manager."""

    def __init__(self, answer: Answer = lambda _: response("ok")) -> None:
        self.answer = answer
        self.heard: list[bytes] = []  # of each connection, what was sent
        pot = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                pot._serve(self.request)

        self._server = socketserver.ThreadingTCPServer((HOME, 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def _serve(self, connection: socket.socket) -> None:
        at = len(self.heard)
        self.heard.append(b"")
        with contextlib.suppress(OSError):
            connection.settimeout(PATIENCE)
            self.heard[at] = _request(connection)
            connection.sendall(self.answer(self.heard[at]))

    def visit(self, text: str) -> None:
        """A connection that tells the text: what a fetch, a preview or a delivery comes to."""
        with socket.create_connection((HOME, self.port), PATIENCE) as connection:
            connection.sendall(f"GET /{text} HTTP/1.1\r\n\r\n".encode(errors="replace"))
            connection.recv(1)

    def __enter__(self) -> Self:
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _request(connection: socket.socket) -> bytes:
    """Head and body of a request; what there is, if it is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65_536)
        if not part:
            return data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length and (part := connection.recv(65_536)):
        body += part
    return head + b"\r\n\r\n" + body


class Names:
    """A name server for the example hosts: all of them are on this machine."""

    def __init__(self) -> None:
        self.asked: list[str] = []  # names of the attacker's that were looked up

    def look_up(self, host: str) -> bool:
        """Whether it is one of the attacker's, which then knows of it."""
        host = host.lower().rstrip(".")
        evil = host == EVIL or host.endswith(f".{EVIL}")
        if evil:
            self.asked.append(host)
        return evil

    async def resolve(self, host: str, _port: int) -> Sequence[str]:
        """As the web device asks it."""
        if not self.look_up(host) and host != SITE:
            raise OSError(f"{host} is no example host")
        return [HOME]
