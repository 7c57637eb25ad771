"""Which provider writes the turns of a model: the one registry, by how the model's name begins."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from ossia.providers.ipc import LoadModel
from ossia.providers.metrics import Metrics
from ossia.providers.provider import Provider

ProviderFactory: TypeAlias = Callable[
    [LoadModel, Metrics, int, Callable[[str, float], None]], Provider
]


def _engine(
    load_model: LoadModel,
    metrics: Metrics,
    max_waiting: int,
    progress: Callable[[str, float], None],
) -> Provider:
    from ossia.providers.supervisor import Supervisor

    return Supervisor(load_model, metrics, max_waiting=max_waiting, progress=progress)


PROVIDERS: Mapping[str, ProviderFactory] = MappingProxyType({"": _engine})
"""By prefix; the longest one that fits is taken. The empty one is the engine of this computer."""


def create_provider(
    load_model: LoadModel,
    metrics: Metrics,
    *,
    max_waiting: int,
    progress: Callable[[str, float], None] = lambda phase, share: None,
    providers: Mapping[str, ProviderFactory] = PROVIDERS,
) -> Provider:
    """The provider of a model, not yet opened."""
    prefix = max(filter(load_model.model.startswith, providers), key=len)
    return providers[prefix](load_model, metrics, max_waiting, progress)
