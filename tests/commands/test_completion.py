"""`moeisr completion` in the shells themselves, where they are installed."""

import shutil
import subprocess

import pytest

from moeisr_plugin.cli import COMMANDS, main


def script(capsys, shell):
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_scripts_hold_every_command_and_are_valid(tmp_path, capsys, shell):
    text = script(capsys, shell)
    assert all(command in text for command in COMMANDS)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(text)
    subprocess.run([shell, "-n", tmp_path / "script"], check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["upsc"], {"upscale"}),
        (["upscale", "--long"], {"--long-side"}),
        (["upscale", "--format", "we"], {"webp", "webm"}),
        (["upscale", "--weights", "nets/"], {"nets/a.safetensors"}),
        (["upscale", "-i", "nets/"], {"nets/a.safetensors"}),
        (["help", "net"], {"networks"}),
    ],
)
def test_bash_completes_commands_options_values_and_files(tmp_path, capsys, words, expected):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "a.safetensors").touch()
    (tmp_path / "script").write_text(script(capsys, "bash"))
    line = (
        f"source ./script; COMP_WORDS=(moeisr {' '.join(words)}); COMP_CWORD={len(words)}; "
        "$(complete -p moeisr | sed 's/.*-F \\([^ ]*\\).*/\\1/'); printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected, done.stderr
