"""The application: which path is served by whom."""

import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cabinos.kernel.errors import KernelError
from cabinos.serve import processes
from cabinos.serve.chat import chat_completions
from cabinos.serve.completions import completions, embeddings
from cabinos.serve.errors import ApiError, answer_error
from cabinos.serve.guard import Guard
from cabinos.serve.metrics import get_metrics
from cabinos.serve.models import get_health, get_model, list_models
from cabinos.serve.past_responses import delete_response, get_response
from cabinos.serve.responses import create_response
from cabinos.serve.service import Service
from cabinos.store.errors import StoreError

__all__ = ["make_app"]

ROUTES = [
    Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    Route("/v1/responses", create_response, methods=["POST"]),
    Route("/v1/responses/{response}", get_response, methods=["GET"]),
    Route("/v1/responses/{response}", delete_response, methods=["DELETE"]),
    Route("/v1/completions", completions, methods=["POST"]),
    Route("/v1/embeddings", embeddings, methods=["POST"]),
    Route("/v1/models", list_models),
    Route("/v1/models/{name:path}", get_model),
    Route("/v1/processes", processes.list_processes, methods=["GET"]),
    Route("/v1/processes", processes.spawn, methods=["POST"]),
    Route("/v1/processes/asks", processes.list_asks),
    Route("/v1/processes/asks/{ask:int}/{verdict}", processes.answer_ask, methods=["POST"]),
    Route("/v1/processes/{pid:int}", processes.get_process),
    Route("/v1/processes/{pid:int}/events", processes.get_events),
    Route("/v1/processes/{pid:int}/journal", processes.get_journal),
    Route("/v1/processes/{pid:int}/send", processes.send, methods=["POST"]),
    Route("/v1/processes/{pid:int}/{verb}", processes.signal, methods=["POST"]),
    Route("/health", get_health),
    Route("/metrics", get_metrics),
]
Log = Callable[[dict[str, Any]], None]


def make_app(
    service: Service,
    *,
    token: str | None = None,
    origins: Collection[str] = (),
    log: Log | None = None,
) -> Starlette:
    """The application over a service. `origins`: web pages that may use it; `log` gets requests."""
    middleware = [Middleware(_Observer, service=service, log=log)]
    if origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(origins),
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["*"],
            )
        )
    middleware.append(Middleware(Guard, token=token, origins=origins))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        events = service.kernel.events
        events.attach(service.metrics)
        try:
            yield
        finally:
            await service.finish()
            events.detach(service.metrics)

    app = Starlette(
        routes=ROUTES,
        middleware=middleware,
        lifespan=lifespan,
        exception_handlers={
            ApiError: answer_error,
            KernelError: answer_error,
            StoreError: answer_error,
            HTTPException: _no_route,
            Exception: _fault,
        },
    )
    app.state.service = service
    return app


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    message = f"{what}: {error.detail}."
    return ApiError(error.status_code, message, headers=error.headers).response()


async def _fault(_request: Request, error: Exception) -> Response:
    message = f"a fault in Cabin: {type(error).__name__}."
    return ApiError(500, message, code="fault").response()


class _Observer:
    """Counts and logs requests. Never their content, tokens or queries."""

    def __init__(self, app: ASGIApp, service: Service, log: Log | None) -> None:
        self._app, self._service, self._log = app, service, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 0, time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            seconds = time.perf_counter() - began
            endpoint = getattr(scope.get("endpoint"), "__name__", "none")
            self._service.metrics.count_request(endpoint, status, seconds)
            if self._log is not None:
                self._log(
                    {
                        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                        "method": scope["method"],
                        "path": scope["path"],
                        "status": status,
                        "ms": round(seconds * 1000, 1),
                    }
                )
