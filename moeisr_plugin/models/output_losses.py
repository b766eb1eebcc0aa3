"""Losses between the outputs of a network and their targets, as shares of those of a batch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from basicsr.losses import build_loss
from torch import Tensor, nn

from moeisr_plugin.losses.names import PICTURE_LOSSES
from moeisr_plugin.models.batches import Batch
from moeisr_plugin.utils import processes


class OutputLosses:
    """The losses that compare outputs with targets.

    Args:
        train_opt: the options of the training.
        pixel: the pixel loss, if there is one.
        perceptual: the perceptual loss, if there is one. It returns a loss of features and one of style, of
            which either may be None.
    """

    def __init__(
        self, train_opt: Mapping[str, Any], *, pixel: nn.Module | None, perceptual: nn.Module | None
    ):
        self.pixel = pixel
        self.perceptual = perceptual
        self.variation, self.frequency = (
            build_loss(train_opt[key]) if train_opt.get(key) else None for key in ("tv_opt", "frequency_opt")
        )
        self._of_pictures = [f"train.{name}_opt" for name in PICTURE_LOSSES if train_opt.get(f"{name}_opt")]

    def check_targets(self, targets: Tensor) -> None:
        """Raise ValueError if there is a loss of whole pictures and the targets are single queries."""
        if self._of_pictures and targets.ndim != 4:
            raise ValueError(f"{self._of_pictures[0]}: needs whole patches; set datasets.train.sample_q: all")

    def __call__(self, outputs: Tensor, targets: Tensor, share: "Share") -> dict[str, Tensor]:
        """Return the losses by name.

        Args:
            outputs, targets: (B, Q, 3), or pictures (B, 3, H, W), of a part of a batch.
            share: scales a loss to its share of the batch.
        """
        losses = {}
        if self.pixel is not None:
            losses["l_pix"] = share(self.pixel, self.pixel(outputs, targets))
        if self.perceptual is not None:
            of_features = self.perceptual(outputs, targets)
            for name, loss in zip(("l_percep", "l_style"), of_features, strict=True):
                if loss is not None:
                    losses[name] = share(self.perceptual, loss)
        if self.variation is not None:
            losses["l_tv"] = share(self.variation, self.variation(outputs))
        if self.frequency is not None:
            losses["l_freq"] = share(self.frequency, self.frequency(outputs, targets))
        return losses


class Share:
    """Scales the loss of a part of a batch, so that the sum over the parts is the loss of the batch.

    Gradients are averaged over the processes afterwards.

    Args:
        part: the part.
        batch: the batch of this process.
    """

    def __init__(self, part: Batch, batch: Batch):
        self.of_mean = len(part.lr) / len(batch.lr)

    def __call__(self, criterion: Any, loss: Tensor) -> Tensor:
        """Return a loss, scaled by the `reduction` of its criterion; without one, it is a mean."""
        is_sum = getattr(criterion, "reduction", "mean") == "sum"
        return loss * (processes.size() if is_sum else self.of_mean)


@contextmanager
def weights_of_vgg_named(train_opt: Mapping[str, Any]) -> Iterator[None]:
    """Turn a failed download of the weights of VGG into one line that says where to put them.

    Raises:
        ValueError: the weights are neither there nor can be downloaded.
    """
    try:
        yield
    except OSError as error:
        options = train_opt.get("perceptual_opt")
        if not options:
            raise
        kind = options.get("vgg_type", "vgg19")
        raise ValueError(
            f"train.perceptual_opt: the weights of {kind} cannot be downloaded ({error}); put the file of "
            f"torchvision into {_cache_of_torch()}"
        ) from error


def _cache_of_torch() -> str:
    from torch import hub

    return f"{hub.get_dir()}/checkpoints"
