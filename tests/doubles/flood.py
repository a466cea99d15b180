"""Guesses passwords from a process of its own: `python flood.py PORT SECONDS CONNECTIONS`; prints how many."""

import selectors
import socket
import sys
import time

GUESS = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic Z3Vlc3M6Z3Vlc3M=\r\n\r\n"


def main(port: int, seconds: float, connections: int) -> int:
    """Guess on all connections at once, each as fast as it is answered."""
    guesses, deadline = 0, time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            guesser = socket.create_connection(("127.0.0.1", port))
            guesser.sendall(GUESS)
            selector.register(guesser, selectors.EVENT_READ, guesser)
        while time.monotonic() < deadline:
            for key, _ in selector.select(1):
                guesser = key.data
                answer = guesser.recv(65536)
                assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 429")), answer
                guesses += 1
                guesser.sendall(GUESS)
    return guesses


if __name__ == "__main__":
    sys.stdout.write(str(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
