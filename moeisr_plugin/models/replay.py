"""Train on kept batches, so that a frozen encoder and a constant teacher run once for each of them.

On a CPU, the encoder and the teacher take most of the time of an iteration in which a small expert learns.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.models.batches import Batch
from moeisr_plugin.utils.available_memory import available_memory
from moeisr_plugin.utils.tensor_files import CheckpointError, read_tensor_file


class KeptBatch(NamedTuple):
    """A batch, and what its frozen parts give.

    Attributes:
        batch: the samples.
        latent: output of the encoder, (B, D, h, w).
        target: colours of the teacher, (B, Q, 3); None without a teacher, or with one that still learns.
    """

    batch: Batch
    latent: Tensor
    target: Tensor | None


class Replay:
    """The batches of the first iterations. Later iterations repeat them, each time all in a new random order.

    The order depends on the seed and the iteration alone, so that a resumed training continues it.

    Args:
        size: number of batches to keep.
        seed: seed of the order.
        rank: index of the process, which keeps its own batches.
    """

    def __init__(self, size: int, *, seed: int, rank: int = 0):
        self.size = size
        self._seed, self._name = seed, f"replay_{rank}.pth"
        self._kept: list[KeptBatch] = []
        self._saved: tuple[Path, int] | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, iteration: int) -> KeptBatch | None:
        """Return the batch of an iteration, counted from 1; None if it is a new one, to be kept."""
        if len(self._kept) < self.size:
            return None
        lap, position = divmod(iteration - 1, self.size)
        order = torch.randperm(self.size, generator=torch.Generator().manual_seed(self._seed + lap))
        return self._kept[int(order[position])]

    def keep(self, batch: Batch, latent: Tensor, target: Tensor | None) -> None:
        """Add a batch; see :class:`KeptBatch`.

        Raises:
            ValueError: the memory does not suffice for all batches, estimated at the first one.
        """
        kept = KeptBatch(batch, latent, target)
        if not self._kept:
            self._check_memory(kept)
        self._kept.append(kept)

    def _check_memory(self, kept: KeptBatch) -> None:
        tensors = [tensor for tensor in (*kept.batch, kept.latent, kept.target) if tensor is not None]
        each = sum(tensor.nbytes for tensor in tensors)
        device = kept.latent.device
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
        if free is not None and self.size * each > free:
            need = f"{self.size} batches of {each / 1e6:.3g} MB need {self.size * each / 1e9:.3g} GB"
            raise ValueError(
                f"train.replay_batches: {need}, but {free / 1e9:.3g} GB are free; at most {free // each} fit"
            )

    def save(self, folder: str | Path) -> None:
        """Write the batches to a file in a folder, unless they are there from the last call.

        Raises:
            CheckpointError: the file cannot be written.
        """
        path = Path(folder, self._name)
        if self._saved != (path, len(self)):
            kept = [{**b.batch._asdict(), "latent": b.latent, "target": b.target} for b in self._kept]
            save_checkpoint(path, {"size": self.size, "kept": kept})
            self._saved = (path, len(self))

    def load(self, folder: str | Path, *, iteration: int, device: torch.device) -> None:
        """Read the batches with which a training continues.

        Args:
            folder: that of `save`.
            iteration: iterations done.
            device: device of the tensors.

        Raises:
            ValueError: the file is missing, damaged, or of another number of batches; one line.
        """
        path, remedy = Path(folder, self._name), "start again without --auto_resume"
        try:
            state = read_tensor_file(path)
        except CheckpointError as error:
            raise ValueError(f"{error}; it holds the batches of train.replay_batches; {remedy}") from None
        size, kept = state["size"], state["kept"]
        if size != self.size:
            raise ValueError(
                f"train.replay_batches: is {self.size}, but {path} has {size}; set it back, or {remedy}"
            )
        if len(kept) < min(iteration, size):
            raise ValueError(f"{path}: holds {len(kept)} of {min(iteration, size)} batches; {remedy}")
        self._kept = [_on(device, each) for each in kept[:iteration]]
        self._saved = (path, len(self))


def replay_of(opt: Mapping[str, Any]) -> Replay | None:
    """Return the kept batches of a training by its options; None if it keeps none."""
    size = opt["train"].get("replay_batches", 0)
    return Replay(size, seed=opt["manual_seed"], rank=opt["rank"]) if size else None


def _on(device: torch.device, kept: Mapping[str, Tensor | None]) -> KeptBatch:
    tensors: dict[str, Any] = {name: None if t is None else t.to(device) for name, t in kept.items()}
    latent, target = tensors.pop("latent"), tensors.pop("target")
    return KeptBatch(Batch(**tensors), latent, target)


@contextmanager
def latents(encoder: nn.Module, kept: KeptBatch | None, *, collect: bool) -> Iterator[list[Tensor]]:
    """Give the output of an encoder in the context, without computing it for a kept batch.

    Args:
        encoder: the encoder of the network that runs in the context.
        kept: the batch, if it is a kept one.
        collect: collect the outputs of the encoder.

    Yields:
        A list of the outputs without their graphs, (B, D, h, w) each. It is filled in the context, and stays
        empty if they are not collected.
    """
    outputs: list[Tensor] = []
    if kept is not None:
        latent = kept.latent
        outputs.append(latent)
        encoder.forward = lambda *_: latent  # hooks still run
        try:
            yield outputs
        finally:
            del encoder.forward
    elif collect:
        hook = encoder.register_forward_hook(lambda _module, _inputs, output: outputs.append(output.detach()))
        try:
            yield outputs
        finally:
            hook.remove()
    else:
        yield outputs
