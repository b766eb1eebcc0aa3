"""Garbage collection is off only while torch is imported for the first time."""

import pytest
from processes import run_python

CODE = """
import gc, sys
from moeisr_plugin.utils.collection import torch_exempt_from_collection
if sys.argv[1] == "loaded":
    sys.modules["torch"] = sys
try:
    with torch_exempt_from_collection():
        print(gc.isenabled())
        raise KeyError
except KeyError:
    print(gc.isenabled(), gc.get_freeze_count() > 0)
"""


@pytest.mark.parametrize(
    ("torch", "expected"), [("absent", ["False", "True", "True"]), ("loaded", ["True", "True", "False"])]
)
def test_collection_is_off_inside_and_what_exists_is_exempt_afterwards(torch, expected):
    assert run_python(CODE, torch).stdout.split() == expected
