"""How errors are told on the command line."""


def one_line(error: BaseException) -> str:
    """The message of an error without its line breaks, or its kind where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
