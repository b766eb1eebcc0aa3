"""Share the measurements of an evaluation among the processes of a team."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from moeisr_plugin.data.scaled_set import SampleReference
from moeisr_plugin.evaluation.results import Record, Skipped
from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.utils.progress import Bar
from moeisr_plugin.utils.team import Team


class Measured(NamedTuple):
    """What a method yields for one picture: its record, or the reason why it has none."""

    record: Record | None
    budgets: tuple[Record, ...] = ()
    skipped: Skipped | None = None


class SharedMeasurements:
    """The measurements of all methods. Each picture of a method is measured by one process.

    Args:
        team: the processes.
        bar: the progress bar of the leader, in pictures.
    """

    def __init__(self, team: Team, bar: Bar) -> None:
        self._team = team
        self._bar = bar
        self._own: dict[str, list[tuple[int, Measured]]] = {}

    def measure(
        self, method: str, places: Sequence[SampleReference], work: Callable[[SampleReference], Measured]
    ) -> None:
        """Measure a method on the pictures that this process takes.

        In a team of several, a failure ends the turns of all processes, and `require_success` raises it.

        Raises:
            ValueError, OSError: a picture or the method cannot be used, in a team of one.
        """
        own = self._own[method] = []
        try:
            for index in self._team.turns(method, len(places)):
                if self._team.size > 1:
                    self._team.works_on(f"{places[index].label} by {method}")
                own.append((index, work(places[index])))
                self._show(1)
        except (ValueError, OSError) as error:
            if self._team.size == 1:
                raise
            self._team.stop(one_line(error))

    def collected(self, name: str, methods: Sequence[str]) -> list[list[Measured]]:
        """Return the measurements of all processes at the leader, by method, in the order of the pictures.

        Other processes get nothing.

        Args:
            name: a name that occurs once in a run.
            methods: the methods. After a failure, `measure` may have been called for a part of them.

        Raises:
            ValueError: another process has ended early.
        """
        own = [self._own.get(method, []) for method in methods]
        parts = self._team.gathered(name, own, lambda: self._show(0))
        found = []
        for of_method in zip(*parts, strict=True):
            values = {index: value for part in of_method for index, value in part}
            found.append([_restored(*values[index]) for index in sorted(values)])
        return found

    def require_success(self) -> None:
        """Check that no process of the team has failed.

        Raises:
            ValueError: one has failed.
        """
        if (failure := self._team.failure) is not None:
            raise ValueError(failure)

    def _show(self, more: int) -> None:
        """Advance the bar: in a team of one by a number of pictures, otherwise to those of all processes."""
        if self._team.size > 1:
            more = sum(map(self._team.done, self._own)) - self._bar.n
        self._bar.update(more)


def _restored(record: Sequence | None, budgets: Sequence[Sequence], skipped: Sequence | None) -> Measured:
    """Restore a measurement from lists, as JSON passes it on."""
    return Measured(
        record=None if record is None else Record(*record),
        budgets=tuple(Record(*each) for each in budgets),
        skipped=None if skipped is None else Skipped(*skipped),
    )
