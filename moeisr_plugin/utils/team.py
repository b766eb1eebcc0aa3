"""Share one job among the processes that torchrun starts, on one machine or several.

The processes exchange short JSON texts through the key-value store that torchrun provides. No process group
is needed, so the backend (Gloo or NCCL) does not matter, and processes may take different numbers of turns.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from moeisr_plugin.utils.messages import one_line

Value = TypeVar("Value")

POLL_SECONDS = 0.05
"""Pause between two looks into the store. Short waits keep the process open to signals."""


class Store(Protocol):
    """The methods of `torch.distributed.Store` that a team uses."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def add(self, key: str, value: int, /) -> int: ...
    def check(self, keys: list[str], /) -> bool: ...


class LeaderFailedError(Exception):
    """The leader has failed and printed its message. The other processes end without one."""


class Team:
    """The processes of a run. The default is a team of one, which needs no store.

    Args:
        rank: number of this process in [0, size). Process 0 is the leader, which plans and reports.
        size: number of processes.
        local_rank: number of this process among those of its machine.
        store: the store that all processes share. A team of one does without.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0, store: Store | None = None) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self._store = store
        self._put(f"process/{rank}", [socket.gethostname(), os.getpid()])

    @property
    def leads(self) -> bool:
        """Whether this process plans the run and reports its result."""
        return self.rank == 0

    def shared(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what the leader makes, as JSON passes it on. Lists of lists come back as such.

        Raises:
            LeaderFailedError: this process is not the leader, and the leader could not make it.
        """
        if self._store is None:
            return make()
        if not self.leads:
            answer = self._wait_for(f"shared/{name}")
            if "failure" in answer:
                raise LeaderFailedError(answer["failure"])
            return answer["value"]
        try:
            value = make()
        except BaseException as error:
            self._put(f"shared/{name}", {"failure": one_line(error)})
            raise
        self._put(f"shared/{name}", {"value": value})
        return value

    def first_at_leader(self, name: str, make: Callable[[], Value]) -> Value:
        """Return what `make` returns in each process. The leader calls it first, so errors occur once.

        Raises:
            LeaderFailedError: this process is not the leader, and `make` failed at the leader.
        """
        made: list[Value] = []
        self.shared(name, lambda: made.append(make()))
        return made[0] if made else make()

    def stop(self, message: str) -> None:
        """End the turns of all processes after a failure in this one. The leader reports the message."""
        self._put("failure", message)

    @property
    def failure(self) -> str | None:
        """The message of a process that has stopped the run, or None."""
        return self._get("failure") if self._has("failure") else None

    def turns(self, name: str, count: int) -> Iterator[int]:
        """Yield the numbers in [0, count) that this process works on. Each number goes to one process.

        The numbers end early if a process has stopped the run.
        """
        if self._store is None:
            yield from range(count)
            return
        while not self._has("failure") and (turn := self._store.add(f"turns/{name}", 1) - 1) < count:
            yield turn
            self._store.add(f"done/{name}", 1)

    def done(self, name: str) -> int:
        """Return how many turns all processes together have finished. A team of one does not count them."""
        return 0 if self._store is None else self._store.add(f"done/{name}", 0)

    def works_on(self, name: str) -> None:
        """Record what this process works on, for the message if it is killed."""
        self._put(f"work/{self.rank}", name)

    def gathered(self, name: str, value: Any, progress: Callable[[], None] | None = None) -> list[Any]:
        """Return the values of all processes, ordered by rank. Only the leader waits for them.

        Args:
            name: a key that occurs once in a run.
            value: what this process contributes, as JSON can hold it.
            progress: called while the leader waits.

        Returns:
            The values at the leader, and an empty list elsewhere.

        Raises:
            ValueError: a process of this machine has ended without its value.
        """
        if self._store is None:
            return [value]
        self._put(f"gathered/{name}/{self.rank}", value)
        if not self.leads:
            return []
        return [self._wait_for(f"gathered/{name}/{rank}", rank, progress) for rank in range(self.size)]

    @contextmanager
    def watched(self, report: Callable[[str], None]) -> Iterator[None]:
        """Name a killed process if torchrun interrupts the leader for that reason. Surrounds the whole work.

        Args:
            report: prints the line.
        """
        try:
            yield
            self._put(f"over/{self.rank}", True)
        except KeyboardInterrupt:
            for rank in self._lost() if self.leads else ():
                report(self._of_lost(rank))
            raise

    def _lost(self) -> list[int]:
        """Return the ranks of the processes of this machine that ended before their work was done."""
        known = [rank for rank in range(self.size) if self._has(f"process/{rank}")]
        return [rank for rank in known if not self._has(f"over/{rank}") and not self._exists(rank)]

    def _exists(self, rank: int) -> bool:
        """Return whether a process exists. Those of other machines count as existing."""
        host, process = self._get(f"process/{rank}")
        return host != socket.gethostname() or _is_running(process)

    def _of_lost(self, rank: int) -> str:
        work = f" while it worked on {self._get(f'work/{rank}')}" if self._has(f"work/{rank}") else ""
        return f"process {rank} of {self.size} ended early{work}; run the command again"

    def _wait_for(self, key: str, rank: int = 0, progress: Callable[[], None] | None = None) -> Any:
        """Wait for a value that process `rank` puts into the store."""
        while not self._has(key):
            if self._has(f"process/{rank}") and not self._exists(rank) and not self._has(key):
                raise ValueError(self._of_lost(rank))
            if progress is not None:
                progress()
            time.sleep(POLL_SECONDS)
        return self._get(key)

    def _has(self, key: str) -> bool:
        return self._store is not None and self._store.check([key])

    def _get(self, key: str) -> Any:
        assert self._store is not None
        return json.loads(self._store.get(key))

    def _put(self, key: str, value: Any) -> None:
        if self._store is not None:
            self._store.set(key, json.dumps(value))


def team_of_environment() -> Team:
    """Return the team that torchrun has started, or a team of one.

    Raises:
        ValueError: the environment variables of torchrun are incomplete.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or "RANK" not in os.environ:
        return Team()
    from torch.distributed.rendezvous import rendezvous  # keeps torch out of runs of one process

    try:
        store, rank, size = next(rendezvous("env://"))
    except ValueError as error:
        raise ValueError(f"torchrun: {one_line(error)}; start all processes by torchrun") from error
    return Team(rank, size, int(os.environ.get("LOCAL_RANK", rank)), store)


def _is_running(process: int) -> bool:
    """Return whether a process of this machine runs. One that only awaits its parent (a zombie) does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):
        return True
