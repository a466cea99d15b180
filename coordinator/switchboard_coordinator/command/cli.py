"""The command `switchboard`: run a coordinator, check its configuration, add consumers, ask a running one."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

_COMMANDS = {
    "serve": "serving:serve",
    "check": "serving:check",
    "schema": "serving:schema",
    "ready": "ready:ready",
    "ask": "ask_commands:ask",
    "peers": "ask_commands:peers",
    "prove": "prove:prove",
    "doctor": "doctor:doctor",
    "drain": "drain_commands:drain",
    "undrain": "drain_commands:undrain",
    "keys": "keys_commands:app",
    "backup": "backup_commands:backup",
    "restore": "backup_commands:restore",
}
"""Module and name of each, in the order in which they are listed."""


class _Commands(TyperGroup):
    """Loads a command when it is asked for: who only asks a running coordinator needs none of what makes one."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class gives it
        return [*_COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the same
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(f".{module}", __package__), name)
        if not isinstance(found, typer.Typer):
            function, found = found, typer.Typer(add_completion=False)
            found.command(cmd_name)(function)
        return typer.main.get_command(found)


app = typer.Typer(
    cls=_Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__
)


@app.callback()
def _switchboard() -> None:
    pass


def main() -> None:
    """Run the command."""
    app()
