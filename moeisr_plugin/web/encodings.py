"""Encodings of the pictures that are held: made in the background, kept for views and files."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from moeisr_plugin.pictures import to_layers
from moeisr_plugin.render.memory_estimate import encoding_memory
from moeisr_plugin.upscaler import EncodedPicture, Upscaler
from moeisr_plugin.utils.available_memory import available_memory
from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.utils.shortage import in_bytes, memory_shortage
from moeisr_plugin.web.held_pictures import HeldPicture, HeldPictures
from moeisr_plugin.web.limits import Limits
from moeisr_plugin.web.networks import Networks, experts_of
from moeisr_plugin.web.refused import RefusedError, StoppedError
from moeisr_plugin.web.turns import Turns

_ROUTINGS = 4
"""Routings held of each encoding, one for each budget that was used last."""


class Routed(NamedTuple):
    """An encoding with the routing of a budget.

    Attributes:
        upscaler: the network.
        encoded: the encoding.
        experts: (h, w) uint8, the expert of each stored LR pixel. None for a network without a mixture.
    """

    upscaler: Upscaler
    encoded: EncodedPicture
    experts: np.ndarray | None


@dataclass
class _Entry:
    """An encoding that is waited for, made, ready or failed."""

    state: str = "waiting"
    done: int = 0
    total: int = 0
    started: float = 0.0
    seconds: float = 0.0
    error: str | None = None
    upscaler: Upscaler | None = None
    routings: "OrderedDict[float | None, Routed]" = field(default_factory=OrderedDict)


_Key = tuple[str, str, str]  # picture, network, precision


class Encodings:
    """Make and hold encodings.

    Args:
        pictures: the pictures that are held; encodings of others are dropped.
        networks: the networks.
        turns: turns of the computations.
        limits: the number of encodings.
    """

    def __init__(self, pictures: HeldPictures, networks: Networks, turns: Turns, limits: Limits) -> None:
        self._pictures = pictures
        self._networks = networks
        self._turns = turns
        self._limits = limits
        self._lock = threading.Lock()
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._is_closed = False

    def start(self, held: HeldPicture, network: str, precision: str) -> dict[str, Any]:
        """Begin to encode a picture, unless that has begun, and return the progress.

        Raises:
            RefusedError: the page does not offer the network, or too many encodings are being made.
        """
        self._networks.check(network, precision)
        key = (held.key, network, precision)
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.state == "failed":
                running = sum(each.state in ("waiting", "running") for each in self._entries.values())
                if running >= self._limits.encodings:
                    raise RefusedError("too many pictures are being encoded; wait for one of them", 503)
                entry = self._entries[key] = _Entry()
                threading.Thread(target=self._make, args=(held, key, entry), daemon=True).start()
        return self.progress(held, network, precision)

    def progress(self, held: HeldPicture, network: str, precision: str) -> dict[str, Any]:
        """Return the state of an encoding, and when it is ready, the experts of the network."""
        entry = self._entry((held.key, network, precision))
        found: dict[str, Any] = {"state": entry.state, "done": entry.done, "total": entry.total}
        if entry.state == "running" and entry.done:
            elapsed = time.monotonic() - entry.started
            found["seconds_left"] = round(elapsed / entry.done * (entry.total - entry.done), 1)
        if entry.state == "failed":
            found["error"] = entry.error
        if entry.state == "ready" and entry.upscaler is not None:
            found |= {"seconds": round(entry.seconds, 2), "experts": experts_of(entry.upscaler.net)}
        return found

    def routed(self, held: HeldPicture, network: str, precision: str, budget: float | None) -> Routed:
        """Return an encoding with the routing of a budget; None for that of the mapper.

        Raises:
            RefusedError: it is not ready, or the network has no mixture to give a budget to.
        """
        key = (held.key, network, precision)
        entry = self._entry(key)
        if entry.state != "ready":
            raise RefusedError(entry.error or "the picture is not encoded yet; wait until it is", 409)
        with self._lock:
            found = entry.routings.get(budget)
            of_mapper = entry.routings[None]
        if found is None:
            assert budget is not None
            routed = of_mapper.encoded.within_budget(budget)
            found = of_mapper._replace(encoded=routed, experts=routed.experts())
        with self._lock:
            entry.routings[budget] = found
            for recent in (budget, None):
                entry.routings.move_to_end(recent)
            while len(entry.routings) > _ROUTINGS:
                entry.routings.popitem(last=False)
        return found

    def drop_forgotten(self) -> None:
        """Drop the encodings of pictures that are no longer held."""
        with self._lock:
            for key in [key for key in self._entries if not self._pictures.holds(key[0])]:
                del self._entries[key]

    def close(self) -> None:
        """Stop what is being made, after its present step."""
        self._is_closed = True
        with self._lock:
            self._entries.clear()

    def _entry(self, key: _Key) -> _Entry:
        with self._lock:
            if key not in self._entries:
                raise RefusedError("the picture is not encoded by this network; encode it first", 409)
            self._entries.move_to_end(key)
            return self._entries[key]

    def _make(self, held: HeldPicture, key: _Key, entry: _Entry) -> None:
        """Encode a picture, in a thread of its own."""
        try:
            with self._turns.patient():
                self._check_wanted(key, entry)
                entry.state, entry.started = "running", time.monotonic()
                entry.upscaler = upscaler = self._networks.get(key[1], key[2])
                self._check_memory(held, upscaler)

                def on_tile(done: int, total: int) -> None:
                    entry.done, entry.total = done, total
                    self._check_wanted(key, entry)
                    self._turns.make_way()

                encoded = upscaler.encode(held.picture.pixels, on_tile=on_tile)
                entry.routings[None] = Routed(upscaler, encoded, encoded.experts())
                entry.seconds = time.monotonic() - entry.started
                entry.state = "ready"
        except StoppedError:
            entry.error, entry.state = "the encoding was stopped; start it again", "failed"
        except Exception as error:
            entry.error = memory_shortage(error) or one_line(error)
            entry.state = "failed"
            if not isinstance(error, ValueError | OSError | RuntimeError | MemoryError):
                raise
        finally:
            self._drop_oldest()

    def _check_wanted(self, key: _Key, entry: _Entry) -> None:
        """Raise `StoppedError` if nobody waits for an encoding any longer."""
        is_dropped = self._entries.get(key) is not entry
        if self._is_closed or is_dropped or not self._pictures.holds(key[0]):
            raise StoppedError

    def _check_memory(self, held: HeldPicture, upscaler: Upscaler) -> None:
        """Raise `RefusedError` if less memory is available than the encoding needs."""
        available = available_memory()
        if upscaler.device.type != "cpu" or available is None:
            return
        height, width = held.picture.pixels.shape[:2]
        needed = len(to_layers(held.picture.pixels[:1, :1])) * encoding_memory(upscaler.net, (height, width))
        if needed > available:
            raise RefusedError(
                f"{width}x{height} pixels need about {in_bytes(needed)} of memory, but {in_bytes(available)} "
                "are available; choose bfloat16, or a smaller picture",
                507,
            )

    def _drop_oldest(self) -> None:
        with self._lock:
            ready = [key for key, entry in self._entries.items() if entry.state == "ready"]
            for key in ready[: max(0, len(ready) - self._limits.encodings)]:
                del self._entries[key]
