"""Progress bars."""

from tqdm import tqdm


class Bar(tqdm):
    """Progress bar of tqdm without its monitor thread.

    The thread redraws bars that are rarely updated. Where memory is too short for it, tqdm prints a warning,
    also for a hidden bar.
    """

    monitor_interval = 0
