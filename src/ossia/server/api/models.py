"""GET /v1/models for OpenAI's clients and for Codex; and the aliases of the served model."""

import re

from fastapi import APIRouter
from starlette.responses import Response

from ossia.providers.provider import ServedModel
from ossia.server.api.errors import NotFound
from ossia.server.api.json_body import Json, json_response
from ossia.server.api.openapi import answers
from ossia.server.services import Services

_PUBLIC = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
EFFORTS = {
    "low": "Answers soon, after little thought",
    "medium": "Thinks as long as most questions need",
    "high": "Thinks long, for hard questions",
}
BASE_INSTRUCTIONS = (
    "You are a coding agent that works in the user's folder. Read before you change anything, "
    "make the smallest change that does the job, and check it by running what there is to run. "
    "Say briefly what you did and what is left to do."
)
"""Codex sends it back as `instructions`."""


def public_name(model: ServedModel) -> str:
    """Return the model's name for clients; of a path only the last part: paths are private."""
    if _PUBLIC.fullmatch(model.name):
        return model.name
    return re.split(r"[/\\]", model.name.rstrip("/\\"))[-1] or "model"


def named(requested: str | None, model: ServedModel) -> str:
    """Resolve a request's model name to the public name; None means the served model.

    Accepted are also the name without its owner and Ollama's spelling:
    openai/gpt-oss-20b, gpt-oss-20b, gpt-oss:20b.

    Raises:
        NotFound: another model is served.
    """
    name = public_name(model)
    if requested is None or requested in (name, model.name) or _plain(requested) == _plain(name):
        return name
    raise NotFound(
        f"the model {requested!r:.80} is not served here; use {name!r}, or leave the field out",
        "model_not_found",
        "model",
    )


def _plain(name: str) -> str:
    return name.lower().removesuffix(":latest").rpartition("/")[2].replace(":", "-")


def routes(services: Services) -> APIRouter:
    """Create the routes of `/v1/models`."""
    router = APIRouter(tags=["models"])
    created = int(services.clock())

    @router.get("/v1/models", responses=answers("What is served.", ("object", "data")))
    async def list_models() -> Response:
        """List the served model, also in the form of Codex's catalogue."""
        model = services.provider.model
        content = {
            "object": "list",
            "data": [model_object(model, created)],
            "models": [catalogue_entry(model)],
        }
        return json_response(content)

    @router.get(
        "/v1/models/{model:path}",
        responses=answers("One model.", ("id", "object", "created", "owned_by")),
    )
    async def get_model(model: str) -> Response:
        """Return a model by its name or an alias."""
        named(model, services.provider.model)
        return json_response(model_object(services.provider.model, created))

    return router


def model_object(model: ServedModel, created: int) -> Json:
    """Return OpenAI's model object."""
    return {
        "id": public_name(model),
        "object": "model",
        "created": created,
        "owned_by": "ossia",
        "context_length": model.context_length,
    }


def catalogue_entry(model: ServedModel) -> Json:
    """Return an entry of Codex's catalogue; one missing field or unknown value voids all of it."""
    return {
        "slug": public_name(model),
        "display_name": public_name(model),
        "description": f"A gpt-oss model of {model.num_params:,} parameters, served by ossia",
        "default_reasoning_level": "medium",
        "supported_reasoning_levels": [
            {"effort": effort, "description": words} for effort, words in EFFORTS.items()
        ],
        "shell_type": "shell_command",
        "visibility": "list",
        "supported_in_api": True,
        "priority": 0,
        "upgrade": None,
        "base_instructions": BASE_INSTRUCTIONS,
        "supports_reasoning_summaries": True,  # else Codex sends neither effort nor `include`
        "support_verbosity": False,
        "default_verbosity": None,
        "apply_patch_tool_type": "freeform",
        "truncation_policy": {"mode": "tokens", "limit": 10_000},
        "supports_parallel_tool_calls": False,
        "experimental_supported_tools": [],
        "context_window": model.context_length,
        "input_modalities": ["text"],
    }
