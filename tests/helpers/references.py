"""Networks and queries that tests share, and networks in float64 by `archs.reference`."""

import copy
import math

import torch

from moeisr_plugin.archs import reference

TINY_ENCODER = {"type": "EDSREncoder", "num_feat": 4, "num_block": 1}


def lively(net, *, seed=0):
    """Redraw the weights, so that experts, scores and frequencies differ between pixels."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 6
            deviation = math.sqrt(2 / fan_in)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation)
    return net


def picture(batch, height, width, *, seed=0):
    """Return random pictures (B, 3, h, w) in [0, 1], float64, with values that float32 represents exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, height, width, generator=generator).double()


def queries(batch, height, width, count, *, seed=0):
    """Return random coordinates in [-1, 1], the 4 corners and 4 centres of LR pixels, (B, count + 8, 2).

    The centres leave out the last row and column. There both neighbours are the same latent, and the ensemble
    weights are 0/0 except for the 1e-9 that LIIF adds, so that they depend on rounding.
    """
    generator = torch.Generator().manual_seed(seed)
    anywhere = torch.rand(batch, count, 2, generator=generator).double() * 2 - 1
    corners = torch.tensor([[-1, -1], [-1, 1], [1, -1], [1, 1]], dtype=torch.float64)
    row = torch.randint(max(height - 1, 1), (batch, 4), generator=generator)
    column = torch.randint(max(width - 1, 1), (batch, 4), generator=generator)
    centers = torch.stack([-1 + (2 * row + 1) / height, -1 + (2 * column + 1) / width], dim=-1)
    return torch.cat([anywhere, corners.expand(batch, 4, 2), centers.double()], dim=1)


def grid_queries(batch, height, width):
    """Return every pixel centre of an output grid, row by row, (B, H*W, 2)."""
    rows = [(2 * i + 1) / height - 1 for i in range(height)]
    columns = [(2 * j + 1) / width - 1 for j in range(width)]
    coord = torch.tensor([[y, x] for y in rows for x in columns], dtype=torch.float64)
    return coord.expand(batch, -1, -1)


def gradients(net, rgb):
    """Return the gradients of a fixed random projection of colours by parameter name; zeros if unused."""
    generator = torch.Generator().manual_seed(1)
    probe = torch.randn(rgb.shape, generator=generator, dtype=torch.float64).to(rgb) / rgb.shape[1]
    names, parameters = zip(*net.named_parameters(), strict=True)
    grads = torch.autograd.grad((rgb * probe).sum(), parameters, allow_unused=True, materialize_grads=True)
    return dict(zip(names, grads, strict=True))


def hardest(scores):
    """Return gates that are 1 at the largest score (paper, Eq. 4)."""
    return torch.zeros_like(scores).scatter(1, scores.argmax(1, keepdim=True), 1)


class Reference:
    """A float64 copy of a network, evaluated by `archs.reference`.

    Args:
        net: LIIF, LTE, MoEISRLIIF or MoEISRLTE.
    """

    def __init__(self, net):
        self.net = copy.deepcopy(net).double()

    def encode(self, lr):
        _, latent, scores = self.net.encode(lr)
        return latent, scores

    def __call__(self, lr, coord, cell, *, gate=hardest):
        """Return RGB (B, Q, 3); `gate` turns scores into the weights of the experts, both (B, J, h, w)."""
        encoding = self.net.encode(lr)
        return reference.soft_mixture(self.net, encoding, coord, cell, gate(encoding.scores))


def features_at(embedding, padded, rel_cell, index, rel):
    """Return what the experts read of N queries, (N, C), given the latent with its rim of zeros.

    Args:
        embedding: of the network.
        padded: (B, D, h + 2 * radius, w + 2 * radius).
        rel_cell: (B, 2), in latents.
        index: (N,) of the B*h*w latents.
        rel: (N, 2), in latents.
    """
    rim = embedding.radius
    height, width = (n - 2 * rim for n in padded.shape[2:])
    maps = reference.feature_maps(embedding, padded)
    maps = [each[:, :, rim : rim + height, rim : rim + width] for each in maps]  # (B, C, h, w) each
    found = [each.permute(0, 2, 3, 1).flatten(0, 2)[index] for each in maps]  # (N, C) each
    return reference.expert_input(embedding, found, rel, rel_cell[index // (height * width)])
