"""The registry of providers, by prefix of the model's name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from ossia.engine.options import LoadOptions
from ossia.providers.metrics import Metrics
from ossia.providers.provider import Provider

ProviderFactory: TypeAlias = Callable[
    [LoadOptions, Metrics, int, Callable[[str, float], None]], Provider
]


def _engine(
    load_options: LoadOptions,
    metrics: Metrics,
    max_waiting: int,
    progress: Callable[[str, float], None],
) -> Provider:
    from ossia.providers.supervisor import Supervisor

    return Supervisor(load_options, metrics, max_waiting=max_waiting, progress=progress)


PROVIDERS: Mapping[str, ProviderFactory] = MappingProxyType({"": _engine})
"""By prefix of the model's name; the longest match wins. The empty prefix is the local engine."""


def create_provider(
    load_options: LoadOptions,
    metrics: Metrics,
    *,
    max_waiting: int,
    progress: Callable[[str, float], None] = lambda phase, share: None,
    providers: Mapping[str, ProviderFactory] = PROVIDERS,
) -> Provider:
    """Create the provider of a model, without loading the model."""
    prefix = max(filter(load_options.model.startswith, providers), key=len)
    return providers[prefix](load_options, metrics, max_waiting, progress)
