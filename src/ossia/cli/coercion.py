"""Values of options as typer coerces them, without pydantic where nothing is to be coerced.

Typer imports pydantic for the first value, which takes longer than all else before the model.
"""

from collections.abc import Callable
from typing import Any


class LazyCoercion:
    """Mixed into a typer command: a value that is already of its option's type stays as it is."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Parameters, each with its coercion replaced."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if "get_runtime_param" not in vars(param):
                coercion = _Coercion(param.get_runtime_param)
                param.get_runtime_param = lambda coercion=coercion: coercion
        return params


class _Coercion:
    """Stands before typer's own coercion of one parameter, which is built when it is needed."""

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
