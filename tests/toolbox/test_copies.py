"""Repair of scripts that are copies of basicsr/train.py."""

import runpy
from pathlib import Path

import basicsr
import pytest
import torch

from moeisr_plugin.toolbox import copies

ALL = {"load_resume_state", "create_train_val_dataloader", "make_exp_dirs"}


@pytest.mark.parametrize(
    ("old", "new", "mended"),
    [
        ("", "", ALL),
        ("# dataloader prefetcher", "# another comment", ALL),
        ("max(states)", "min(states)", ALL),  # it needs a GPU, and none is here
        ("torch.cuda.current_device()", "0", ALL - {"load_resume_state"}),
        ("total_epochs = math.ceil", "total_epochs = int", ALL - {"create_train_val_dataloader"}),
        ("def load_resume_state", "def resume_state", set()),
    ],
)
def test_only_functions_of_the_toolbox_are_replaced(old, new, mended, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    text = Path(basicsr.__file__).with_name("train.py").read_text()
    assert old in text
    script = tmp_path / "train.py"
    script.write_text("import moeisr_plugin\n\n" + text.replace(old, new, 1) if old else text)
    names = runpy.run_path(str(script))
    before = dict(names)
    copies.mend_copy(names)
    assert {name for name in names if names[name] is not before.get(name)} == mended


def test_changed_function_stays_where_there_is_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    text = Path(basicsr.__file__).with_name("train.py").read_text()
    script = tmp_path / "train.py"
    script.write_text(text.replace("max(states)", "min(states)"))
    names = runpy.run_path(str(script))
    own = names["load_resume_state"]
    copies.mend_copy(names)
    assert names["load_resume_state"] is own
