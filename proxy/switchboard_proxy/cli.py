"""The command `switchboard-proxy`: `serve` runs the proxy, `ready` asks a running one whether it answers."""

import argparse
import os

from switchboard_service import logs
from switchboard_service.listen import ListenError, UntrustedAddress, check_address
from switchboard_service.settings import load

from .app import Proxy
from .exits import EX_CONFIG, mistakes_told, stop
from .ready import ready
from .serve import serve
from .settings import ProxySettings


def main() -> None:
    """Run the command; exits with 78 when the configuration is wrong, one sentence a mistake on stderr."""
    parser = argparse.ArgumentParser(
        prog="switchboard-proxy", description="The door of one machine that runs hermes-agent."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run the proxy; the environment is its configuration")
    commands.add_parser("ready", help="exit 0 when the proxy of this environment answers")
    command = parser.parse_args().command
    with mistakes_told():
        settings = load(ProxySettings, os.environ)
        if command == "serve":
            _serve(settings)
        else:
            ready(settings)


def _serve(settings: ProxySettings) -> None:
    try:
        check_address(settings.listen_address, settings.allow_untrusted_bind, "SWITCHBOARD_PROXY_LISTEN_ADDRESS")
        logs.configure()
        serve(Proxy(settings, logs.RequestLog()), settings)
    except (UntrustedAddress, ListenError) as error:
        stop(EX_CONFIG, f"switchboard-proxy: {error}")
