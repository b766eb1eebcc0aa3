"""Read option files safely and check all of them before anything is built or written."""

from .checking import OptionsError, Problem, Run, check
from .command_line import options_of_command

__all__ = ["OptionsError", "Problem", "Run", "check", "options_of_command"]
