"""Read options safely and check them before the toolbox builds or writes anything."""

import copy
import functools
import importlib
import os
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from moeisr_plugin.toolbox import copies
from moeisr_plugin.toolbox.distributed import start_gloo
from moeisr_plugin.utils.option_yaml import OptionsDumper, OptionsLoader


def mend_options(options: Any) -> None:
    """Repair basicsr/utils/options.py.

    - `ordered_yaml` (line 12): its loader executes tags such as `!!python/object/apply`. Can go when the
      toolbox loads safely and reads `1e-4` as a number.
    - `parse_options` (line 82): it checks nothing, evaluates what `--force_yml` holds, and takes no list of
      folders (lines 146 to 149). Can go when the toolbox checks options, only reads them, and takes lists.
      The repaired function also mends the script that calls it, see `copies.mend_copy`.
    - `copy_opt_file` (line 199): it copies only the raw file, which without its bases and `--force_yml` does
      not say how the training ran. Can go when the toolbox writes the options that it uses.
    - `init_dist`: see `distributed.mend_dist_util`.
    """
    options.ordered_yaml = ordered_yaml
    options.parse_options = with_strict_options(options.parse_options)
    options.copy_opt_file = with_resolved_options(options.copy_opt_file)
    options.init_dist = importlib.import_module("basicsr.utils.dist_util").init_dist


def mend_test(test: Any) -> None:
    """Let basicsr/test.py use the repaired `parse_options`; it differs if it was imported before."""
    test.parse_options = importlib.import_module("basicsr.utils.options").parse_options


def ordered_yaml() -> tuple[type, type]:
    """Return the loader and the dumper of option files, as the toolbox's function of this name does."""
    return OptionsLoader, OptionsDumper


def with_strict_options(parse_options: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `parse_options` so that it receives options that have been read and checked."""

    @functools.wraps(parse_options)
    def strict(root_path: str, is_train: bool = True) -> Any:
        from moeisr_plugin.options import kept, options_of_command  # imports the toolbox

        opt, arguments = options_of_command(sys.argv[1:], root_path, is_train=is_train)
        copies.mend_copy(sys._getframe(1).f_globals)
        resolved = copy.deepcopy(opt)  # the toolbox adds entries to its own
        with options_in_place(opt, arguments), without_lists_of_folders(opt):
            opt, args = parse_options(root_path, is_train)
        args.opt = kept.with_options(args.opt, resolved, opt["manual_seed"])
        return opt, args

    return strict


@contextmanager
def without_lists_of_folders(opt: OrderedDict[str, Any]) -> Iterator[None]:
    """Hide dataroots that are lists, and put them back with `~` expanded, as the toolbox does with one."""
    sets = opt["datasets"].values()
    hidden = [(each, key, each[key]) for each in sets for key in each if _is_list_of_folders(key, each[key])]
    for dataset, key, _ in hidden:
        dataset[key] = None
    yield
    for dataset, key, roots in hidden:
        dataset[key] = [os.path.expanduser(root) for root in roots]


def _is_list_of_folders(key: str, value: Any) -> bool:
    return key in ("dataroot_gt", "dataroot_lq") and isinstance(value, list)


def with_resolved_options(copy_opt_file: Callable[[str, str], None]) -> Callable[[str, str], None]:
    """Wrap `copy_opt_file` so that it also writes the resolved options."""

    @functools.wraps(copy_opt_file)
    def copied(opt_file: str, experiments_root: str) -> None:
        from moeisr_plugin.options import kept  # imports the toolbox

        kept.copy_options(copy_opt_file, opt_file, experiments_root)

    return copied


@contextmanager
def options_in_place(opt: OrderedDict, arguments: list[str]) -> Iterator[None]:
    """Make the toolbox's `parse_options` find these options and arguments instead of those it would read."""
    options: Any = importlib.import_module("basicsr.utils.options")
    argv, load, init_dist = sys.argv, options.ordered_yaml, options.init_dist
    loader = types.SimpleNamespace(get_single_data=lambda: opt, dispose=lambda: None)
    try:
        options.ordered_yaml = lambda: (lambda stream: loader, None)
        if opt.get("num_gpu") == 0:
            options.init_dist = start_gloo
        sys.argv = [argv[0], *arguments]
        yield
    finally:
        options.ordered_yaml, options.init_dist, sys.argv = load, init_dist, argv
