"""Names of matching HR and LR pictures."""

from collections.abc import Iterable
from pathlib import PurePosixPath

PLACEHOLDER = "{}"


class NameTemplate:
    """A name in which {} stands for the part that the names of HR and LR share, such as {}_LR4.

    Args:
        text: the template.

    Raises:
        ValueError: the template does not contain {} exactly once.
    """

    def __init__(self, text: str):
        if not isinstance(text, str) or text.count(PLACEHOLDER) != 1:
            raise ValueError(f"template of names is {text!r}; give one with {{}} once, such as {{}}_LR4")
        self.text = text
        self._before, self._after = text.split(PLACEHOLDER)

    def name(self, part: str) -> str:
        """Return the name with this part."""
        return f"{self._before}{part}{self._after}"

    def part(self, key: str) -> str | None:
        """Return what {} stands for in the last name of a key; None if the name does not fit."""
        name = PurePosixPath(key).name
        fits = name.startswith(self._before) and name.endswith(self._after)
        part = name[len(self._before) : len(name) - len(self._after)]
        return part if fits and part and len(self._before) + len(self._after) < len(name) else None

    def matching(self, keys: Iterable[str]) -> list[str]:
        """Return the keys whose last names fit."""
        return [key for key in keys if self.part(key) is not None]
