"""Health, readiness and metrics routes."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from ossia import __version__
from ossia.providers.metrics import CONTENT_TYPE
from ossia.providers.provider import Provider
from ossia.providers.tool_sessions import ToolSessions
from ossia.server.api.openapi import TEXT, Answers, answers
from ossia.server.http.drain import Drain
from ossia.server.services import Services


def routes(services: Services, provider: Provider, drain: Drain) -> APIRouter:
    """Create the routes. Probes need no key; `/metrics` and `/debug` need the scope `admin`."""
    router = APIRouter(tags=["health"])
    answered = answers("It is ready.", ("status",))
    not_ready: Answers = {503: {**answered[200], "description": "It is not ready, or no longer."}}
    counted: Answers = {
        200: {"description": "All counts.", "content": {"text/plain": {"schema": TEXT}}}
    }

    @router.get("/health", responses=answered | not_ready)
    async def health() -> Response:
        """Return the served model and its load; 503 while not ready."""
        status = _status(provider, drain)
        return JSONResponse(
            _body(status, provider, services.tool_sessions), 200 if status == "ready" else 503
        )

    @router.get("/health/live", responses=answered)
    async def live() -> dict[str, str]:
        """Liveness: the process runs."""
        return {"status": "alive"}

    @router.get("/health/ready", responses=answered | not_ready)
    async def ready() -> Response:
        """Readiness: 200 while requests are served, else 503."""
        status = _status(provider, drain)
        return JSONResponse({"status": status}, 200 if status == "ready" else 503)

    @router.get("/version", responses=answers("Which ossia.", ("version",)))
    async def version() -> dict[str, str]:
        """Return the version."""
        return {"version": __version__}

    @router.get("/debug/tools", responses=answers("What is offered.", ("offered", "refused")))
    async def tools() -> dict[str, Any]:
        """Return the available tools, why others are not, and sandbox self-test reports."""
        tool_sessions = services.tool_sessions
        return {
            "offered": sorted(spec.name for spec in tool_sessions.specs),
            "refused": tool_sessions.refusals,
            "walls": tool_sessions.reports,
        }

    @router.get("/metrics", response_class=Response, responses=counted)
    async def metrics(request: Request) -> Response:
        """Return the metrics in the text format of Prometheus."""
        return Response(services.metrics.text(), headers={"content-type": CONTENT_TYPE})

    return router


def _status(provider: Provider, drain: Drain) -> str:
    """Return `ready`, or the reason it is not."""
    return "draining" if drain.begun else provider.health.state


def _body(status: str, provider: Provider, tool_sessions: ToolSessions) -> dict[str, Any]:
    body: dict[str, Any] = {"status": status, "version": __version__}
    health = provider.health
    if health.state in ("ready", "stuck"):
        model, load = provider.model, health.load
        body |= {
            "model": model.name,
            "context_length": model.context_length,
            "backend": model.backend,
            "num_turns": health.num_turns,
            "num_requests_running": load.running,
            "num_requests_waiting": load.waiting,
            "kv_cache_usage_ratio": round(load.cache_usage, 4),
            "tools": sorted(spec.name for spec in tool_sessions.specs),
            "walls": {name: report["label"] for name, report in tool_sessions.reports.items()},
        }
    elif health.state == "loading":
        body |= {"phase": health.phase, "share": round(health.share, 3)}
    return body
