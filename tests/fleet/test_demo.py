"""`make demo`: the fleet answers, stays, and leaves nothing behind."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import httpx
import pytest

TESTS = Path(__file__).parents[1]
ANSWER_SECONDS = 90.0
END_SECONDS = 60.0


def programs_in(folder: str) -> list[str]:
    """Command lines of running programs whose environment names this folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and folder.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended meanwhile, or is not ours to read
            continue
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for programs left behind in /proc: run it on Linux")
async def test_the_fleet_answers_stays_until_ctrl_c_and_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fleet", env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert demo.stdout is not None
    shown = ""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while "/v1/models" not in shown:
                line = await demo.stdout.readline()
                assert line, f"it ended: {shown}"
                shown += line.decode()
        for address in ("default@nas", "work@nas", "default@laptop", "default@tower"):
            assert f"{address}\n" in shown
        for name in ("nas", "nas/work", "laptop", "tower"):
            assert f"[{name}] echo: which machine are you?" in shown
        (folder,) = _inside(tmp_path)
        assert len(programs_in(str(tmp_path))) >= 8, "three agents, three proxies, one coordinator, the demo itself"

        url, key_file = (_told(name, shown) for name in ("SWITCHBOARD_URL", "SWITCHBOARD_KEY_FILE"))
        headers = {"authorization": f"Bearer {_read(key_file)}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30) as client:
            body = {"model": "tower", "messages": [{"role": "user", "content": "still there?"}]}
            answer = await client.post("/v1/chat/completions", json=body)
        assert answer.json()["choices"][0]["message"]["content"] == "[tower] echo: still there?"
        assert demo.returncode is None

        demo.send_signal(signal.SIGINT)
        async with asyncio.timeout(END_SECONDS):
            rest = (await demo.stdout.read()).decode()
            assert await demo.wait() == 0
    finally:
        if demo.returncode is None:
            demo.terminate()  # it ends its programs itself
            await demo.wait()
    assert "The fleet has ended." in rest
    assert not folder.exists()
    assert programs_in(str(tmp_path)) == []


def _told(name: str, shown: str) -> str:
    match = re.search(rf"export {name}=(\S+)", shown)
    assert match is not None
    return match[1]


def _inside(folder: Path) -> list[Path]:
    return [*folder.iterdir()]


def _read(file: str) -> str:
    return Path(file).read_text()
