"""Start a network from the encoder of another one."""

from pathlib import Path

import torch

from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.checkpoints.liif_lte import checkpoint_from
from moeisr_plugin.checkpoints.network import load_weights, located, network_of

ROUNDING = 0.01
"""Largest relative difference between the latents of equal encoders; TF32 has a mantissa of 10 bits."""


def network_named(name: str) -> tuple[ImplicitNetwork, Path]:
    """Return a network for evaluation, and its file. The global random state does not change.

    Args:
        name: a file of weights, or the name of a bundled network. Weights saved by the published code of LIIF
            or LTE need no conversion.

    Raises:
        CheckpointError: the weights cannot be read.
    """
    path = located(name)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and replaced
        return network_of(checkpoint_from(path), path), path


def copy_encoder(name: str, net: ImplicitNetwork) -> None:
    """Copy the encoder of another network, whose decoder may be of another kind.

    Args:
        name: see :func:`network_named`.
        net: the network that receives the encoder.

    Raises:
        ValueError: the weights cannot be read, or the encoder is another one; one line.
    """
    source, path = network_named(name)
    load_weights(net.encoder, source.encoder.state_dict(), path)
    if not same_encoder(source.to(next(net.parameters()).device), net):
        raise ValueError(
            f"train.encoder_from: {path}: the encoder has other settings than network_g.encoder; set that "
            f"to {source.hyper_parameters['encoder']}"
        )


@torch.no_grad()
def same_encoder(one: ImplicitNetwork, other: ImplicitNetwork) -> bool:
    """Return whether the encoders have the same weights and map a probe to nearly the same latent.

    The probe finds settings without weights, such as the scale of residuals. Latents may differ by rounding,
    as the memory format of the weights selects the kernels.
    """
    states = one.encoder.state_dict(), other.encoder.state_dict()
    if states[0].keys() != states[1].keys():
        return False
    if any(not torch.equal(value, states[1][name]) for name, value in states[0].items()):
        return False
    probe = torch.linspace(-1, 1, 3 * 8 * 8, device=next(one.parameters()).device).view(1, 3, 8, 8)
    latents = []
    for net in (one, other):
        was_training = net.encoder.training
        net.encoder.eval()
        latents.append(net.encoder(probe))
        net.encoder.train(was_training)
    difference = latents[0] - latents[1]
    return bool(difference.norm() <= ROUNDING * latents[0].norm())
