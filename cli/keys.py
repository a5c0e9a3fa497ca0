"""`scratch keys`: makes, names and removes API keys; a running service sees it at once."""

from __future__ import annotations

import typer

from shared.errors import AccessError
from shared.keys import add_key, read_keys, remove_key
from shared.settings import Settings


def add(settings: Settings, name: str) -> None:
    """Prints the key, which can be seen this once."""
    try:
        key = add_key(settings.keys_file, name)
    except (AccessError, OSError) as error:
        raise _refused(error) from None
    typer.echo(f"The key of {name}; it is kept nowhere, so copy it now:", err=True)
    typer.echo(key)


def show(settings: Settings) -> None:
    """Prints the names."""
    try:
        names = read_keys(settings.keys_file)
    except FileNotFoundError:
        names = {}
    except (AccessError, OSError) as error:
        raise _refused(error) from None
    for name in names:
        typer.echo(name)


def remove(settings: Settings, name: str) -> None:
    try:
        left = remove_key(settings.keys_file, name)
    except (AccessError, OSError) as error:
        raise _refused(error) from None
    if not left:
        typer.echo(f"No key is left: {settings.keys_file} now refuses everybody.", err=True)


def _refused(error: Exception) -> typer.Exit:
    typer.echo(f"scratch: {error}", err=True)
    return typer.Exit(1)
