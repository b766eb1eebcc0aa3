"""LIIF, LTE and MoEISR as their papers write them, query by query, and what their tests share.

Nothing here is folded, gathered or grouped, and nothing comes from the package's own decoding: of a network
only the parameters and the encoder are used.
"""

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F

TINY_ENCODER = {"type": "EDSREncoder", "num_feat": 4, "num_block": 1}


# --- networks and queries ---


def lively(net, *, seed=0):
    """The network, redrawn so that experts, scores and frequencies differ from pixel to pixel."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 6
            deviation = math.sqrt(2 / fan_in)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation)
    return net


def picture(batch, height, width, *, seed=0):
    """(B, 3, h, w) in [0, 1], float64, its numbers float32's, so that both precisions see the same."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, height, width, generator=generator).double()


def queries(batch, height, width, count, *, seed=0):
    """Random coordinates in [-1, 1], then the rim's corners, and LR pixels' centres, (B, count + 8, 2).

    No centres of the last row and column: between that latent and itself LIIF's weights are 0/0 but for its
    1e-9, so that rounding decides them.
    """
    generator = torch.Generator().manual_seed(seed)
    anywhere = torch.rand(batch, count, 2, generator=generator).double() * 2 - 1
    corners = torch.tensor([[-1, -1], [-1, 1], [1, -1], [1, 1]], dtype=torch.float64)
    row = torch.randint(max(height - 1, 1), (batch, 4), generator=generator)
    column = torch.randint(max(width - 1, 1), (batch, 4), generator=generator)
    centers = torch.stack([-1 + (2 * row + 1) / height, -1 + (2 * column + 1) / width], dim=-1)
    return torch.cat([anywhere, corners.expand(batch, 4, 2), centers.double()], dim=1)


def grid_queries(batch, height, width):
    """Every pixel centre of an output grid, row by row, (B, H*W, 2)."""
    rows = [(2 * i + 1) / height - 1 for i in range(height)]
    columns = [(2 * j + 1) / width - 1 for j in range(width)]
    coord = torch.tensor([[y, x] for y in rows for x in columns], dtype=torch.float64)
    return coord.expand(batch, -1, -1)


def gradients(net, rgb):
    """Gradients of a fixed random projection of the answers, by parameter; zeros where there are none."""
    generator = torch.Generator().manual_seed(1)
    probe = torch.randn(rgb.shape, generator=generator, dtype=torch.float64).to(rgb) / rgb.shape[1]
    names, parameters = zip(*net.named_parameters(), strict=True)
    grads = torch.autograd.grad((rgb * probe).sum(), parameters, allow_unused=True, materialize_grads=True)
    return dict(zip(names, grads, strict=True))


# --- the papers' equations ---


def around(position, n, *, local_ensemble):
    """The latents around a coordinate along one axis: the lower and the upper one, or the nearest.

    LIIF shifts queries by half a latent and 1e-6, so a query less than that below a latent's centre counts
    as on it, and one on it lies between it and the next.
    """
    p = ((position + 1) * n - 1) / 2
    if not local_ensemble:
        return [min(max(round(p), 0), n - 1)]
    lower = math.floor(p + 0.5e-6 * n)
    return [min(max(i, 0), n - 1) for i in (lower, lower + 1)]


def corners_of(y, x, height, width, *, local_ensemble=True):
    """(row, column, rel_y, rel_x, weight) of each latent a query is decoded from (LIIF, Eqs. 2-4)."""
    found = []
    for i in around(y, height, local_ensemble=local_ensemble):
        for j in around(x, width, local_ensemble=local_ensemble):
            rel_y = (y - (-1 + (2 * i + 1) / height)) * height
            rel_x = (x - (-1 + (2 * j + 1) / width)) * width
            found.append((i, j, rel_y, rel_x))
    areas = [abs(rel_y * rel_x) + 1e-9 for _, _, rel_y, rel_x in found]
    opposite = areas[::-1]  # --, -+, +-, ++ backwards: each one's diagonal
    return [(*corner, area / sum(areas)) for corner, area in zip(found, opposite, strict=True)]


def liif_features(net, latent, sample, row, column, rel, rel_cell):
    """[unfolded latent; relative coordinate; cell], one vector (LIIF, section 3)."""
    options = net.hyper_parameters
    if options["unfold"]:
        near = F.pad(latent, [1, 1, 1, 1])[sample, :, row : row + 3, column : column + 3].flatten()
    else:
        near = latent[sample, :, row, column]
    return torch.cat([near, rel, rel_cell] if options["cell_decode"] else [near, rel])


