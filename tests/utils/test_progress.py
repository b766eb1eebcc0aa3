"""Progress bars start no thread."""

import io
import threading

import pytest

from moeisr_plugin.utils.progress import Bar


@pytest.mark.parametrize("hidden", [True, False])
def test_a_bar_starts_no_thread(hidden):
    before = threading.active_count()
    with Bar(range(3), desc="stage", file=io.StringIO(), disable=hidden) as bar:
        assert list(bar) == [0, 1, 2]
        assert threading.active_count() == before


def test_lines_are_written_above_a_bar():
    file = io.StringIO()
    with Bar(total=2, file=file):
        Bar.write("a line", file=file)
    assert "a line\n" in file.getvalue()
