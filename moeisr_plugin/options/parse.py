"""Read option files with their bases, apply `--force_yml`, and write the result."""

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from moeisr_plugin.options.rules import below, nearest, shown
from moeisr_plugin.options.shipped import located_options
from moeisr_plugin.utils.option_yaml import OptionsDumper, OptionsLoader
from moeisr_plugin.utils.regular_files import read_text

BASE = "_base_"
DELETE = "_delete_"


class Resolved(NamedTuple):
    """The options of a file and of its bases, merged.

    Attributes:
        options: without `_base_` and `_delete_`.
        origins: the file in which a key stands, by the path of the key, such as `train.total_iter`.
    """

    options: OrderedDict[str, Any]
    origins: dict[str, str]


def read_options(path: str | os.PathLike[str]) -> OrderedDict[str, Any]:
    """Return the options of a file, merged with those of its bases.

    Raises:
        ValueError: see `resolve_options`.
    """
    return resolve_options(path).options


def resolve_options(path: str | os.PathLike[str]) -> Resolved:
    """Read an option file and merge it into its bases, as `mmengine.Config.fromfile` does.

    The file may be given by the name of a shipped one; see `located_options`.
    `_base_` holds a file or a list of files, relative to the file in which it stands. Mappings merge, other
    values replace those of a base. A mapping with `_delete_: true` replaces the whole mapping of a base.

    Raises:
        ValueError: a file is missing or holds something other than options, or files do not merge; one line
            with the file, and the line where it is known.
    """
    return _resolve(located_options(path), "give an option file after -opt", ())


def _resolve(path: str, remedy: str, children: tuple[str, ...]) -> Resolved:
    """Resolve one file.

    Args:
        path: the file.
        remedy: what to do if it cannot be read.
        children: the files that have this one as a base, without links, from the outermost.
    """
    own = OrderedDict(_read_file(path, remedy))
    base, origins = OrderedDict[str, Any](), dict[str, str]()
    ancestry = (*children, os.path.realpath(path))
    for name in _base_names(path, own.pop(BASE, [])):
        file = os.path.normpath(os.path.join(os.path.dirname(path), name))
        if os.path.realpath(file) in ancestry:
            raise ValueError(f"{path}: {BASE}: {name} has this file as a base in turn; remove one of the two")
        other = _resolve(file, f"correct {BASE} in {path}", ancestry)
        if shared := [key for key in other.options if key in base]:
            raise ValueError(
                f"{path}: {BASE}: {name} and {origins[shared[0]]} both define {shared[0]}; remove it from "
                "one, or make one the base of the other"
            )
        base.update(other.options)
        origins.update(other.origins)
    try:
        return Resolved(_merge(base, own, "", path, origins), origins)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _base_names(path: str, bases: Any) -> list[str]:
    names = [bases] if isinstance(bases, str) else bases
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{path}: {BASE}: is {shown(bases)}; give an option file or a list of them")
    return names


def _merge(
    base: Mapping[str, Any], own: Mapping[str, Any], path: str, file: str, origins: dict[str, str]
) -> OrderedDict[str, Any]:
    """Return a copy of the section `base` with the keys of `own`, and enter these in `origins`."""
    merged = OrderedDict(base)
    for key, value in own.items():
        place = below(path, key)
        former = base.get(key, {})
        if isinstance(value, Mapping):
            value = OrderedDict(value)
            replaces = value.pop(DELETE, False)
            if not isinstance(replaces, bool):
                raise ValueError(f"{place}.{DELETE}: is {shown(replaces)}; give true or false")
            if replaces and key not in base:
                raise ValueError(f"{place}.{DELETE}: no base has {place}; remove the line")
            if replaces:
                former = _forget(place, origins)
            if not isinstance(former, Mapping):
                raise ValueError(
                    f"{place}: is a section, but {shown(former)} in {origins[place]}; add {DELETE}: true to "
                    "replace it"
                )
            value = _merge(former, value, place, file, origins)
        else:
            _forget(place, origins)
        merged[key] = value
        origins[place] = file
    return merged


def _forget(path: str, origins: dict[str, str]) -> dict[str, Any]:
    """Remove the keys below a path from `origins`; return an empty section in their place."""
    for place in [place for place in origins if place.startswith(f"{path}.")]:
        del origins[place]
    return {}


def _read_file(path: str, remedy: str) -> Mapping[str, Any]:
    """Read one file, without its bases."""
    try:
        opt = yaml.load(read_text(path), Loader=OptionsLoader)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; {remedy}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8; {remedy}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}{_line(error)}: {_what(error)}") from error
    if opt is None:
        raise ValueError(f"{path}: the file is empty; {remedy}")
    if not isinstance(opt, Mapping):
        raise ValueError(f"{path}: holds no keys at the top; options are lines such as 'name: my_network'")
    return opt


def write_options(opt: Mapping[str, Any]) -> str:
    """Return options as YAML that `read_options` and `mmengine.Config.fromfile` read alike."""
    return yaml.dump(
        opt, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120
    )


class _PlainDumper(OptionsDumper):
    """Write a list in one line, and a value that stands twice in full."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_short(self, data: list) -> yaml.SequenceNode:
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


_PlainDumper.add_representer(list, _PlainDumper.represent_short)


def force_options(opt: Mapping[str, Any], entries: Sequence[str]) -> dict[str, Any]:
    """Return the options with the values of `--force_yml`.

    Args:
        opt: options; they are not changed.
        entries: `key:key=value`, the value in YAML.

    Raises:
        ValueError: an entry has no `=`, names a section that is not there, or has a value that is not plain
            data; one line.
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
    """Return a copy of nested options with one value set."""
    key, *inner = keys
    if not inner:
        return {**opt, key: value}
    if not isinstance(opt.get(key), Mapping):
        raise ValueError(f"there is no section {key}; {nearest(key, _sections(opt))}")
    return {**opt, key: _with(opt[key], inner, value)}


def _sections(opt: Mapping[str, Any]) -> list[str]:
    return [str(key) for key, value in opt.items() if isinstance(value, Mapping)]


def _read_value(text: str) -> Any:
    """Read a value in YAML, or `none` as the toolbox writes null; anything else is a text, such as a path."""
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
    """Return what is wrong, and the remedy, in one line."""
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if "could not determine a constructor for the tag" in problem:
        tag = problem.partition("tag:yaml.org,2002:")[2].rstrip("'")
        tag = f"!!{tag}" if tag else problem.rpartition("the tag ")[2]
        return f"the tag {tag} is refused, as options are plain data; remove it"
    if ";" in problem:  # the loader of this package says what to do
        return problem
    return f"not valid YAML ({problem}); correct it there or just before"
