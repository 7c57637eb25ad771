"""`ossia keys`: create, list and revoke the API keys of `ossia serve`."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ossia.cli.options import AsJson
from ossia.cli.terminal.terminal import harmless, say
from ossia.files import state_folder

if TYPE_CHECKING:
    from ossia.store.api_keys import KeyFile

EXAMPLES = """
ossia keys add laptop
ossia keys add dashboard --scope admin --expires 30d
ossia keys list
ossia keys revoke laptop
"""
FILE = "keys.json"
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_MAX_SECONDS = 100 * 365 * 86400


def key_file() -> Path:
    """The file of keys that `ossia serve` reads; it may be missing."""
    return state_folder() / FILE


def duration(text: str) -> int:
    """Read a duration such as 90m, 12h, 30d or 4w, in seconds."""
    digits, unit = text[:-1], _UNITS.get(text[-1:].lower())
    if unit is None or not (digits.isascii() and digits.isdigit() and len(digits) < 9):
        raise typer.BadParameter(f"{text!r} is not a duration; expected one like 12h, 30d or 4w")
    if not 0 < int(digits) * unit <= _MAX_SECONDS:
        raise typer.BadParameter(f"{text!r} is out of bounds; expected 1m to 100 years")
    return int(digits) * unit


def known_scope(text: str) -> str:
    """Check a scope."""
    if text not in ("infer", "tools", "admin"):
        raise typer.BadParameter(f"{text!r} is not a scope; expected infer, tools or admin")
    return text


def command(
    *,
    action: Annotated[
        Literal["list", "add", "revoke"],
        typer.Argument(metavar="ACTION", help="list (the default), add or revoke."),
    ] = "list",
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of the key to add or revoke.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            parser=known_scope,
            metavar="SCOPE",
            help="infer: use the model; tools: use built-in tools; admin: read metrics. May be "
            "repeated; default: infer and tools.",
        ),
    ] = None,
    expires: Annotated[
        int | None,
        typer.Option(
            parser=duration,
            metavar="TIME",
            help="Expire after, such as 12h, 30d or 4w; by default never.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create, list and revoke API keys; they take effect at once."""
    from ossia.store.api_keys import KeyFile

    file = KeyFile(key_file())
    if action != "add" and (scope or expires is not None):
        raise typer.BadParameter(f"--scope and --expires are for add, not for {action}")
    if action == "list":
        if name is not None:
            raise typer.BadParameter(f"list takes no name, but found {name!r}")
        _list(file, as_json)
        return
    if name is None:
        raise typer.BadParameter(f"{action} needs the name of a key: ossia keys {action} NAME")
    if action == "revoke":
        file.revoke(name)
        typer.echo(json.dumps({"revoked": name}) if as_json else f"{name} is revoked")
        return
    _add(file, name, tuple(scope or ("infer", "tools")), expires, as_json)


def _add(
    file: "KeyFile", name: str, scopes: tuple[str, ...], expires: int | None, as_json: bool
) -> None:
    expires_at = None if expires is None else int(time.time()) + expires
    secret = file.add(name, scopes=scopes, expires_at=expires_at)
    if as_json:
        fields = {"name": name, "key": secret, "scopes": scopes, "expires_at": expires_at}
        typer.echo(json.dumps(fields))
        return
    typer.echo(secret)
    say("this key is shown only now; clients send it as: Authorization: Bearer KEY")


def _list(file: "KeyFile", as_json: bool) -> None:
    now, found = time.time(), file.keys()
    if as_json:
        typer.echo(json.dumps({"keys": [_facts(key, now) for key in found]}))
        return
    if not found:
        say(f"there are no keys in {file.path}; make one: ossia keys add NAME")
        return
    rows = [("NAME", "SCOPES", "CREATED", "EXPIRES")]
    for key in found:
        ends = "never" if key.expires_at is None else _day(key.expires_at)
        ended = ", expired" if key.expired(now) else ""
        rows.append((key.name, ",".join(key.scopes), _day(key.created_at), ends + ended))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        line = "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        typer.echo(harmless(line.rstrip()))


def _facts(key: Any, now: float) -> dict[str, Any]:
    return {
        "name": key.name,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "expired": key.expired(now),
    }


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
