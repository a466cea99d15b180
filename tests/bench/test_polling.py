import socket
import time

from bench.polling import Polling


def test_what_is_due_is_called_once_in_the_order_of_its_time() -> None:
    polling, called = Polling(), list[str]()
    now = time.monotonic()
    polling.call_at(now + 0.02, lambda: called.append("later"))
    polling.call_at(now, lambda: called.append("first"))
    polling.call_at(now, lambda: called.append("second"))
    while len(called) < 3:
        assert time.monotonic() < now + 20
        polling.turn(10)
    assert called == ["first", "second", "later"]
    assert time.monotonic() >= now + 0.02
    polling.turn(0)
    assert len(called) == 3
    polling.close()


def test_waiting_for_what_is_due_does_not_keep_what_is_readable_waiting() -> None:
    polling, called = Polling(), list[str]()
    ours, theirs = socket.socketpair()
    polling.watch(ours, lambda: called.append("read"))
    polling.call_at(time.monotonic() + 20, lambda: called.append("due"))
    theirs.sendall(b"x")
    polling.turn(10)
    assert called == ["read"]
    polling.close()
    theirs.close()
