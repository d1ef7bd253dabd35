"""A web server on 127.0.0.1 whose answers are bytes, or functions that do what they like."""

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

Answer = bytes | Callable[[socket.socket], None]


def page(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An HTTP response."""
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"])
    return head.encode() + b"\r\n\r\n" + body


def html(body: bytes) -> bytes:
    return page(body, "Content-Type: text/html; charset=utf-8")


def redirect(location: str, status: str = "302 Found") -> bytes:
    return page(b"", f"Location: {location}", status=status)


class Site:
    """Serves `answers` by path; `requests` are the heads of what was asked."""

    def __init__(self, answers: dict[str, Answer], tls: ssl.SSLContext | None = None) -> None:
        self.answers = answers
        self.requests: list[str] = []
        site = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                site._answer(self.request, tls)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"

    def _answer(self, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        try:
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                if not (data := connection.recv(65536)):
                    return
                head += data
            self.requests.append(head.decode("latin-1"))
            path = head.split(b" ", 2)[1].decode("latin-1")
            answer = self.answers.get(path, page(b"", status="404 Not Found"))
            if callable(answer):
                answer(connection)
            else:
                connection.sendall(answer)
        except OSError:
            pass  # the client left
        finally:
            connection.close()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
