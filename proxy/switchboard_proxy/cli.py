"""The command `switchboard-proxy`: `serve` runs the proxy, `ready` asks a running one whether it answers."""

import argparse
import asyncio
import base64
import os
import sys

from switchboard_relay import Pool, RelayError, Request
from switchboard_service import logs
from switchboard_service.listen import ListenError, UntrustedAddress, check_address
from switchboard_service.secret_file import SecretError
from switchboard_service.settings import SettingsError, load

from .app import Proxy
from .serve import serve
from .settings import ProxySettings

EX_CONFIG = 78
READY_SECONDS = 3.0


def main() -> None:
    """Run the command; exits with 78 when the configuration is wrong, one sentence a mistake on stderr."""
    parser = argparse.ArgumentParser(
        prog="switchboard-proxy", description="The door of one machine that runs hermes-agent."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run the proxy; the environment is its configuration")
    commands.add_parser("ready", help="exit 0 when the proxy of this environment answers")
    command = parser.parse_args().command
    try:
        settings = load(ProxySettings, os.environ)
        if command == "serve":
            _serve(settings)
        else:
            sys.exit(asyncio.run(_ready(settings)))
    except SettingsError as error:
        _stop(*error.problems)
    except (SecretError, UntrustedAddress, ListenError) as error:
        _stop(str(error))


def _serve(settings: ProxySettings) -> None:
    check_address(settings.listen_address, settings.allow_untrusted_bind, "SWITCHBOARD_PROXY_LISTEN_ADDRESS")
    logs.configure()
    serve(Proxy(settings, logs.RequestLog()), settings)


async def _ready(settings: ProxySettings) -> int:
    address, port = str(settings.listen_address), settings.port
    pair = f"{settings.user}:{settings.password.read()}".encode()
    host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    request = Request(
        b"GET",
        b"/-/ready",
        ((b"host", host.encode()), (b"authorization", b"Basic " + base64.b64encode(pair))),
    )
    try:
        async with asyncio.timeout(READY_SECONDS), Pool(address, port).exchange(request) as answer:
            status = answer.status
    except (RelayError, TimeoutError) as error:
        return _say(f"no proxy answers at {host}: {error or 'it is silent'}")
    return 0 if status == 200 else _say(f"the proxy at {host} answers {status} to /-/ready")  # the standard's OK


def _say(sentence: str) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201 - a command talks to a person
    return 1


def _stop(*sentences: str) -> None:
    for sentence in sentences:
        _say(f"switchboard-proxy: {sentence}")
    sys.exit(EX_CONFIG)
