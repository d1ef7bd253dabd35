"""Errors as OpenAI's clients read them: a status, and {"error": {message, type, param, code}}."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cabinos.kernel.errors import KernelError
from cabinos.serve.encode import Json
from cabinos.store.errors import StoreError

__all__ = ["ApiError", "answer_error", "of_kernel"]

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
NEVER_AGAIN = {"x-should-retry": "false"}  # official clients obey it

# The kernel's errors by the name of their class: a status and a code.
STATUS: Mapping[str, tuple[int, str]] = {
    "ContextOverflow": (400, "context_length_exceeded"),
    "InvalidArguments": (400, "invalid_value"),
    "Denied": (403, "denied"),
    "NoSuchProcess": (404, "no_such_process"),
    "KernelError": (409, "conflict"),
    "BudgetExceeded": (429, "insufficient_quota"),
    "Fault": (500, "fault"),
    "ModelError": (502, "model_error"),
    "StoreError": (503, "store_failure"),
    "StoreFailed": (503, "store_failure"),
}


class ApiError(Exception):
    """Something that a client is told."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """What is sent."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "")
        error = {
            "message": str(self),
            "type": kind or "invalid_request_error",
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    def response(self) -> Response:
        """The whole answer."""
        return Json(self.body(), self.status, self.headers)


def of_kernel(kind: str, message: str) -> ApiError:
    """What a client is told of an error of the kernel; `kind` is the name of its class."""
    status, code = STATUS.get(kind, (502, "model_error"))
    hopeless = code in ("insufficient_quota", "conflict", "store_failure", "fault")
    return ApiError(status, message, code=code, headers=NEVER_AGAIN if hopeless else None)


def answer_error(_request: Request, error: Exception) -> Response:
    """Starlette's handler of ApiError, KernelError and StoreError."""
    if isinstance(error, ApiError):
        return error.response()
    assert isinstance(error, KernelError | StoreError)
    kind = type(error).__name__
    if isinstance(error, StoreError) and kind not in STATUS:
        kind = "StoreError"
    return of_kernel(kind, str(error)).response()
