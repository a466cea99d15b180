import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from bench.flows import Flow
from bench.frames import CHUNK_BYTES
from bench.generator import Generator
from bench.load import BEARER_HEADER, Door
from bench.running import free_port


@contextmanager
def hop(upstream: int, change: Callable[[bytes], bytes]) -> Iterator[int]:
    """The port of a hop that carries one stream, frame by frame, through `change`; nothing ends the stream."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as behind:

        def carry() -> None:
            client, _ = listener.accept()
            with client, suppress(OSError):
                behind.connect(("127.0.0.1", upstream))
                behind.sendall(client.recv(65536))
                head_and_first = behind.recv(65536)
                while head_and_first.count(b"\r\n") < 6:
                    head_and_first += behind.recv(65536)
                client.sendall(head_and_first)
                while chunk := behind.recv(CHUNK_BYTES, socket.MSG_WAITALL):
                    client.sendall(change(chunk))

        thread = threading.Thread(target=carry, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        behind.shutdown(socket.SHUT_RDWR)  # which ends its wait for the next frame
        thread.join(5)
        assert not thread.is_alive()


def flow_through(change: Callable[[bytes], bytes]) -> Flow:
    with Generator(grace_seconds=0.5) as generator, hop(generator.port, change) as port:
        return generator.flow(Door(port, BEARER_HEADER), streams=1, rate=50, seconds=0.1)


def test_every_frame_of_every_stream_arrives_on_the_direct_way() -> None:
    with Generator(grace_seconds=20) as generator:
        for _ in range(2):
            seen = generator.flow(Door(generator.port, BEARER_HEADER), streams=100, rate=20, seconds=0.3)
            assert (seen.failure, seen.frames) == ("", 100 * (6 + 1))
            assert 0 < seen.p50_ms <= seen.p99_ms <= seen.worst_ms


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        (lambda chunk: chunk.replace(b" 000003 ", b" 000004 "), "frame 4 came where 3 was due"),
        (lambda chunk: b"" if b" 000003 " in chunk else chunk, "frame 4 came where 3 was due"),
        (lambda chunk: b"" if b" 000005 " in chunk else chunk, "1 of 6 frames did not arrive"),
        (lambda chunk: b"" if chunk.startswith(b"0") else chunk, "1 streams were not ended"),
    ],
)
def test_a_hop_that_loses_a_frame_or_an_end_fails_the_flow(change: Callable[[bytes], bytes], failure: str) -> None:
    assert flow_through(change).failure == failure


def test_a_system_that_refuses_fails_the_flow() -> None:
    with Generator(grace_seconds=20) as generator:
        seen = generator.flow(Door(generator.port, "Bearer another"), streams=2, rate=20, seconds=0.1)
    assert "401" in seen.failure


def test_a_system_that_is_gone_fails_the_flow() -> None:
    with Generator(grace_seconds=20) as generator:
        seen = generator.flow(Door(free_port(), BEARER_HEADER), streams=2, rate=20, seconds=0.1)
    assert "no connection" in seen.failure


def test_streams_that_do_not_begin_are_counted() -> None:
    with Generator(grace_seconds=0.2) as generator, socket.create_server(("127.0.0.1", 0)) as silent:
        seen = generator.flow(Door(silent.getsockname()[1], BEARER_HEADER), streams=3, rate=20, seconds=0.1)
    assert seen.failure == "3 of 3 streams did not begin"
