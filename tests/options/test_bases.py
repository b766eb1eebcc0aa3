"""Options are merged with their bases as mmengine does, and written so that they can be read again."""

import re
from pathlib import Path

import basicsr.train
import pytest
import yaml
from mmengine import Config

from moeisr_plugin.cli import main
from moeisr_plugin.options import OptionsError, Run, check
from moeisr_plugin.options.command_line import options_of_command
from moeisr_plugin.options.parse import force_options, read_options, write_options
from moeisr_plugin.options.shipped import located_options

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OPTIONS = ROOT / "options"
EXPERIMENTS = sorted([*OPTIONS.glob("train/**/*.yml"), *OPTIONS.glob("test/**/*.yml")])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(files):
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def by_mmengine(path):
    return Config.fromfile(path)._cfg_dict.to_dict()


def typed(value):
    """Return the options with the type of each value, in their order."""
    if isinstance(value, dict):
        return [(key, typed(part)) for key, part in value.items()]
    if isinstance(value, list):
        return [typed(part) for part in value]
    return type(value), value


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_mmengine_reads_the_same_options_from_a_file(path, folder):
    options = read_options(path)
    assert typed(options) == typed(by_mmengine(path))
    (folder / "resolved.yml").write_text(write_options(options))
    assert typed(options) == typed(read_options("resolved.yml")) == typed(by_mmengine("resolved.yml"))


def test_option_files_are_short():
    lines = {path: len(path.read_text().splitlines()) for path in OPTIONS.rglob("*.yml")}
    assert sum(lines.values()) <= 1500
    assert all(lines[path] <= 40 for path in EXPERIMENTS)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_command_in_the_head_of_a_file_names_the_file(path):
    [named] = re.findall(r"^# .*moeisr_plugin\.(?:train|test) -opt (\S+)", path.read_text(), re.MULTILINE)
    assert Path(located_options(named)).resolve() == path


MERGED = {
    "file": {
        "a.yml": "_base_: b/c.yml\nx: {y: 1}\n",
        "b/c.yml": "_base_: d.yml\nx: {y: 2, z: 3}\nw: 1.0e-4\n",
        "b/d.yml": "v: [1, 2]\nx: {y: 3, u: {t: ~}}\n",
    },
    "list": {"a.yml": "_base_: [b.yml, c.yml]\nx: 2\n", "b.yml": "x: 1\n", "c.yml": "y: {z: [{a: 1}]}\n"},
    "replaced": {
        "a.yml": "_base_: b.yml\nx: {_delete_: true, y: 1}\nv: {w: {_delete_: true}}\n",
        "b.yml": "x: {z: {k: 2}}\nv: {w: {x: 1}, y: 2}\n",
    },
    "not replaced": {"a.yml": "_base_: b.yml\nx: {_delete_: false, y: 1}\n", "b.yml": "x: {z: 2}\n"},
    "section to value": {"a.yml": "_base_: b.yml\nx: ~\n", "b.yml": "x: {z: 2}\n"},
    "value to section": {"a.yml": "_base_: b.yml\nx: {_delete_: true, y: 1}\n", "b.yml": "x: ~\n"},
    "anchors": {"a.yml": "_base_: b.yml\nx: {y: 1}\n", "b.yml": "x: &x {y: 0, z: 2}\nv: {<<: *x, z: 3}\n"},
}


@pytest.mark.parametrize("case", MERGED)
def test_bases_merge_as_in_mmengine(case):
    write(MERGED[case])
    options = read_options("a.yml")
    assert typed(options) == typed(by_mmengine("a.yml"))
    assert not {"_base_", "_delete_"}.intersection(write_options(options).split())


