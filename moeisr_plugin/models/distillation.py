"""Distillation: a teacher gives a second target for the queries of a batch."""

from collections.abc import Mapping
from typing import Any

import torch
from basicsr.losses import build_loss
from torch import Tensor, nn

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitNetwork
from moeisr_plugin.models.acceleration import accelerate
from moeisr_plugin.models.batches import Batch
from moeisr_plugin.models.freezing import is_below
from moeisr_plugin.models.replay import KeptBatch
from moeisr_plugin.models.transfer import network_named, same_encoder

DEEPEST = "deepest"
"""The teacher that is the deepest expert of the trained network itself."""


class Teacher:
    """The deepest expert of a network at every LR pixel, without a graph.

    Args:
        net: the network.
        shares_latent: decode from the latent of the trained network, which saves the encoder.
    """

    def __init__(self, net: ImplicitNetwork, *, shares_latent: bool):
        self.net = net
        self.shares_latent = shares_latent

    @property
    def is_constant(self) -> bool:
        """Whether the colours for a query never change: nothing that gives them learns."""
        unused = ["mapper", *(f"experts.{j}" for j in range(self.net.num_experts - 1))]
        learning = [name for name, each in self.net.named_parameters() if each.requires_grad]
        return all(is_below(name, unused) for name in learning)

    @torch.no_grad()
    def __call__(self, part: Batch, latents: list[Tensor]) -> Tensor:
        """Return the colours (B, Q, 3) at the queries of a batch, with the local ensemble of the network.

        Args:
            part: the batch.
            latents: the output of the encoder of the trained network, (B, D, h, w), or an empty list to
                encode again.
        """
        if self.shares_latent and len(latents) == 1:
            latent = self.net.refine(latents[0])
        else:
            latent = self.net.encode(part.lr).latent
        batch, _, height, width = latent.shape
        scores = latent.new_zeros(batch, self.net.num_experts, height, width)
        scores = routing.use_everywhere(scores, self.net.num_experts - 1)
        return self.net.decode(Encoding(part.lr, latent, scores), part.coord, part.cell)


def build_teacher(name: str, student: ImplicitNetwork, *, device: torch.device) -> Teacher:
    """Return the teacher of a network.

    Args:
        name: `deepest`, or a network; see :func:`network_named`.
        student: the network that is trained.
        device: device of the student.

    Raises:
        ValueError: the weights cannot be read, or the student has no deeper expert; one line.
    """
    if name == DEEPEST:
        if student.num_experts == 1:
            raise ValueError(
                "train.distillation_opt.teacher: is deepest, but the network has one expert; "
                "give a file of weights"
            )
        return Teacher(student, shares_latent=True)
    net, _ = network_named(name)
    net.requires_grad_(False).to(device)
    is_frozen = not any(parameter.requires_grad for parameter in student.encoder.parameters())
    return Teacher(net, shares_latent=is_frozen and same_encoder(net, student))


class Distillation:
    """A loss between the outputs of the trained network and of a teacher.

    Args:
        opt: the options of a loss, and `teacher`; see :func:`build_teacher`.
        student: the network that is trained.
        device: its device.
    """

    def __init__(self, opt: Mapping[str, Any], student: ImplicitNetwork, *, device: torch.device):
        options = dict(opt)
        self.teacher = build_teacher(options.pop("teacher"), student, device=device)
        self.criterion: nn.Module = build_loss(options).to(device)

    def target(
        self, part: Batch, latents: list[Tensor], kept: KeptBatch | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the colours of the teacher for a batch, (B, Q, 3), and again if they never change.

        Args:
            part: the batch.
            latents: see :class:`Teacher`.
            kept: what is known of the batch. Its colours are used where there are some.
        """
        if kept is not None and kept.target is not None:
            return kept.target, kept.target
        colours = self.teacher(part, latents)
        return colours, colours if self.teacher.is_constant else None


def distillation_of(
    train_opt: Mapping[str, Any], student: ImplicitNetwork, *, device: torch.device
) -> Distillation | None:
    """Return the distillation of a training by its options; None if there is none."""
    if not train_opt.get("distillation_opt"):
        return None
    distillation = Distillation(train_opt["distillation_opt"], student, device=device)
    accelerate(distillation.teacher.net, channels_last=train_opt.get("channels_last", False))
    return distillation
