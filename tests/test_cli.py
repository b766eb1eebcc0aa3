"""`moeisr` as a whole: its help, and that every argument is explained."""

import argparse

import pytest

from moeisr_plugin import cli


def printed(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_a_command_is_that_of_the_option(capsys, command):
    text = printed(capsys, "help", command)
    assert text == printed(capsys, command, "--help")
    assert text.startswith(f"usage: moeisr {command} ")


def test_help_lists_every_command(capsys):
    text = printed(capsys, "help")
    assert text == printed(capsys, "--help")
    assert all(f"    {command}" in text for command in ("help", *cli.COMMANDS))


def test_help_of_an_unknown_command_is_one_line(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["help", "upscal"])
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_argument_has_a_help_text():
    parser = cli._parser(cli.COMMANDS)
    (commands,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    silent = [
        (name, action.dest)
        for name, command in commands.choices.items()
        for action in command._actions
        if not action.help
    ]
    assert silent == []
