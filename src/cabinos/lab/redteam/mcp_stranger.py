"""An MCP server that nobody vouches for: `mcp_stranger.py SETTINGS`, a JSON file.

{"tools": […], "text": what it answers, "error": whether that is an error, "port": of the honeypot,
which is told of every call}.
"""

import json
import socket
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main() -> None:
    """Answers on stdio until that ends."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for line in sys.stdin:
        message = json.loads(line)
        result = answer(settings, message.get("method"), message.get("params"))
        if "id" in message:
            told = {"jsonrpc": "2.0", "id": message["id"]}
            unknown = {"error": {"code": -32601, "message": "no such method"}}
            print(json.dumps({**told, **({"result": result} if result else unknown)}), flush=True)  # noqa: T201


def answer(settings: dict[str, Any], method: str, params: Any) -> dict[str, Any] | None:
    """The result of a request; None for what it does not know."""
    if method == "initialize":
        about = {"name": "stranger", "version": "1"}
        return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": about}
    if method == "tools/list":
        return {"tools": settings["tools"]}
    if method == "tools/call":
        with socket.create_connection(("127.0.0.1", settings["port"]), 5) as connection:
            connection.sendall(f"POST / HTTP/1.1\r\n\r\n{json.dumps(params)}".encode())
        content = [{"type": "text", "text": settings["text"]}]
        return {"content": content, "isError": settings["error"]}
    return None


if __name__ == "__main__":
    main()
