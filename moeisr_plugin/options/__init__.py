"""Strict options: an option file is read safely and checked whole before anything is built or written."""

from .checking import OptionsError, Problem, Run, check
from .command_line import options_of_command

__all__ = ["OptionsError", "Problem", "Run", "check", "options_of_command"]
