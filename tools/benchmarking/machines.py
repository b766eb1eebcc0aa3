"""The names of machines in tables and figures."""

import re
from collections.abc import Mapping
from typing import Any

_INSTRUCTIONS = {"AVX2": "AVX2", "AVX512": "AVX-512"}


def name_of(machine: Mapping[str, Any]) -> str:
    """Return the name of a processor with its vector instructions, which decide its speed.

    Args:
        machine: what a report states, see `moeisr_plugin.evaluation.machine`.
    """
    name = re.sub(r"\(R\)| Processor", "", machine["cpu"])
    instructions = _INSTRUCTIONS.get(machine.get("cpu_capability", ""))
    return f"{name} with {instructions}" if instructions else name
