"""Processes that share one job. Threads with a store of torch stand for the processes."""

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore  # pyright: ignore[reportPrivateImportUsage]

from moeisr_plugin.utils.team import LeaderFailedError, Team, team_of_environment


def as_team(size, work):
    """Run `work` in each process of a team. Return the results by rank."""
    store = HashStore()
    teams = [Team(rank, size, rank, store) for rank in range(size)]  # type: ignore[arg-type]
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(work, teams))


def test_a_team_of_one_needs_no_store():
    team = Team()
    assert team.leads
    assert team.shared("plan", lambda: [1, None]) == [1, None]
    assert list(team.turns("pictures", 3)) == [0, 1, 2]
    assert team.gathered("counts", 5) == [5]


@pytest.mark.parametrize("size", [2, 3])
def test_every_turn_is_taken_once(size):
    taken = as_team(size, lambda team: list(team.turns("pictures", 37)))
    assert Counter(turn for turns in taken for turn in turns) == Counter(range(37))


def test_all_have_what_the_leader_makes_and_only_the_leader_has_what_all_give():
    def work(team):
        plan = team.shared("plan", lambda: ["a\udcff.png", team.rank])
        return plan, team.gathered("ranks", 10 * team.rank)

    results = as_team(3, work)
    assert [plan for plan, _ in results] == [["a\udcff.png", 0]] * 3
    assert [gathered for _, gathered in results] == [[0, 10, 20], [], []]


def test_a_failure_of_the_leader_ends_the_others():
    def fail():
        raise ValueError("no such folder")

    def work(team):
        with pytest.raises(ValueError if team.leads else LeaderFailedError, match="no such folder"):
            team.shared("plan", fail)
        return True

    assert as_team(2, work) == [True, True]


def test_each_process_makes_its_own_after_the_leader():
    order = []

    def make(team):
        order.append(team.rank)
        return {team.rank}  # no JSON

    assert as_team(3, lambda team: team.first_at_leader("sets", lambda: make(team))) == [{0}, {1}, {2}]
    assert order[0] == 0


def test_what_fails_at_the_leader_is_not_made_elsewhere():
    def make(team):
        assert team.leads
        raise ValueError("no such folder")

    def work(team):
        with pytest.raises(ValueError if team.leads else LeaderFailedError, match="no such folder"):
            team.first_at_leader("sets", lambda: make(team))
        return True

    assert as_team(2, work) == [True, True]


def test_a_process_that_stops_ends_the_turns_of_all():
    store = HashStore()
    teams = [Team(rank, 2, rank, store) for rank in range(2)]  # type: ignore[arg-type]
    turns = teams[0].turns("pictures", 9)
    assert next(turns) == 0
    assert teams[0].failure is None
    teams[1].stop("p3 is damaged")
    assert teams[0].failure == "p3 is damaged"
    assert list(turns) == []
    assert list(teams[1].turns("others", 9)) == []


def store_with_a_process_that_ended():
    """Return a store in which process 1 has begun with a picture and does not exist any more."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    store = HashStore()
    other = Team(1, 2, 1, store)  # type: ignore[arg-type]
    other.works_on("b.png")
    other._put("process/1", [os.uname().nodename, ended.pid])
    return store


def test_a_process_that_ended_early_is_named_while_the_leader_waits():
    team = Team(0, 2, 0, store_with_a_process_that_ended())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"process 1 of 2 ended early while it worked on b\.png; run"):
        team.gathered("counts", 1)


@pytest.mark.usefixtures("heard_interrupts")
def test_a_process_that_ended_early_is_named_when_torchrun_ends_the_leader():
    team = Team(0, 2, 0, store_with_a_process_that_ended())  # type: ignore[arg-type]
    lines = []
    with pytest.raises(KeyboardInterrupt), team.watched(lines.append):
        raise KeyboardInterrupt
    assert lines == ["process 1 of 2 ended early while it worked on b.png; run the command again"]


@pytest.mark.usefixtures("heard_interrupts")
def test_a_process_whose_work_is_over_did_not_end_early():
    store = store_with_a_process_that_ended()
    store.set("over/1", "true")
    team = Team(0, 2, 0, store)  # type: ignore[arg-type]
    lines = []
    with pytest.raises(KeyboardInterrupt), team.watched(lines.append):
        raise KeyboardInterrupt
    assert lines == []


def test_a_run_without_torchrun_is_a_team_of_one(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")  # as some schedulers set it
    assert team_of_environment().size == 1


def test_incomplete_variables_of_torchrun_are_named(monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match=r"torchrun: .*MASTER_ADDR.*; start all processes by torchrun"):
        team_of_environment()
