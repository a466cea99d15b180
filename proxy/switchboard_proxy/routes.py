"""Where a path leads. Pure.

    /p/<profile>/v1/*   that profile's API server, with its Bearer
    /v1/*               the default profile's
    /agent/*            the default profile's API server, prefix stripped: the routes that the dashboard's paths shadow
    /webui/*            a hermes-webui, prefix stripped
    /-/*                the proxy itself
    everything else     the dashboard, without a Bearer

The agent's `model` field selects nothing and an agent without multiplexing answers any `/p/<name>/` from its default
profile (hermes-agent 0.19.0), so a profile must be one that we know.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote_to_bytes

from .errors import PathRefused, ProfileUnknown

DEFAULT_PROFILE = "default"
WEBUI_MOUNT = b"/webui"


class Side(Enum):
    """Who answers."""

    AGENT = "agent"
    DASHBOARD = "dashboard"
    WEBUI = "webui"
    ITSELF = "itself"


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is what the upstream is asked for, without its profile's prefix and without the query."""

    side: Side
    path: bytes
    profile: str = DEFAULT_PROFILE


_AMBIGUOUS = re.compile(rb"//|\\|/\.{1,2}(?:/|$)|[\x00-\x20\x7f-\xff#?]")
_AMBIGUOUS_ESCAPE = re.compile(rb"%(?:2[eEfF]|5[cC]|[01][0-9a-fA-F]|7[fF]|(?![0-9a-fA-F]{2}))")
_PROFILE = re.compile(rb"/p/([^/]*)(/v1/.*)")


def find(raw_path: bytes, profiles: Collection[str]) -> Route:
    """The route of a path as it stands in the request line, without the query.

    Raises:
        PathRefused: an agent could read the path in another way than we do.
        ProfileUnknown: it names a profile that is not one of `profiles`.
    """
    if not raw_path.startswith(b"/") or _AMBIGUOUS.search(raw_path) or _AMBIGUOUS_ESCAPE.search(raw_path):
        raise PathRefused("the path holds empty or dot segments, or an encoded slash, dot or control character")
    if b"%" not in raw_path:
        return _find(raw_path, raw_path, profiles)
    return _find(unquote_to_bytes(raw_path), raw_path, profiles)


def _find(path: bytes, raw_path: bytes, profiles: Collection[str]) -> Route:
    if path.startswith(b"/v1/"):
        return Route(Side.AGENT, raw_path)
    if path.startswith(b"/p/") and (match := _PROFILE.fullmatch(path)):
        profile = match[1].decode("ascii", "replace")
        if profile not in profiles:
            raise ProfileUnknown(f"this machine has no profile {profile!r}; it has {', '.join(sorted(profiles))}")
        return Route(Side.AGENT, b"/" + raw_path.split(b"/", 3)[3], profile)
    if path.startswith(b"/agent/"):
        if path.startswith(b"/agent/p/"):
            raise ProfileUnknown("below /agent/ is the default profile alone; others are at /p/<profile>/v1/")
        return Route(Side.AGENT, raw_path[raw_path.index(b"/", 1) :])
    if path == WEBUI_MOUNT:
        return Route(Side.WEBUI, b"/")
    if path.startswith(WEBUI_MOUNT + b"/"):
        return Route(Side.WEBUI, raw_path[raw_path.index(b"/", 1) :])
    if path.startswith(b"/-/"):
        return Route(Side.ITSELF, path)
    return Route(Side.DASHBOARD, raw_path)
