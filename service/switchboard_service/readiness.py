"""Whether a service of this environment answers: what a health check asks. It imports no more than that takes."""

import http.client
from collections.abc import Mapping
from types import MappingProxyType

READY_SECONDS = 3.0


class NotReady(Exception):
    """It does not; the text is a sentence."""


def check_ready(
    service: str, host: str, port: int, path: str, headers: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Return when what listens there answers 200 to a GET.

    Raises:
        NotReady: it answers something else, or nothing within READY_SECONDS.
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    connection = http.client.HTTPConnection(host, port, timeout=READY_SECONDS)
    try:
        connection.request("GET", path, headers=dict(headers))
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise NotReady(f"no {service} answers at {place}: {error}") from None
    finally:
        connection.close()
    if status != 200:
        raise NotReady(f"the {service} at {place} answers {status} to {path}")
