"""From an option file, and what the command line changes in it, to plain data."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from moeisr_plugin.options.rules import nearest
from moeisr_plugin.utils.option_yaml import OptionsLoader


def read_options(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The options in a file.

    Raises:
        ValueError: there is no such file, or it is not YAML that holds plain data; one line with the file and
            the line, where it is known.
    """
    try:
        with open(path, encoding="utf-8") as file:
            opt = yaml.load(file, Loader=OptionsLoader)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; give an option file after -opt") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8; give an option file after -opt") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}{_line(error)}: {_what(error)}") from error
    if opt is None:
        raise ValueError(f"{path}: the file is empty; give an option file after -opt")
    if not isinstance(opt, Mapping):
        raise ValueError(f"{path}: holds no keys at the top; options are lines such as 'name: my_network'")
    return opt


def force_options(opt: Mapping[str, Any], entries: Sequence[str]) -> dict[str, Any]:
    """The options with what `--force_yml` sets.

    Args:
        opt: options, which stay as they are.
        entries: `key:key=value`, the value in YAML.

    Raises:
        ValueError: an entry that is none, names no section, or whose value is not plain data; one line.
    """
    for entry in entries:
        keys, equals, value = entry.partition("=")
        if not equals:
            raise ValueError(f"--force_yml {entry}: has no =; write it as train:total_iter=1000")
        try:
            opt = _with(opt, [key.strip() for key in keys.split(":")], _read_value(value.strip()))
        except ValueError as error:
            raise ValueError(f"--force_yml {entry}: {error}") from error
    return dict(opt)


def _with(opt: Mapping[str, Any], keys: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of nested options with one value set."""
    key, *inner = keys
    if not inner:
        return {**opt, key: value}
    if not isinstance(opt.get(key), Mapping):
        raise ValueError(f"there is no section {key}; {nearest(key, _sections(opt))}")
    return {**opt, key: _with(opt[key], inner, value)}


def _sections(opt: Mapping[str, Any]) -> list[str]:
    return [str(key) for key, value in opt.items() if isinstance(value, Mapping)]


def _read_value(text: str) -> Any:
    """A value in YAML, or in the toolbox's words (`none`); what is neither is a text, such as a path."""
    if text.lower() == "none":
        return None
    try:
        value = yaml.load(text, Loader=OptionsLoader)
    except yaml.YAMLError as error:
        if text.startswith(("[", "{", "!")):
            raise ValueError(_what(error)) from error
        return text
    return text if isinstance(value, Mapping) and not text.startswith("{") else value


def _line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _what(error: yaml.YAMLError) -> str:
    """What is wrong, and the remedy, in one line."""
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if "could not determine a constructor for the tag" in problem:
        tag = problem.partition("tag:yaml.org,2002:")[2].rstrip("'")
        tag = f"!!{tag}" if tag else problem.rpartition("the tag ")[2]
        return f"the tag {tag} is refused, as options are plain data; remove it"
    if ";" in problem:  # the loader of this package says what to do
        return problem
    return f"not valid YAML ({problem}); correct it there or just before"