REFUSED = {
    "missing": ({"a.yml": "_base_: b.yml\n"}, "b.yml: No such file or directory; correct _base_ in a.yml"),
    "cycle": (
        {"a.yml": "_base_: b/b.yml\n", "b/b.yml": "_base_: ../a.yml\n"},
        "b/b.yml: _base_: ../a.yml has this file as a base in turn; remove one of the two",
    ),
    "itself": (
        {"a.yml": "_base_: a.yml\n"},
        "a.yml: _base_: a.yml has this file as a base in turn; remove one",
    ),
    "type": ({"a.yml": "_base_: 3\n"}, "a.yml: _base_: is 3; give an option file or a list of them"),
    "types": ({"a.yml": "_base_: [3]\n"}, "a.yml: _base_: is [3]; give an option file or a list of them"),
    "twice": (
        {"a.yml": "_base_: [b.yml, c.yml]\n", "b.yml": "x: {y: 1}\n", "c.yml": "x: {z: 1}\n"},
        "a.yml: _base_: c.yml and b.yml both define x; remove it from one, or make one the base of the other",
    ),
    "line": (
        {"a.yml": "_base_: b.yml\n", "b.yml": "x: 1\nx: 2\n"},
        "b.yml:2: key x is there twice, first in",
    ),
    "empty": ({"a.yml": "_base_: b.yml\n", "b.yml": ""}, "b.yml: the file is empty; correct _base_ in a.yml"),
    "section over value": (
        {"a.yml": "_base_: b.yml\nx: {y: {z: 1}}\n", "b.yml": "x: {y: 1}\n"},
        "a.yml: x.y: is a section, but 1 in b.yml; add _delete_: true to replace it",
    ),
    "nothing to replace": (
        {"a.yml": "x: {_delete_: true}\n"},
        "a.yml: x._delete_: no base has x; remove the line",
    ),
    "no boolean": (
        {"a.yml": "_base_: b.yml\nx: {_delete_: 1}\n", "b.yml": "x: {}\n"},
        "a.yml: x._delete_: is 1; give true or false",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bases_that_cannot_be_merged_are_one_line(case):
    files, message = REFUSED[case]
    write(files)
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}[^\n]*$"):
        read_options("a.yml")


def test_a_problem_names_the_file_in_which_the_key_stands(folder, training_options):
    training_options["network_g"]["tua"] = 1
    training_options["train"]["total_iter"] = 0
    training_options["logger"]["print_freq"] = 0
    write({"b.yml": yaml.safe_dump(training_options), "a.yml": "_base_: b.yml\ntrain: {warmup_iter: x}\n"})
    with pytest.raises(OptionsError) as raised:
        options_of_command(
            ["-opt", "a.yml", "--debug", "--force_yml", "logger:print_freq=-1"], str(folder), is_train=True
        )
    files = {line.split(": ")[1]: line.split(": ")[0] for line in raised.value.lines}
    assert files == {
        "network_g.tua": "b.yml",
        "train.total_iter": "b.yml",
        "train.warmup_iter": "a.yml",
        "logger.print_freq": "a.yml",
    }


def test_the_word_none_can_be_forced(training_options):
    opt = force_options(training_options, ["datasets:train:cache=none", "datasets:train:prefetch_mode=none"])
    sound, problems = check(opt, Run(), check_files=False)
    assert problems == []
    train = sound["datasets"]["train"]
    assert (train["cache"], train["prefetch_mode"]) == ("none", None)


def test_the_command_prints_the_resolved_options(capsys):
    write({"a.yml": "_base_: b.yml\nname: a\n", "b.yml": "name: b\ntrain: {lr: 1e-4, m: [1, 2]}\n"})
    assert main(["options", "a.yml", "--force_yml", "train:x=none", "name=1e5"]) == 0
    text = capsys.readouterr().out
    assert text == "name: 100000.0\ntrain:\n  lr: 0.0001\n  m: [1, 2]\n  x: null\n"
    assert main(["options", "c.yml"]) == 2
    assert capsys.readouterr().err.startswith("moeisr options: c.yml: No such file or directory; ")


SCRIPT = """
import moeisr_plugin
from basicsr.train import train_pipeline

if __name__ == "__main__":
    train_pipeline(".")
"""


def test_a_training_keeps_resolved_options_that_give_the_same_training(folder, training_options, warm):
    training_options.update(manual_seed=None)
    write({"bases/b.yml": yaml.safe_dump(training_options), "mine.py": SCRIPT})
    write({"a.yml": "_base_: bases/b.yml\ntrain: {total_iter: 3}\n"})
    forced = ["--force_yml", "logger:print_freq=2"]
    commands = [
        ["mine.py", "-opt", "a.yml", *forced],
        ["-m", "moeisr_plugin.train", "-opt", "experiments/try/options.yml", "--auto_resume"],
        ["-m", "moeisr_plugin.train", "-opt", "experiments/try/options.yml"],
    ]
    kept = []
    for command in commands:
        done = warm.run(*command)
        assert done.returncode == 0, done.stderr
        kept.append(read_options("experiments/try/options.yml"))
    assert isinstance(kept[0]["manual_seed"], int)
    assert kept[0]["logger"]["print_freq"] == 2
    changed = {"train": {**training_options["train"], "total_iter": 3}, "logger": {**kept[0]["logger"]}}
    assert kept[0] == {**training_options, **changed, "manual_seed": kept[0]["manual_seed"]}
    assert kept[1] == kept[2] == kept[0]
    head = Path("experiments/try/options.yml").read_text().splitlines()[:3]
    assert head[1] == "# CMD:"
    [archived] = Path("experiments").glob("try_archived_*")
    assert sorted(path.name for path in archived.glob("*.yml")) == ["a.yml", "options.yml"]


def test_copying_options_is_mended_where_scripts_import_it_from():
    assert basicsr.train.copy_opt_file.__wrapped__.__name__ == "copy_opt_file"
