"""Large bodies both ways: the Files tab, and the route that it downloads from."""

import os
from collections.abc import Iterator
from hashlib import file_digest, sha256
from pathlib import Path

import pytest
from playwright.async_api import Browser

from browser.stage import Stage, Way
from browser.watched import visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

LARGEST = 100 * 1024 * 1024  # hermes-agent 0.19.0 takes no larger file
SECONDS = 60.0


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return file_digest(content, "sha256").hexdigest()


@pytest.fixture
def largest(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "largest.bin"
    file.write_bytes(os.urandom(LARGEST))
    yield file
    file.unlink()


@pytest.fixture
def stored(stage: Stage) -> bytes:
    """What the file `ranges.bin` of the dashboard holds."""
    content = os.urandom(300_000)
    (stage.files / "ranges.bin").write_bytes(content)
    return content


async def test_the_largest_file_goes_up_whole_in_the_files_tab_and_comes_back_whole(
    browser: Browser, stage: Stage, largest: Path
) -> None:
    sent, uploaded = digest(largest), stage.files / largest.name
    async with visit(browser, stage.proxied, "/files") as files:
        await files.settled()
        await files.page.locator("main input[type=file]").set_input_files(largest)
        await files.page.get_by_role("button", name=f"Download {largest.name}").wait_for(timeout=SECONDS * 1000)
    assert "POST /api/files/upload-stream 200" in files.answers
    assert digest(uploaded) == sent

    back = sha256()
    async with (
        stage.proxied.client(**{"X-Hermes-Session-Token": await stage.proxied.token()}) as client,
        client.stream("GET", "/api/files/download", params={"path": str(uploaded)}) as answer,
    ):
        async for piece in answer.aiter_raw():
            back.update(piece)
    uploaded.unlink()
    assert (answer.status_code, back.hexdigest()) == (200, sent)


async def test_the_files_tab_downloads_a_file(browser: Browser, stage: Stage, stored: bytes, tmp_path: Path) -> None:
    async with visit(browser, stage.proxied, "/files") as files:
        async with files.page.expect_download(timeout=SECONDS * 1000) as download:
            await files.page.get_by_role("button", name="Download ranges.bin").click()
        await (await download.value).save_as(tmp_path / "back.bin")

    assert (tmp_path / "back.bin").read_bytes() == stored


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-65999", 1000, 66_000),
        ("bytes=299000-", 299_000, 300_000),
        ("bytes=-7", 299_993, 300_000),
    ],
)
async def test_a_range_of_a_download_is_just_these_bytes(
    stage: Stage, way: Way, stored: bytes, asked: str, first: int, end: int
) -> None:
    async with way.client(**{"X-Hermes-Session-Token": await way.token(), "Range": asked}) as client:
        answer = await client.get("/api/files/download", params={"path": str(stage.files / "ranges.bin")})

    assert (answer.status_code, answer.headers["content-range"]) == (206, f"bytes {first}-{end - 1}/{len(stored)}")
    assert answer.content == stored[first:end]


async def test_a_range_beyond_the_end_is_refused_by_the_dashboard(stage: Stage, way: Way, stored: bytes) -> None:
    async with way.client(**{"X-Hermes-Session-Token": await way.token(), "Range": "bytes=300000-"}) as client:
        answer = await client.get("/api/files/download", params={"path": str(stage.files / "ranges.bin")})

    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */300000")
