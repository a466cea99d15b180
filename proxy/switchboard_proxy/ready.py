"""Whether the proxy of this environment answers. Asked again and again: it imports no more than that takes.

The health check of the image runs this module, at two thirds of what the whole command `switchboard-proxy` costs.
"""

import base64
import os

from switchboard_service.readiness import NotReady, check_ready
from switchboard_service.settings import load

from .exits import EX_FAILED, mistakes_told, stop
from .settings import ProxySettings


def ready(settings: ProxySettings) -> None:
    """Return when the proxy with these settings answers, and exit with 1 when not.

    Raises:
        SecretError: its password is not fit for use.
    """
    pair = base64.b64encode(f"{settings.user}:{settings.password.read()}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}"}
    try:
        check_ready("proxy", str(settings.listen_address), settings.port, "/-/ready", headers)
    except NotReady as error:
        stop(EX_FAILED, str(error))


if __name__ == "__main__":
    with mistakes_told():
        ready(load(ProxySettings, os.environ))
