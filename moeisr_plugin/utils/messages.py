"""Error messages on the command line."""

import errno
import os

_REMEDIES = {
    errno.EACCES: "check its permissions",
    errno.EEXIST: "choose another name",
    errno.EISDIR: "name a file in it",
    errno.ELOOP: "remove the symbolic link, which leads to itself",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "check the name, of which a part is a file",
    errno.EPERM: "check its permissions",
    errno.EROFS: "choose another folder",
}


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line, or its class name if the message is empty."""
    message = _of_system(error) if isinstance(error, OSError) else str(error)
    if "\nOriginal Traceback" in message:  # torch prepends the traceback of the data worker
        message = message.strip().splitlines()[-1].partition(": ")[2]
    return printable(" ".join(message.split())) or type(error).__name__


def _of_system(error: OSError) -> str:
    """Return a message with the file at the start and the remedy at the end, if both are known."""
    if error.filename is None or error.strerror is None:
        return str(error)
    remedy = _REMEDIES.get(error.errno or 0, "")
    reason = error.strerror[:1].lower() + error.strerror[1:]
    return f"{os.fsdecode(error.filename)}: {reason}{'; ' * bool(remedy)}{remedy}"


def printable(text: str) -> str:
    """Escape the characters that a terminal does not print, such as line breaks in file names."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )
