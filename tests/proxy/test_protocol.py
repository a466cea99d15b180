"""What docs/protocol.md tells of the proxy's codes is what the code has."""

import re
from pathlib import Path

from switchboard_proxy import errors
from switchboard_proxy.errors import ProxyError

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \| (\d{3}) \| (no|unknown) \|", re.MULTILINE)
OF_THE_FRONT = re.compile(r'RequestRefused\(\s*(\d{3}), "([a-z_]+)"')


def test_every_code_of_the_proxy_stands_in_the_protocol_with_its_status() -> None:
    _, text = (ROOT / "docs/protocol.md").read_text().split("\n## Proxy\n")
    told = {
        (code.strip("`"), int(status), started)
        for codes, status, started in ROW.findall(text)
        for code in codes.split(", ")
    }
    own = {
        (kind.code, kind.status, kind.started)
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, ProxyError) and kind not in (ProxyError, errors.Refused)
    }
    sources = [file.read_text() for file in (ROOT / "relay/switchboard_relay").glob("*.py")]
    refused = {found for source in sources for found in OF_THE_FRONT.findall(source)}
    fronts = {(code, int(status), "unknown" if status == "500" else "no") for status, code in refused}
    assert len(fronts) > 8
    assert told == own | fronts
