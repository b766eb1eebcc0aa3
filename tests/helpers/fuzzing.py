"""Fuzzing: mutate files, and read the mutants in a forked process whose crash fails the test."""

import json
import mmap
import os
import random
import resource
import signal
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO

import torch

SECONDS_PER_CASE = 60
EXTRA_MEMORY = 2**30
"""Limit of additional address space of a batch, in bytes."""
STRIKING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def cases(per_cent: int) -> range:
    """Return a share of all cases. There are 2100 times the environment variable MOEISR_FUZZ (default 1)."""
    return range(round(21 * per_cent * float(os.environ.get("MOEISR_FUZZ", "1"))))


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage data in one, two or four offsets.

    Args:
        data: at least 16 bytes.
        rng: source of randomness.
    """
    mutant = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        # Prefer damage near the start, in headers.
        start = rng.randrange(min(len(mutant), rng.choice((64, 512, 2**20))) or 1)
        length = rng.choice((1, 2, 4, 16, 100))
        kind = rng.randrange(7)
        if kind == 0:
            for i in range(start, min(start + length, len(mutant))):
                mutant[i] ^= 1 << rng.randrange(8)
        elif kind == 1:
            _overwrite(mutant, start, rng.randbytes(length))
        elif kind == 2:
            number = struct.pack(rng.choice("<>") + "I", rng.choice(STRIKING))
            _overwrite(mutant, start, number[: rng.choice((2, 4))])
        elif kind == 3:
            _overwrite(mutant, start, bytes([rng.choice((0, 255, 0x30, 0x39))]) * length)
        elif kind == 4:
            del mutant[start : start + length]
        elif kind == 5:
            mutant[start:start] = mutant[start : start + length]
        else:
            del mutant[rng.randrange(len(mutant) + 1) :]
    return bytes(mutant)


def _overwrite(mutant: bytearray, start: int, data: bytes) -> None:
    fitting = data[: len(mutant) - start]
    mutant[start : start + len(fitting)] = fitting


def mutate_png(data: bytes, rng: random.Random) -> bytes:
    """Damage chunks of a PNG and correct their checksums, because readers stop at wrong checksums."""
    mutant, offset = bytearray(data[:8]), 8
    damaged = rng.randrange(5)
    while offset + 12 <= len(data):
        (length,) = struct.unpack(">I", data[offset : offset + 4])
        kind, content = data[offset + 4 : offset + 8], data[offset + 8 : offset + 8 + length]
        if rng.randrange(5) == damaged and content:
            content = mutate(content, rng)
        mutant += struct.pack(">I", len(content)) + kind + content
        mutant += struct.pack(">I", zlib.crc32(kind + content))
        offset += 12 + length
    return bytes(mutant)


def mutate_zip(data: bytes, rng: random.Random) -> bytes:
    """Damage one member of a torch archive, preferably the pickle, and write the archive again."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as damaged:
        members = archive.namelist()
        chosen = rng.choice([name for name in members if name.endswith("data.pkl")] * 4 + members)
        for name in members:
            content = archive.read(name)
            damaged.writestr(name, mutate(content, rng) if name == chosen else content)
    return out.getvalue()


def survive(numbers: range, feed: Callable[[int], bool]) -> None:
    """Run cases in a forked process with limited memory and time. Fail if a case crashes or raises.

    Args:
        numbers: numbers of the cases. A case depends only on its number.
        feed: runs the case of a number and returns whether the mutant was accepted. An exception fails the
            case.
    """
    shared = mmap.mmap(-1, 8 + 2**16)  # number of the current case, then the report
    process = os.fork()
    if process == 0:
        try:
            report = _feed_all(numbers, feed, shared)
        except BaseException as error:
            report = {"failures": [f"the batch: {error!r}"], "accepted": 0}
        shared[8:] = json.dumps(report)[: 2**16].encode("ascii").ljust(2**16)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    number = struct.unpack("q", shared[:8])[0]
    assert status == 0, f"case {number} ended the process: {signal.Signals(-status).name}"
    report = json.loads(shared[8:])
    assert not report["failures"], "\n".join(report["failures"])
    # If all or no mutants are accepted, the mutations are too weak or too strong.
    assert 0 < report["accepted"] < len(numbers)


def _feed_all(numbers: range, feed: Callable[[int], bool], shared: mmap.mmap) -> dict:
    torch.set_num_threads(1)  # a thread pool does not survive a fork
    with open("/proc/self/statm") as file:
        limit = int(file.read().split()[0]) * resource.getpagesize() + EXTRA_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    failures, accepted = [], 0
    for number in numbers:
        shared[:8] = struct.pack("q", number)
        signal.alarm(SECONDS_PER_CASE)  # terminates the process
        try:
            accepted += feed(number)
        except BaseException as error:
            failures.append(f"case {number}: {error!r}"[:500])
    signal.alarm(0)
    return {"failures": failures[:100], "accepted": accepted}
