"""Coerces option values as typer does, but imports pydantic only for values that need it.

Typer imports pydantic for the first value, which takes longer than everything else before the
model is opened.
"""

from collections.abc import Callable
from typing import Any


class LazyCoercion:
    """Mixin of a typer command: a value that already has its option's type is not coerced."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, each with its coercion replaced by a lazy one."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if "get_runtime_param" not in vars(param):
                coercion = _Coercion(param.get_runtime_param)
                param.get_runtime_param = lambda coercion=coercion: coercion
        return params


class _Coercion:
    """Replaces typer's coercion of one parameter, which is built when it is first needed."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build

    def coerce(self, value: Any, *, param: Any, ctx: Any) -> Any:
        kind = param.type_descriptor
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        is_text = kind.annotation is str and kind.parameter_info.parser is None
        if value is param.default or (is_text and isinstance(value, str)):
            return value
        return self._build().coerce(value, param=param, ctx=ctx)
