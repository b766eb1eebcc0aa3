"""Requests that are refused, with a status of HTTP and one line."""


class RefusedError(ValueError):
    """A request cannot be answered; the message is one line with the remedy.

    Attributes:
        status: the status of HTTP.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class StoppedError(Exception):
    """A computation ended early, because nobody waits for its result."""
