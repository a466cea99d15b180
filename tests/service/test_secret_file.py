"""Secrets come from files that nobody else may read, and no text ever shows one."""

import errno
import os
from pathlib import Path

import pytest
from pydantic import BaseModel
from switchboard_service.secret_file import SecretError, SecretFile, read_private

SECRET = "0123456789abcdef-secret"


def written(folder: Path, content: bytes, mode: int = 0o400) -> Path:
    file = folder / "secret"
    file.write_bytes(content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_secret_is_read_without_one_newline_at_its_end(tmp_path: Path, end: bytes) -> None:
    assert SecretFile(written(tmp_path, SECRET.encode() + end)).read() == SECRET


def test_a_link_to_a_good_file_is_good(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(written(tmp_path, SECRET.encode()))
    assert SecretFile(link).read() == SECRET


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"x" * 15, "too short with 15 characters: it takes 16"),
        (b"x" * 4097, "longer than 4096"),
        (b"x" * 1_000_000, "longer than 4096"),
        (b"0123456789 abcdef", "blanks"),
        (b"0123456789abcdef\n\n", "blanks"),
        (b"0123456789abcdef\0", "control characters"),
        ("0123456789abcdefé".encode(), "beyond ASCII"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused_by_name_and_never_shown(
    tmp_path: Path, content: bytes, words: str
) -> None:
    file = written(tmp_path, content)
    with pytest.raises(SecretError, match=words) as wrong:
        SecretFile(file).read()
    assert str(file) in str(wrong.value)
    assert "0123456789" not in str(wrong.value)


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o420, 0o401, 0o644])
def test_a_file_that_is_open_to_others_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    file = written(tmp_path, SECRET.encode(), mode)
    with pytest.raises(SecretError, match=f"mode 0{mode:o}.*: chmod 0400 {file}") as wrong:
        SecretFile(file).read()
    assert SECRET not in str(wrong.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for place, words in (
        (tmp_path / "none", "is missing"),
        (tmp_path, "is not a regular file"),
        (pipe, "is not a regular file"),  # and nobody waits for a writer
        (tmp_path / "pipe" / "x", "cannot be opened"),
    ):
        with pytest.raises(SecretError, match=words):
            SecretFile(place).read()


def test_a_file_of_another_user_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(SecretError, match=f"must belong to the user {os.geteuid()}"):
        read_private(tmp_path / "x", 1)


def test_a_disk_that_gives_nothing_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, SECRET.encode())

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "read", broken)
    with pytest.raises(SecretError, match="cannot be read: Input/output error"):
        read_private(file, 1)


def test_the_signature_changes_with_the_file(tmp_path: Path) -> None:
    secret = SecretFile(tmp_path / "secret")
    assert secret.signature() is None
    written(tmp_path, SECRET.encode(), 0o600)
    before = secret.signature()
    assert before == secret.signature()
    written(tmp_path, SECRET.encode() + b"x")
    assert secret.signature() != before


def test_no_text_of_a_model_shows_more_than_the_path(tmp_path: Path) -> None:
    class Model(BaseModel):
        key: SecretFile

    file = written(tmp_path, SECRET.encode())
    model = Model(key=str(file))  # type: ignore[arg-type]  # pydantic takes a path
    assert model.key.read() == SECRET
    assert Model(key=model.key).key is model.key
    assert SECRET not in repr(model) + str(model) + model.model_dump_json()
    with pytest.raises(ValueError, match="must be the path of a file"):
        Model(key=7)  # type: ignore[arg-type]
