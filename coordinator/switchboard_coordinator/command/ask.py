"""The client side of the command line: asks a coordinator, and shows its answer lane by lane as it comes."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from switchboard_coordinator import sse
from switchboard_coordinator.address import Group, parse_target
from switchboard_coordinator.chat import TOOL_EVENT, is_done

from .lane_printer import LanePrinter, Piece

CONNECT_SECONDS = 5.0
_TIMEOUT = httpx.Timeout(None, connect=CONNECT_SECONDS)  # a turn may be silent for minutes

_LANE_BY_LANE = ("all", "quorum")
"""The modes whose answer is several lanes' beside each other."""

Show = Callable[[list[Piece]], None]


class AskFailed(Exception):
    """There was no answer, or not a whole one. The text says why."""


class Coordinator:
    """A coordinator at `url`, asked with a consumer's key."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"authorization": f"Bearer {key}"}

    def peers(self) -> dict[str, Any]:
        """What `GET /api/peers` answers.

        Raises:
            AskFailed: nothing, or an error.
        """
        return self._object("GET", "/api/peers", "peers")

    def peer(self, name: str) -> dict[str, Any]:
        """What `GET /api/peers/{peer}` answers.

        Raises:
            AskFailed: nothing, or an error.
        """
        return self._object("GET", _path_of(name), "turns")

    def drain(self, name: str) -> dict[str, Any]:
        """Give a peer no new turns; how it is then.

        Raises:
            AskFailed: nothing was answered, or an error.
        """
        return self._object("POST", f"{_path_of(name)}/drain", "turns")

    def undrain(self, name: str) -> dict[str, Any]:
        """Let a peer have turns again; how it is then.

        Raises:
            AskFailed: nothing was answered, or an error.
        """
        return self._object("POST", f"{_path_of(name)}/undrain", "turns")

    def _object(self, method: str, path: str, member: str) -> dict[str, Any]:
        """The JSON object that is answered, which must have this member."""
        with self._failures_told(), self._client() as client:
            answer = client.request(method, path)
            try:
                told: dict[str, Any] = answer.json()
            except ValueError:
                told = {}
            if answer.status_code != 200 or member not in told:
                raise AskFailed(words(answer))
            return told

    def ask(self, text: str, target: str, show: Show) -> None:
        """Send one message to `target` and show what comes, as it comes.

        Raises:
            AskFailed: there was no whole answer, or a lane of `all` failed; what came was shown.
        """
        body: dict[str, Any] = {"model": target, "stream": True, "messages": [{"role": "user", "content": text}]}
        asked = parse_target(target)
        if isinstance(asked, Group) and asked.mode in _LANE_BY_LANE:
            body["switchboard"] = {"answers": "choices"}
        with (
            self._failures_told(),
            self._client() as client,
            client.stream("POST", "/v1/chat/completions", json=body) as answer,
        ):
            if answer.status_code != 200:
                answer.read()
                raise AskFailed(words(answer))
            _show(answer.iter_bytes(), _Shown(target, show))

    def post(self, path: str, body: Mapping[str, Any], seconds: float) -> httpx.Response:
        """Ask once for an answer that comes whole, whatever its status; leave when it takes longer.

        Raises:
            AskFailed: there was none.
        """
        with self._failures_told(), self._client() as client:
            try:
                return client.post(path, json=body, timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS))
            except httpx.ReadTimeout as error:
                raise AskFailed(f"no answer came within {seconds:g} s, and the turn was left") from error

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self._url, headers=self._headers, timeout=_TIMEOUT, trust_env=False)

    def _failures_told(self) -> "_FailuresTold":
        return _FailuresTold(self._url)


def _path_of(peer: str) -> str:
    return f"/api/peers/{quote(peer, safe='')}"


class _FailuresTold:
    """Turns the HTTP client's errors into ours."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol | httpx.InvalidURL):
            raise AskFailed(f"no coordinator answers at {self._url}: {error}") from error
        if isinstance(error, httpx.TransportError):
            raise AskFailed(f"the coordinator broke off its answer ({error}); the turn may have run") from error


class _Shown:
    """What has been shown of one answer."""

    def __init__(self, target: str, show: Show) -> None:
        self.failures: list[str] = []
        self._target = target
        self._show = show
        self._printer = LanePrinter([target])

    def feed(self, event: bytes, value: Mapping[str, Any]) -> None:
        """Take one frame of the stream."""
        if event == TOOL_EVENT:
            return
        switchboard = value.get("switchboard") or {}
        lanes = switchboard.get("lanes") or []
        if lanes and "state" not in lanes[0]:
            owners = {lane["choice"]: lane["address"] for lane in lanes if "choice" in lane}
            self._printer = LanePrinter([owners[choice] for choice in sorted(owners)] or [self._target])
        for choice in value.get("choices") or []:
            lane = choice["index"]
            if text := choice["delta"].get("content"):
                self._show(self._printer.text(lane, text))
            if choice.get("finish_reason"):
                self._show(self._printer.end(lane))
        if switchboard.get("mode") == "all":
            broken = [lane for lane in lanes if lane.get("state") in ("failed", "interrupted")]
            self.failures += [f"{lane['address']}: {lane['message']}" for lane in broken]
        error = value.get("error")
        if error:
            self.failures.append(str(error.get("message") if isinstance(error, dict) else error))


def _show(pieces: Iterator[bytes], shown: _Shown) -> None:
    splitter = sse.FrameSplitter()
    is_whole = False
    for piece in pieces:
        for frame in splitter.feed(piece):
            is_whole = is_whole or is_done(frame)
            event, data = sse.fields(frame)
            if data.startswith(b"{"):
                shown.feed(event, orjson.loads(data))
    if shown.failures:
        raise AskFailed("\n".join(shown.failures))
    if not is_whole:
        raise AskFailed("the answer ended before its end; the turn may have run")


def words(answer: httpx.Response) -> str:
    """What an error of the coordinator says, in either of its shapes."""
    try:
        value = answer.json()
        return str(value["error"]["message"] if "error" in value else value["detail"])
    except (ValueError, KeyError, TypeError):
        return f"what answers there is no coordinator (status {answer.status_code})"
