"""The entry points register the package and pass their arguments to the pipelines of the toolbox."""

import os
import subprocess
import sys
from pathlib import Path

import moeisr_plugin  # isort: skip  (before basicsr, which it mends)
import basicsr
import pytest
import torch
import yaml
from basicsr.archs import build_network
from processes import settings_of

import moeisr_plugin.test
import moeisr_plugin.train
from moeisr_plugin import run

pytestmark = pytest.mark.slow

TOOLBOX = Path(str(basicsr.__file__)).parent


@pytest.fixture
def clone(tmp_path) -> Path:
    """A clone of the toolbox: its modules are the installed ones, but they are imported from here."""
    package = tmp_path / "my clone" / "basicsr"
    package.mkdir(parents=True)
    for path in TOOLBOX.iterdir():
        if path.name != "__pycache__":
            (package / path.name).symlink_to(path)
    return package.parent


@pytest.fixture
def executed(monkeypatch) -> list:
    """The commands by which `run` would replace this process; each ends the test with SystemExit."""
    calls = []

    def execv(path, arguments):
        calls.append((arguments, os.environ["PYTHONPATH"].split(os.pathsep)))
        raise SystemExit

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    return calls


def start(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
    run.main()


# train.py and test.py


@pytest.mark.parametrize(
    ("module", "pipeline"),
    [
        (moeisr_plugin.train, "basicsr.train.train_pipeline"),
        (moeisr_plugin.test, "basicsr.test.test_pipeline"),
    ],
)
def test_output_goes_below_the_current_directory(module, pipeline, tmp_path, monkeypatch):
    roots = []
    monkeypatch.setattr(pipeline, roots.append)
    monkeypatch.chdir(tmp_path)
    module.main()
    assert roots == [str(tmp_path)]


@pytest.mark.parametrize("module", [moeisr_plugin.train, moeisr_plugin.test])
def test_entry_points_take_the_arguments_of_the_toolbox(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "-h"])
    with pytest.raises(SystemExit, match="0"):
        module.main()
    assert "-opt" in capsys.readouterr().out


def test_a_test_started_as_a_module_writes_below_the_current_directory(tmp_path, training_options, warm):
    opt = {
        key: training_options[key] for key in ("name", "num_gpu", "manual_seed", "model_type", "network_g")
    }
    opt["datasets"] = {"test_1": training_options["datasets"]["val_1"]}
    opt["path"] = {"pretrain_network_g": "weights.pth"}
    opt["val"] = {"save_img": False}
    net = build_network(opt["network_g"])
    torch.save({"params": net.state_dict()}, tmp_path / "weights.pth")
    (tmp_path / "test.yml").write_text(yaml.safe_dump(opt))
    done = warm.run("-m", "moeisr_plugin.test", "-opt", "test.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "results/try").glob("*.log"))
    assert not (TOOLBOX.parent / "results").exists()


# run.py


def test_run_uses_the_toolbox_of_the_clone_also_in_spawned_workers(clone, tmp_path):
    script = clone / "basicsr/work.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "import basicsr\n"
        "from basicsr.utils.registry import ARCH_REGISTRY\n"
        "if __name__ == '__main__':\n"
        "    print(__file__, sys.argv, basicsr.__file__, 'EDSREncoder' in ARCH_REGISTRY, sep='\\n')\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(eval, (\"__import__('basicsr').__file__\",)))\n"
        "        print(pool.apply(eval, (\"'moeisr_plugin.archs' in __import__('sys').modules\",)))\n"
    )
    command = [sys.executable, "-m", "moeisr_plugin.run", str(script), "-opt", "a b.yml"]
    done = subprocess.run(
        command, cwd=tmp_path, env=settings_of("", {}), capture_output=True, text=True, timeout=120
    )
    toolbox = str(clone / "basicsr/__init__.py")
    arguments = str([str(script), "-opt", "a b.yml"])
    assert done.stdout.splitlines() == [str(script), arguments, toolbox, "True", toolbox, "True"], done.stderr


def test_run_restarts_with_the_clone_first_and_the_same_arguments(clone, monkeypatch, executed):
    script = clone / "basicsr/train.py"
    with pytest.raises(SystemExit):
        start(monkeypatch, script, "-opt", "a b.yml")
    command = [sys.executable, "-m", "moeisr_plugin.run", str(script), "-opt", "a b.yml"]
    assert executed == [(command, [str(clone), "elsewhere"])]


def test_run_restarts_only_once(clone, monkeypatch, executed):
    monkeypatch.setenv("PYTHONPATH", str(clone))
    with pytest.raises(SystemExit, match="start from another folder"):
        start(monkeypatch, clone / "basicsr/train.py")
    assert executed == []


def test_run_refuses_a_clone_that_lacks_its_version(clone, monkeypatch, executed):
    (clone / "basicsr/version.py").unlink()
    with pytest.raises(SystemExit, match=r"version\.py is missing"):
        start(monkeypatch, clone / "basicsr/train.py")
    assert executed == []


def test_run_starts_the_train_script_of_the_toolbox_in_use(monkeypatch, executed, capsys):
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit, match="0"):
        start(monkeypatch, TOOLBOX / "train.py", "-h")
    assert "--auto_resume" in capsys.readouterr().out
    assert executed == []


def test_run_resumes_a_training_with_the_train_script_of_the_clone(clone, tmp_path, training_options, warm):
    (tmp_path / "train.yml").write_text(yaml.safe_dump(training_options))
    arguments = (str(clone / "basicsr/train.py"), "-opt", "train.yml", "--auto_resume")

    def run_script():  # in the process that `run` restarts
        return warm.run("-m", "moeisr_plugin.run", *arguments, cwd=tmp_path, first_path=str(clone))

    trained = run_script()
    assert trained.returncode == 0, trained.stderr
    experiment = clone / "experiments" / training_options["name"]
    assert (experiment / "models/net_g_latest.pth").is_file()
    again = run_script()
    assert again.returncode == 0, again.stderr
    assert f"{experiment}: training has finished at iteration 1" in again.stdout


def test_run_reports_a_problem_of_the_options_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit, match="2"):
        start(monkeypatch, TOOLBOX / "train.py", "-opt", tmp_path / "none.yml")
    assert "none.yml" in capsys.readouterr().err.splitlines()[0]


def test_run_starts_a_script_outside_of_any_clone(tmp_path, monkeypatch, capsys):
    (tmp_path / "beside_the_script.py").write_text("word = 'found'")
    script = tmp_path / "script.py"
    script.write_text("import beside_the_script, sys; print(beside_the_script.word, sys.argv[1:])")
    monkeypatch.setattr(sys, "path", list(sys.path))
    start(monkeypatch, script, "x")
    assert capsys.readouterr().out.strip() == "found ['x']"


@pytest.mark.parametrize(("arguments", "words"), [([], "usage:"), (["none.py"], r"none\.py: no such script")])
def test_run_without_a_script_is_refused(arguments, words, monkeypatch):
    with pytest.raises(SystemExit, match=words):
        start(monkeypatch, *arguments)


def test_run_help(monkeypatch, capsys):
    start(monkeypatch, "--help")
    assert capsys.readouterr().out.startswith("usage:")
