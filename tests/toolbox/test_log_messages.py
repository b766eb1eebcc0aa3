"""Lines of the toolbox's log, and what TensorBoard gets."""

import logging
import re
import sys
import time
import types
from typing import Any

import pytest
from basicsr.utils import MessageLogger, get_root_logger, init_wandb_logger

from moeisr_plugin.utils.log_lines import STAMP


class Writer:
    def __init__(self):
        self.scalars = {}

    def add_scalar(self, name, value, iteration):
        self.scalars[name] = value, iteration


@pytest.fixture
def logged(caplog):
    """A function that logs an iteration, and returns the lines of the message and the writer."""
    get_root_logger().propagate = True

    def log(numbers, *, iteration=1200, total=2000, rates=(1e-4,), seconds=1200.0, tb=True):
        opt = {
            "name": "a_name_of_an_experiment",
            "logger": {"print_freq": 1, "use_tb_logger": tb},
            "train": {"total_iter": total},
        }
        writer = Writer()
        message_logger = MessageLogger(opt, 0, writer)
        message_logger.start_time = time.time() - seconds
        caplog.clear()
        with caplog.at_level(logging.INFO, "basicsr"):
            message_logger({"epoch": 3, "iter": iteration, "lrs": list(rates), **numbers})
        return caplog.records[-1].getMessage().split("\n"), writer.scalars

    yield log
    get_root_logger().propagate = False


LOSSES = {"l_pix": 0.034567, "l_balance": 0.5, "l_cost": 0.0, "skipped_steps": 0, "data_wait": 0.0}
MIXTURE = {
    **LOSSES,
    **{f"l_{name}": 1.23456e-3 for name in ("percep", "style", "tv", "freq", "distill", "g_gan", "d_real")},
    "grad_norm": 1234567.8,
    "samples_per_s": 123.456,
    "gpu_memory_gb": 61.2345,
    **{f"share_d{depth}": 0.25 for depth in range(2, 10)},
    "confidence": 0.5,
    "depth_corr": -0.25,
}


def test_a_line_holds_what_a_person_wants_to_know(logged):
    (line,), _ = logged({"time": 0.5, "data_time": 0.01, **LOSSES, "samples_per_s": 32.04})
    assert re.sub(r"eta: 0:13:\d\d", "eta: 0:13:20", line) == (
        "[epoch:  3, iter:   1,200, lr: 0.0001] [eta: 0:13:20] l_pix: 0.03457 l_balance: 0.5 "
        "samples_per_s: 32.04"
    )


def test_many_numbers_take_more_lines_of_at_most_160_characters(logged):
    lines, _ = logged(MIXTURE)
    assert 2 <= len(lines) <= 4
    assert STAMP + len(lines[0]) <= 160
    assert all(len(line) <= 160 for line in lines)
    text = " ".join(lines)
    assert not re.search(r"\de[-+]\d", text)
    for name, value in MIXTURE.items():
        assert (f" {name}: " in text) is (value != 0), name


def test_a_share_of_nothing_is_told(logged):
    (line,), _ = logged({"l_pix": 1.0, "share_d2": 0.0, "share_d3": 1.0})
    assert line.endswith("l_pix: 1 share_d2: 0 share_d3: 1")


def test_models_of_the_toolbox_tell_their_seconds(logged):
    (line,), _ = logged({"time": 0.51234, "data_time": 0.01, "l_pix": 1.0})
    assert line.endswith("l_pix: 1 time: 0.512 s data: 0.01 s")


def test_the_remaining_time_is_not_negative_at_the_end(logged):
    (line,), _ = logged({"l_pix": 1.0}, iteration=2000)
    assert "[eta: 0:00:00]" in line


def test_the_first_iteration_has_no_estimate(logged):
    (line,), _ = logged({"l_pix": 1.0}, iteration=1)
    assert line == "[epoch:  3, iter:       1, lr: 0.0001] l_pix: 1"


def test_tensorboard_gets_every_number_and_the_learning_rates(logged):
    _, scalars = logged({**LOSSES, "time": 0.5, "data_time": 0.1}, rates=(1e-4, 1e-5))
    assert scalars == {
        "learning_rate": (1e-4, 1200),
        "learning_rate/1": (1e-5, 1200),
        "losses/l_pix": (0.034567, 1200),
        "losses/l_balance": (0.5, 1200),
        "losses/l_cost": (0.0, 1200),
        "skipped_steps": (0, 1200),
        "data_wait": (0.0, 1200),
    }
    assert logged(LOSSES, tb=False)[1] == {}


@pytest.mark.parametrize("has_own", [True, False])
def test_wandb_of_any_version_names_its_run(has_own, monkeypatch):
    """A module in the place of wandb records how the toolbox starts it."""
    started = {}
    util: Any = types.ModuleType("wandb.util")
    if has_own:
        util.generate_id = lambda: "its own"
    wandb: Any = types.ModuleType("wandb")
    wandb.util = util
    wandb.init = started.update
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "wandb.util", util)
    init_wandb_logger({"name": "tiny", "logger": {"wandb": {"project": "trials"}}})
    assert (started["project"], started["name"], started["sync_tensorboard"]) == ("trials", "tiny", True)
    assert started["id"] == "its own" if has_own else re.fullmatch("[0-9a-f]{8}", started["id"])