def lte_features(net, latent, sample, row, column, rel, rel_cell):
    """Amplitudes times cosines and sines of the local frequencies, one vector (LTE, Eqs. 4-6)."""
    near = F.pad(latent, [1, 1, 1, 1])[sample, :, row : row + 3, column : column + 3]
    weights = dict(net.embedding.named_parameters())
    coef = (weights["coef.weight"] * near).sum((1, 2, 3)) + weights["coef.bias"]
    freq = (weights["freq.weight"] * near).sum((1, 2, 3)) + weights["freq.bias"]
    phase = weights["phase.weight"] @ rel_cell
    angles = [math.pi * (freq[2 * k : 2 * k + 2] @ rel + phase[k]) for k in range(len(phase))]
    angle = torch.stack(angles)
    return coef * torch.cat([angle.cos(), angle.sin()])


def bilinear(lr, sample, y, x):
    """An LR picture between the centres of its pixels, its rim continued outwards, (3,)."""
    height, width = lr.shape[2:]
    p = min(max(((y + 1) * height - 1) / 2, 0.0), height - 1.0)
    q = min(max(((x + 1) * width - 1) / 2, 0.0), width - 1.0)
    i, j = math.floor(p), math.floor(q)
    below, right = min(i + 1, height - 1), min(j + 1, width - 1)
    top = lr[sample, :, i, j] * (1 - (q - j)) + lr[sample, :, i, right] * (q - j)
    bottom = lr[sample, :, below, j] * (1 - (q - j)) + lr[sample, :, below, right] * (q - j)
    return top * (1 - (p - i)) + bottom * (p - i)


def mlp(expert, features):
    """Linear layers with ReLU between them."""
    linears = [layer for layer in expert.layers if isinstance(layer, nn.Linear)]
    hidden = features
    for linear in linears[:-1]:
        hidden = (hidden @ linear.weight.t() + linear.bias).clamp(min=0)
    return hidden @ linears[-1].weight.t() + linears[-1].bias


def mapper_scores(net, latent):
    """Convolutions with ReLU between them (paper, Eq. 3); zeros for a decoder of one expert."""
    convs = [layer for layer in net.mapper.children() if isinstance(layer, nn.Conv2d)]
    if not convs:
        return torch.zeros_like(latent[:, :1])
    scores = latent
    for conv in convs:
        scores = scores.clamp(min=0) if conv is not convs[0] else scores
        scores = F.conv2d(scores, conv.weight, conv.bias, padding=conv.weight.shape[-1] // 2)
    return scores


def hardest(scores):
    """Gates that are 1 at the largest score (paper, Eq. 4)."""
    return torch.zeros_like(scores).scatter(1, scores.argmax(1, keepdim=True), 1)


class Reference:
    """A float64 copy of a network, answering by the papers' equations.

    Args:
        net: LIIF, LTE, MoEISRLIIF or MoEISRLTE.
    """

    def __init__(self, net):
        self.net = copy.deepcopy(net).double()
        self.is_lte = net.hyper_parameters["type"].endswith("LTE")

    def encode(self, lr):
        latent = self.net.encoder(lr * 2 - 1)
        return latent, mapper_scores(self.net, latent)

    def __call__(self, lr, coord, cell, *, gate=hardest):
        """RGB (B, Q, 3); `gate` turns scores into the weights of the experts, both (B, J, h, w)."""
        net = self.net
        latent, scores = self.encode(lr)
        gates = gate(scores)
        height, width = latent.shape[2:]
        size = torch.tensor([height, width], dtype=torch.float64)
        features_of = lte_features if self.is_lte else liif_features
        features, pixels, weights, backgrounds = [], [], [], []
        for sample in range(len(coord)):
            for y, x in coord[sample].tolist():
                backgrounds.append(bilinear(lr, sample, y, x) if self.is_lte else torch.tensor(0.5))
                for row, column, rel_y, rel_x, weight in corners_of(
                    y, x, height, width, local_ensemble=net.local_ensemble
                ):
                    rel = torch.tensor([rel_y, rel_x], dtype=torch.float64)
                    features.append(features_of(net, latent, sample, row, column, rel, cell[sample] * size))
                    pixels.append(gates[sample, :, row, column])
                    weights.append(weight)
        features = torch.stack(features)  # (N, in_features)
        answers = torch.stack([mlp(expert, features) for expert in net.experts], dim=-1)  # (N, 3, J)
        mixed = (answers * torch.stack(pixels)[:, None]).sum(-1)  # (N, 3)
        weighted = mixed * torch.tensor(weights, dtype=torch.float64)[:, None]
        background = torch.stack([b.double().expand(3) for b in backgrounds]).view(*coord.shape[:2], 3)
        return background + 0.5 * weighted.view(*coord.shape[:2], -1, 3).sum(2)
