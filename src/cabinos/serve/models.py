"""GET /v1/models and /health."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cabinos.serve.encode import Json
from cabinos.serve.service import CABIN, Service, service_of

__all__ = ["get_health", "get_model", "list_models"]


async def list_models(request: Request) -> Response:
    """Every model twice: as it is, and with Cabin's tools."""
    service = service_of(request)
    names = [name for plain in service.kernel.models for name in (plain, f"{CABIN}/{plain}")]
    return Json({"object": "list", "data": [_described(service, name) for name in names]})


async def get_model(request: Request) -> Response:
    """One model."""
    return Json(_described(service_of(request), request.path_params["name"]))


def _described(service: Service, asked: str) -> dict[str, Any]:
    chosen = service.choose(asked)
    model = service.kernel.model(chosen.name)
    return {
        "id": asked,
        "object": "model",
        "created": int(service.started),
        "owned_by": "local" if model.local else "remote",
        "context_length": model.window,
        "raw": bool(getattr(model, "raw", False)) and not chosen.cabin,
        "cabin_tools": chosen.cabin,
    }


async def get_health(request: Request) -> Response:
    """200 while it can serve; 503 when the store takes nothing any more, or it is shutting down."""
    service = service_of(request)
    service.require_open()
    return Json({"status": "ok"})
