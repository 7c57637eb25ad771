"""`ossia index`: index folders of documents for the browser tool to search."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ossia.cli.options import AsJson
from ossia.cli.terminal.progress import loading
from ossia.cli.terminal.terminal import harmless, say
from ossia.errors import StoreError
from ossia.files import index_path, private_file

if TYPE_CHECKING:
    from ossia.tools.browser.indexing import Index, Refreshed

EXAMPLES = """
ossia index ~/notes
ossia index ~/papers --name papers --private
ossia index
ossia index --list
ossia index --remove --name papers
"""
_SHOWN_LEFT_OUT = 10


def command(
    *,
    folder: Annotated[
        Path | None, typer.Argument(help="Folder to index; by default every indexed folder again.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the folder in page addresses: corpus://NAME/..."
        ),
    ] = None,
    private: Annotated[
        bool,
        typer.Option(
            "--private", help="Ask for approval before its content may leave this computer."
        ),
    ] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the indexed folders.")] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove a folder from the index; its files stay.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Index the text, Markdown, HTML and PDF files of a folder for the browser tool."""
    if list_all and (remove or private or folder or name):
        raise typer.BadParameter("--list takes no other option or folder; use it alone")
    if remove and private:
        raise typer.BadParameter("--remove and --private exclude each other; use one of them")
    if (private or (name and not remove)) and folder is None:
        raise typer.BadParameter("--name and --private need a folder")
    with _opened() as index:
        if list_all:
            _list(index, as_json)
        elif remove:
            _remove(index, folder, name, as_json)
        else:
            _refresh(index, folder, name, private=private, as_json=as_json)


@contextmanager
def _opened() -> Iterator["Index"]:
    from ossia.tools.browser.indexing import Index

    path = index_path()
    try:
        private_file(path.parent, path.name)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    with Index(path) as index:
        yield index


def _list(index: "Index", as_json: bool) -> None:
    folders = index.folders()
    if as_json:
        found = [
            {"name": f.name, "folder": f.folder, "private": f.is_private, "pages": f.num_files}
            for f in folders
        ]
        typer.echo(json.dumps({"folders": found}))
        return
    if not folders:
        typer.echo("nothing is indexed; index a folder with: ossia index FOLDER")
    width = max((len(each.name) for each in folders), default=0)
    for each in folders:
        pages = "page " if each.num_files == 1 else "pages"
        private = "  (private)" if each.is_private else ""
        line = f"{each.name:{width}}  {each.num_files:>7} {pages}  {each.folder}{private}"
        typer.echo(harmless(line))


def _remove(index: "Index", folder: Path | None, name: str | None, as_json: bool) -> None:
    if (folder is None) == (name is None):
        raise typer.BadParameter("--remove needs either a folder or --name")
    if folder is not None:
        where = str(folder.expanduser().resolve())
        name = next((each.name for each in index.folders() if each.folder == where), None)
        if name is None:
            raise StoreError(f"{folder} is not indexed; see: ossia index --list")
    assert name is not None
    count = index.remove(name)
    done = {"done": "removed", "name": name, "pages": count}
    typer.echo(json.dumps(done) if as_json else harmless(f"{name}: {count} pages removed"))


def _refresh(
    index: "Index", folder: Path | None, name: str | None, *, private: bool, as_json: bool
) -> None:
    if folder is not None:
        names = [index.add(folder, name, private=private)]
    else:
        names = [each.name for each in index.folders()]
        if not names:
            raise StoreError("nothing is indexed yet; name a folder: ossia index FOLDER")
    with loading(quiet=as_json) as progress:

        def read(name: str) -> "Refreshed":
            return index.refresh(name, lambda done, of: progress(f"index {name}", done / of))

        done = {each: read(each) for each in names}
    if as_json:
        typer.echo(json.dumps({"folders": [_facts(each, what) for each, what in done.items()]}))
        return
    for each, what in done.items():
        typer.echo(
            f"{each}: {what.num_added} added, {what.num_changed} changed,"
            f" {what.num_removed} removed, {what.num_unchanged} unchanged"
        )
        for path, reason in list(what.left_out.items())[:_SHOWN_LEFT_OUT]:
            say(f"{path} left out: {reason}")
        if (more := len(what.left_out) - _SHOWN_LEFT_OUT) > 0:
            say(f"{more} more left out; --json names them all")


def _facts(name: str, done: "Refreshed") -> dict[str, Any]:
    return {
        "name": name,
        "added": done.num_added,
        "changed": done.num_changed,
        "removed": done.num_removed,
        "unchanged": done.num_unchanged,
        "left_out": done.left_out,
    }
