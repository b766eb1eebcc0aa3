"""Error messages on the command line."""


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line, or its class name if the message is empty."""
    message = str(error)
    if "\nOriginal Traceback" in message:  # torch prepends the traceback of the data worker
        message = message.strip().splitlines()[-1].partition(": ")[2]
    return printable(" ".join(message.split())) or type(error).__name__


def printable(text: str) -> str:
    """Escape the characters that a terminal does not print, such as line breaks in file names."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )
