"""Measurements that several processes share. Threads with a store of torch stand for the processes."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from torch.distributed import HashStore  # pyright: ignore[reportPrivateImportUsage]

from moeisr_plugin.evaluation.results import Record, Skipped
from moeisr_plugin.evaluation.sharing import Measured, SharedMeasurements
from moeisr_plugin.utils.progress import Bar
from moeisr_plugin.utils.team import Team


class Place:
    """A picture with a number."""

    def __init__(self, index):
        self.index = index
        self.label = f"picture {index} at ×2"


PLACES = [Place(index) for index in range(11)]


def in_team(size, work):
    """Run `work` in each process of a team. Return the results by rank."""
    store = HashStore()

    def run(rank):
        with Bar(total=0, disable=True) as bar:
            team = Team(rank, size, rank, store) if size > 1 else Team()  # type: ignore[arg-type]
            return work(team, SharedMeasurements(team, bar))

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))


def measured(method, place):
    if place.index == 4:
        return Measured(None, skipped=Skipped("set", "2", f"p{place.index}", "too small"))
    record = Record(method, "set", "2", "pil", f"p{place.index}", 8, 6, {"psnr": float("inf")})
    return Measured(record, (record, record))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_leader_has_what_all_measured_in_the_order_of_the_pictures(size):
    def work(team, shared):
        for method in ("a", "b"):
            shared.measure(method, PLACES, partial(measured, method))
        found = shared.collected("all", ["a", "b"])
        shared.require_success()
        return found

    leader, *others = in_team(size, work)
    assert leader == [[measured(method, place) for place in PLACES] for method in ("a", "b")]
    assert all(isinstance(each.record, Record) for each in leader[0] if each.record is not None)
    assert others == [[]] * (size - 1)


def test_a_failure_of_another_process_ends_all_turns_and_is_raised_at_the_leader():
    taken = []

    def work(team, shared):
        def fail_elsewhere(place):
            taken.append(place.index)
            if not team.leads:
                raise ValueError(f"{place.label}: is damaged")
            while team.failure is None:
                pass
            return measured("a", place)

        shared.measure("a", PLACES, fail_elsewhere)
        shared.measure("b", PLACES, lambda place: pytest.fail("went on"))
        shared.collected("all", ["a", "b"])
        if team.leads:
            with pytest.raises(ValueError, match=r"^picture \d at ×2: is damaged$"):
                shared.require_success()

    in_team(2, work)
    assert len(taken) == 2


def test_a_team_of_one_raises_a_failure_as_it_is():
    def work(team, shared):
        error = OSError("no such file")

        def fail(place):
            raise error

        with pytest.raises(OSError, match="no such file") as caught:
            shared.measure("a", PLACES, fail)
        assert caught.value is error

    in_team(1, work)
