import shutil

import pytest

from real_agent import first_light
from real_agent.stage import Stage

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="install curl, which the transcript shows"),
]


async def test_the_transcript_can_be_taken_again_and_shows_what_the_kept_one_shows(stage: Stage) -> None:
    now, kept = await first_light.transcript(stage), first_light.TRANSCRIPT.read_text()

    for answer in ("[nas] echo: ping", "[nas/work] echo: ping", "[laptop] echo: ping", "hermes-agent 0.19.0"):
        assert answer in now
        assert answer in kept
    assert _titles(kept) == _titles(now)


async def test_a_transcript_with_a_secret_is_not_written(stage: Stage) -> None:
    with pytest.raises(first_light.Failed, match="would show a secret"):
        first_light.check_nothing_hidden_is_shown(f"$ echo {stage.nas.key}", stage)


def _titles(document: str) -> list[str]:
    return [line for line in document.split("\n") if line.startswith("#")]
