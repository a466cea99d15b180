"""Where a path leads, and which paths lead nowhere."""

from contextlib import suppress
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_proxy.errors import PathRefused, ProfileUnknown
from switchboard_proxy.routes import Route, Side, find

PROFILES = frozenset({"default", "work"})


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (b"/v1/models", Route(Side.AGENT, b"/v1/models")),
        (b"/v1/chat/completions", Route(Side.AGENT, b"/v1/chat/completions")),
        (b"/v1/", Route(Side.AGENT, b"/v1/")),
        (b"/p/default/v1/models", Route(Side.AGENT, b"/v1/models")),
        (b"/p/work/v1/models", Route(Side.AGENT, b"/v1/models", "work")),
        (b"/p/work/v1/runs/run_1/events", Route(Side.AGENT, b"/v1/runs/run_1/events", "work")),
        (b"/p/work/v1/p/default/v1/models", Route(Side.AGENT, b"/v1/p/default/v1/models", "work")),
        (b"/agent/health/detailed", Route(Side.AGENT, b"/health/detailed")),
        (b"/agent/api/sessions", Route(Side.AGENT, b"/api/sessions")),
        (b"/agent/v1/models", Route(Side.AGENT, b"/v1/models")),
        (b"/agent/", Route(Side.AGENT, b"/")),
        (b"/-/ready", Route(Side.ITSELF, b"/-/ready")),
        (b"/-/profiles", Route(Side.ITSELF, b"/-/profiles")),
        (b"/-/", Route(Side.ITSELF, b"/-/")),
        (b"/", Route(Side.DASHBOARD, b"/")),
        (b"/api/status", Route(Side.DASHBOARD, b"/api/status")),
        (b"/health", Route(Side.DASHBOARD, b"/health")),
        (b"/v1", Route(Side.DASHBOARD, b"/v1")),
        (b"/v10/models", Route(Side.DASHBOARD, b"/v10/models")),
        (b"/V1/models", Route(Side.DASHBOARD, b"/V1/models")),
        (b"/p/work", Route(Side.DASHBOARD, b"/p/work")),
        (b"/p/work/health", Route(Side.DASHBOARD, b"/p/work/health")),
        (b"/p/nobody/v2/models", Route(Side.DASHBOARD, b"/p/nobody/v2/models")),
        (b"/agent", Route(Side.DASHBOARD, b"/agent")),
        (b"/a/.hidden/..x/...", Route(Side.DASHBOARD, b"/a/.hidden/..x/...")),
        # Escapes are decoded to choose, and go on as they came.
        (b"/%76%31/models", Route(Side.AGENT, b"/%76%31/models")),
        (b"/p/%77ork/v1/a%20b", Route(Side.AGENT, b"/v1/a%20b", "work")),
        (b"/p/work/%76%31/models", Route(Side.AGENT, b"/%76%31/models", "work")),
        (b"/%61gent/api/sessions/%C3%A4", Route(Side.AGENT, b"/api/sessions/%C3%A4")),
        (b"/%2D/ready", Route(Side.ITSELF, b"/-/ready")),
        (b"/files/a%20b%25", Route(Side.DASHBOARD, b"/files/a%20b%25")),
        # Decoded once, as agents do.
        (b"/v1/%252e%252e/x", Route(Side.AGENT, b"/v1/%252e%252e/x")),
        (b"/%2576%2531/models", Route(Side.DASHBOARD, b"/%2576%2531/models")),
    ],
)
def test_the_routing_table(path: bytes, route: Route) -> None:
    assert find(path, PROFILES) == route


@pytest.mark.parametrize(
    "path",
    [
        b"/p/nobody/v1/models",
        b"/p/WORK/v1/models",
        b"/p/work%20/v1/models",
        b"/p/wor/v1/models",
        b"/p/%C3%A4/v1/models",
        b"/p/%FF/v1/models",
        b"/p/no-such-profile/v1/",
        b"/agent/p/work/v1/models",
        b"/agent/p/default/v1/models",
        b"/agent/%70/work/v1/models",
        b"/%61gent/p/",
    ],
)
def test_a_profile_that_this_machine_has_not_is_unknown(path: bytes) -> None:
    with pytest.raises(ProfileUnknown):
        find(path, PROFILES)


