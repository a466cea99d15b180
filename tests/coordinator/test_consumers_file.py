"""The consumers file: names and digests, never keys."""

import hashlib
import stat
from pathlib import Path

import pytest
from switchboard_coordinator.keys.consumers_file import ConsumersError, add_consumer, read_consumers
from switchboard_coordinator.keys.scopes import ASKING
from switchboard_service.secret_file import SecretError


def written(file: Path, text: str, mode: int = 0o600) -> Path:
    file.write_text(text)
    file.chmod(mode)
    return file


def named(file: Path, authorization: bytes | None) -> str | None:
    """Whom a file's consumers know by this header."""
    consumer = read_consumers(file).who(authorization)
    return consumer.name if consumer else None


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def problems(file: Path) -> list[str]:
    with pytest.raises(ConsumersError) as caught:
        read_consumers(file)
    return caught.value.problems


def test_a_key_is_given_once_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "consumers"
    key = add_consumer(file, "me")
    assert key.startswith("sk-switchboard-")
    assert len(key) > 50
    assert file.read_text() == f"me {digest(key)}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert named(file, f"Bearer {key}".encode()) == "me"


def test_two_keys_are_never_alike(tmp_path: Path) -> None:
    assert add_consumer(tmp_path / "consumers", "me") != add_consumer(tmp_path / "consumers", "you")


def test_a_consumer_is_added_behind_the_others_even_without_a_last_line_end(tmp_path: Path) -> None:
    file = written(tmp_path / "consumers", f"# people\nme {digest('mine')}")
    assert add_consumer(file, "you", "a-key-of-yours-123") == "a-key-of-yours-123"
    assert named(file, b"Bearer mine") == "me"
    assert named(file, b"bearer a-key-of-yours-123") == "you"
    assert file.read_text().startswith("# people\nme ")


def test_the_first_consumer_can_be_added_to_a_file_of_comments(tmp_path: Path) -> None:
    file = written(tmp_path / "consumers", "# the people\n\n")
    key = add_consumer(file, "me")
    assert named(file, b"Bearer " + key.encode()) == "me"


@pytest.mark.parametrize(
    "authorization",
    [None, b"", b"Bearer", b"Bearer ", b"Bearer  mine", b"Bearer mine ", b"Basic mine", b"mine", b"Bearer Mine"],
)
def test_any_other_authorization_is_nobody(tmp_path: Path, authorization: bytes | None) -> None:
    file = written(tmp_path / "consumers", f"me {digest('mine')}\n")
    assert named(file, authorization) is None


def test_the_digest_itself_is_no_key(tmp_path: Path) -> None:
    file = written(tmp_path / "consumers", f"me {digest('mine')}\n")
    assert named(file, f"Bearer {digest('mine')}".encode()) is None


def test_all_malformed_lines_are_told_at_once(tmp_path: Path) -> None:
    file = written(
        tmp_path / "consumers",
        f"Me {digest('a')}\nyou {digest('b')} more\n\nhe sk-switchboard-plain-key\nme {digest('c')} # fine\n"
        f"me {digest('d')}\nthey {digest('c')}\n",
    )
    told = problems(file)
    assert [re_line(problem) for problem in told] == [1, 2, 4, 6, 7]
    assert all("name each once" in problem for problem in told[3:])
    assert "sk-switchboard-plain-key" not in " ".join(told)


def re_line(problem: str) -> int:
    return int(problem.partition(" line ")[2].partition(":")[0])


def test_whoever_the_file_names_may_ask_everyone_and_no_more(tmp_path: Path) -> None:
    file = written(tmp_path / "consumers", f"me {digest('mine')}\n")
    consumer = read_consumers(file).who(b"Bearer mine")
    assert consumer is not None
    assert (consumer.scopes, consumer.moves, consumer.turns_per_minute) == (ASKING, "ask", None)


def test_no_file_and_a_file_without_a_name_name_nobody(tmp_path: Path) -> None:
    assert named(tmp_path / "consumers", b"Bearer mine") is None
    file = written(tmp_path / "consumers", "# nobody yet\n")
    assert named(file, b"Bearer mine") is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = written(tmp_path / "consumers", f"me {digest('mine')}\n", mode)
    with pytest.raises(SecretError, match="open to group or others"):
        read_consumers(file)
    with pytest.raises(SecretError, match="open to group or others"):
        add_consumer(file, "you")
    assert "you" not in file.read_text()


def test_a_name_or_a_key_that_is_there_already_is_not_added_again(tmp_path: Path) -> None:
    file = tmp_path / "consumers"
    key = add_consumer(file, "me")
    before = file.read_text()
    with pytest.raises(ConsumersError, match="me has a key"):
        add_consumer(file, "me")
    with pytest.raises(ConsumersError, match="this key is me's") as caught:
        add_consumer(file, "you", key)
    assert key not in str(caught.value)
    assert file.read_text() == before


def test_a_name_that_is_none_is_not_added_and_no_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConsumersError, match="is no name"):
        add_consumer(tmp_path / "consumers", "My Laptop")
    assert not (tmp_path / "consumers").exists()
