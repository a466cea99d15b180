"""How many bytes of bodies may be held at once, by all calls together. Pure."""


class Budget:
    """Takes and gives bytes back; what is not there is refused, never waited for."""

    __slots__ = ("left",)

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> bool:
        """Whether so many bytes may be held; they are the caller's then, until `give`."""
        if size > self.left:
            return False
        self.left -= size
        return True

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self.left += size