def test_an_unknown_profile_is_answered_with_those_there_are() -> None:
    with pytest.raises(ProfileUnknown, match="no profile 'nobody'; it has default, work"):
        find(b"/p/nobody/v1/models", PROFILES)


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"v1/models",
        b"*",
        b"http://127.0.0.1:8642/v1/models",
        b"//v1/models",
        b"/v1//models",
        b"/v1/models//",
        b"/p//v1/models",
        b"/agent//p/work/v1/models",
        b"/./v1/models",
        b"/../v1/models",
        b"/v1/.",
        b"/v1/..",
        b"/x/../v1/models",
        b"/v1/../api/sessions",
        b"/p/work/../default/v1/models",
        b"/p/work/v1/../../default/v1/models",
        b"/%2e%2e/v1/models",
        b"/v1/%2E%2e/x",
        b"/v1/.%2e/x",
        b"/p%2fwork/v1/models",
        b"/p/work%2Fv1/models",
        b"/v1%2fmodels",
        b"/v1\\models",
        b"/..\\v1/models",
        b"/v1%5cmodels",
        b"/v1%5Cmodels",
        b"/v1/%00",
        b"/v1/a%0d%0aX-Header:%20x",
        b"/v1/%1f",
        b"/v1/%7F",
        b"/v1/\x00",
        b"/v1/a b",
        b"/v1/a\tb",
        b"/v1/a\r\nb",
        b"/v1/models\n",
        b"/v1/\x7f",
        b"/v1/\xc3\xa4",
        b"/v1/models#x",
        b"/v1/models?x",
        b"/v1/%",
        b"/v1/%2",
        b"/v1/%zz",
        b"/v1/%u002e",
        b"/%%37%36/models",
    ],
)
def test_a_path_that_two_readers_could_read_differently_is_refused(path: bytes) -> None:
    with pytest.raises(PathRefused):
        find(path, PROFILES)


PIECES = st.sampled_from(
    [
        b"p",
        b"v1",
        b"agent",
        b"-",
        b"work",
        b"default",
        b"nobody",
        b"models",
        b"",
        b".",
        b"..",
        b"%2e",
        b"%2f",
        b"%5c",
        b"%70",
        b"%76%31",
        b"%77ork",
        b"%25",
        b"%252e",
        b"%61gent",
        b"\\",
        b"%00",
        b"%c3%a4",
        b"%2d",
        b"%",
        b"V1",
        b"webui",
        b" ",
    ]
)
PATHS = st.lists(PIECES | st.lists(PIECES, max_size=3).map(b"".join), max_size=6).map(
    lambda all_: b"/" + b"/".join(all_)
)


@given(PATHS | st.binary(max_size=40) | st.binary(max_size=40).map(lambda rest: b"/" + rest))
def test_no_path_leads_elsewhere_than_its_decoded_beginning_says(raw_path: bytes) -> None:
    with suppress(PathRefused, ProfileUnknown):
        route = find(raw_path, PROFILES)
        decoded = unquote_to_bytes(raw_path)
        segments = decoded.split(b"/")
        # Nothing is left in it that a reader behind us could resolve or split in another way.
        assert segments[0] == b""
        assert not {b"", b".", b".."} & set(segments[1:-1])
        assert segments[-1] not in (b".", b"..")
        assert decoded.count(b"/") == raw_path.count(b"/")
        assert not any(byte < 0x20 or byte in b"\\\x7f" for byte in decoded)
        match segments[1:]:
            case [b"v1", _, *_]:
                expected = (Side.AGENT, "default", decoded)
            case [b"p", profile, b"v1", _, *_]:
                expected = (Side.AGENT, profile.decode("ascii"), b"/" + b"/".join(segments[3:]))
            case [b"agent", _, *_]:
                expected = (Side.AGENT, "default", b"/" + b"/".join(segments[2:]))
                assert segments[2] != b"p" or len(segments) == 3
            case [b"webui", *rest]:
                expected = (Side.WEBUI, "default", b"/" + b"/".join(rest))
            case [b"-", _, *_]:
                expected = (Side.ITSELF, "default", decoded)
            case _:
                expected = (Side.DASHBOARD, "default", decoded)
        asked = route.path if route.side is Side.ITSELF else unquote_to_bytes(route.path)  # ours is decoded already
        assert (route.side, route.profile, asked) == expected
        assert route.profile in PROFILES


@given(PATHS, st.frozensets(st.sampled_from(["default", "work", "nobody", "v1", "p"])))
def test_no_path_leads_to_a_profile_that_is_not_configured(raw_path: bytes, others: frozenset[str]) -> None:
    profiles = others | {"default"}
    with suppress(PathRefused, ProfileUnknown):
        assert find(raw_path, profiles).profile in profiles
