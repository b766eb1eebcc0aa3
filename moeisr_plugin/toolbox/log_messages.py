"""Log the progress of a training in lines that a person can read."""

import datetime
import functools
import importlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moeisr_plugin.utils.log_lines import wrapped
from moeisr_plugin.utils.numbers import plain

SHARE = "share_"
"""Names of the shares of the experts, for which 0 is news."""


def mend_logger(logger: Any) -> None:
    """Repair basicsr/utils/logger.py.

    - `MessageLogger.__call__` (line 72): it writes every number as 3.4000e-01, zeros included, in one line of
      any length. At the last iteration the remaining time is negative. TensorBoard does not get the learning
      rate. Can go when the toolbox does better.
    - `init_wandb_logger` (line 138): it calls a function that newer versions of wandb lack. Can go when the
      toolbox lets wandb name its runs.
    """
    logger.MessageLogger.__call__ = logger.master_only(report)
    logger.init_wandb_logger = with_run_ids(logger.init_wandb_logger)


def with_run_ids(init_wandb_logger: Callable[[dict], None]) -> Callable[[dict], None]:
    """Wrap `init_wandb_logger` so that `wandb.util.generate_id` exists."""

    @functools.wraps(init_wandb_logger)
    def initialised(opt: dict) -> None:
        util: Any = importlib.import_module("wandb.util")
        if not hasattr(util, "generate_id"):
            util.generate_id = lambda: secrets.token_hex(4)
        init_wandb_logger(opt)

    return initialised


def report(self: Any, log_vars: Mapping[str, Any]) -> None:
    """Log an iteration, and pass its numbers on to TensorBoard.

    Args:
        self: the MessageLogger of the toolbox.
        log_vars: ``epoch``, ``iter``, ``lrs``, where known ``time`` and ``data_time``, and other numbers.
    """
    numbers = dict(log_vars)
    epoch, iteration, rates = (numbers.pop(key) for key in ("epoch", "iter", "lrs"))
    seconds = {
        name: numbers.pop(key) for name, key in (("time", "time"), ("data", "data_time")) if key in numbers
    }
    head = f"[epoch:{epoch:3d}, iter:{iteration:8,d}, lr: {', '.join(map(plain, rates))}]"
    parts = time_left(self, iteration)
    parts += [f"{name}: {plain(value)}" for name, value in numbers.items() if is_news(name, value)]
    if "samples_per_s" not in numbers:  # a model of the toolbox
        parts += [f"{name}: {plain(value, 3)} s" for name, value in seconds.items()]
    self.logger.info(wrapped(head, parts))
    if self.use_tb_logger and "debug" not in self.exp_name:
        write_scalars(self.tb_logger, iteration, rates, numbers)


def time_left(message_logger: Any, iteration: int) -> list[str]:
    """Return the time to the end, by the mean of the iterations of this run; nothing at first."""
    # The trainer starts the clock after the first iteration of all, which takes longest.
    done = iteration - max(message_logger.start_iter, 1)
    if done < 1:
        return []
    seconds = (time.time() - message_logger.start_time) / done * (message_logger.max_iters - iteration)
    return [f"[eta: {datetime.timedelta(seconds=max(int(seconds), 0))}]"]


def is_news(name: str, value: float) -> bool:
    """Return whether a number tells something: not 0, except for the share of an expert."""
    return name.startswith(SHARE) or value != 0


def write_scalars(
    tb_logger: Any, iteration: int, rates: Sequence[float], numbers: Mapping[str, float]
) -> None:
    """Write learning rates and numbers, losses under the names that the toolbox gives them."""
    for index, rate in enumerate(rates):
        tb_logger.add_scalar("learning_rate" if index == 0 else f"learning_rate/{index}", rate, iteration)
    for name, value in numbers.items():
        tb_logger.add_scalar(f"losses/{name}" if name.startswith("l_") else name, value, iteration)
