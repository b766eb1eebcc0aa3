"""Messages of a log that fit on a screen."""

from moeisr_plugin.utils.log_lines import INDENT, STAMP, WIDTH, wrapped


def test_short_messages_stay_in_one_line():
    assert wrapped("Head:", ["a: 1", "b: 2"]) == "Head: a: 1 b: 2"
    assert wrapped("Head:", []) == "Head:"


def test_long_messages_go_on_in_indented_lines_and_lose_nothing():
    parts = [f"number_{index}: {index}" for index in range(60)]
    first, *others = wrapped("Head:", parts).split("\n")
    assert len(others) >= 3
    assert WIDTH - STAMP - 15 < len(first) <= WIDTH - STAMP
    assert all(WIDTH - 15 < len(line) <= WIDTH for line in others[:-1])
    assert all(line.startswith(INDENT + "number") for line in others)
    assert " ".join([first, *(line.strip() for line in others)]) == " ".join(["Head:", *parts])
