"""LIIF, LTE and MoEISR as a loop over queries, which shares no code with `archs.reference` and checks it."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def around(position, n, *, local_ensemble):
    """Return the indices of the latents around a coordinate along one axis: two, or the nearest one.

    LIIF shifts queries by half a latent and 1e-6. So a query that is less than 1e-6 below the centre of a
    latent lies between this latent and the next.
    """
    p = ((position + 1) * n - 1) / 2
    if not local_ensemble:
        return [min(max(round(p), 0), n - 1)]
    lower = math.floor(p + 0.5e-6 * n)
    return [min(max(i, 0), n - 1) for i in (lower, lower + 1)]


def corners_of(y, x, height, width, *, local_ensemble=True):
    """Return (row, column, rel_y, rel_x, weight) for each neighbour of a query (LIIF, Eqs. 2-4)."""
    found = []
    for i in around(y, height, local_ensemble=local_ensemble):
        for j in around(x, width, local_ensemble=local_ensemble):
            rel_y = (y - (-1 + (2 * i + 1) / height)) * height
            rel_x = (x - (-1 + (2 * j + 1) / width)) * width
            found.append((i, j, rel_y, rel_x))
    areas = [abs(rel_y * rel_x) + 1e-9 for _, _, rel_y, rel_x in found]
    opposite = areas[::-1]  # the order is --, -+, +-, ++, so that the reverse is diagonally opposite
    return [(*corner, area / sum(areas)) for corner, area in zip(found, opposite, strict=True)]


def liif_features(net, latent, sample, row, column, rel, rel_cell):
    """Return the vector [unfolded latent; relative coordinate; cell] (LIIF, section 3)."""
    options = net.hyper_parameters
    if options["unfold"]:
        near = F.pad(latent, [1, 1, 1, 1])[sample, :, row : row + 3, column : column + 3].flatten()
    else:
        near = latent[sample, :, row, column]
    return torch.cat([near, rel, rel_cell] if options["cell_decode"] else [near, rel])


def lte_features(net, latent, sample, row, column, rel, rel_cell):
    """Return the vector of amplitudes times cosines and sines of local frequencies (LTE, Eqs. 4-6)."""
    near = F.pad(latent, [1, 1, 1, 1])[sample, :, row : row + 3, column : column + 3]
    weights = dict(net.embedding.named_parameters())
    coef = (weights["coef.weight"] * near).sum((1, 2, 3)) + weights["coef.bias"]
    freq = (weights["freq.weight"] * near).sum((1, 2, 3)) + weights["freq.bias"]
    phase = weights["phase.weight"] @ rel_cell
    angles = [math.pi * (freq[2 * k : 2 * k + 2] @ rel + phase[k]) for k in range(len(phase))]
    angle = torch.stack(angles)
    return coef * torch.cat([angle.cos(), angle.sin()])


def bilinear(lr, sample, y, x):
    """Return an LR picture, interpolated bilinearly with repeated edge pixels, at (y, x), (3,)."""
    height, width = lr.shape[2:]
    p = min(max(((y + 1) * height - 1) / 2, 0.0), height - 1.0)
    q = min(max(((x + 1) * width - 1) / 2, 0.0), width - 1.0)
    i, j = math.floor(p), math.floor(q)
    below, right = min(i + 1, height - 1), min(j + 1, width - 1)
    top = lr[sample, :, i, j] * (1 - (q - j)) + lr[sample, :, i, right] * (q - j)
    bottom = lr[sample, :, below, j] * (1 - (q - j)) + lr[sample, :, below, right] * (q - j)
    return top * (1 - (p - i)) + bottom * (p - i)


def mlp(expert, features):
    """Return the output of linear layers with ReLU between them."""
    linears = [layer for layer in expert.layers if isinstance(layer, nn.Linear)]
    hidden = features
    for linear in linears[:-1]:
        hidden = (hidden @ linear.weight.t() + linear.bias).clamp(min=0)
    return hidden @ linears[-1].weight.t() + linears[-1].bias


def colours(net, encoding, gates, coord, cell):
    """Return RGB (B, Q, 3) of a float64 network, each query and neighbour on its own.

    Args:
        net: LIIF, LTE, MoEISRLIIF or MoEISRLTE.
        encoding: of B pictures.
        gates: weights of the experts, (B, J, h, w).
        coord: (B, Q, 2).
        cell: (B, 2).
    """
    _, latent, _ = encoding
    height, width = latent.shape[2:]
    is_lte = net.hyper_parameters["type"].endswith("LTE")
    features_of = lte_features if is_lte else liif_features
    rgb = torch.empty(*coord.shape[:2], 3, dtype=torch.float64)
    for sample, queries in enumerate(coord.tolist()):
        rel_cell = cell[sample] * torch.tensor([height, width])
        for q, (y, x) in enumerate(queries):
            rgb[sample, q] = bilinear(encoding.lr, sample, y, x) if is_lte else 0.5
            for row, column, rel_y, rel_x, weight in corners_of(
                y, x, height, width, local_ensemble=net.local_ensemble
            ):
                rel = torch.tensor([rel_y, rel_x], dtype=torch.float64)
                features = features_of(net, latent, sample, row, column, rel, rel_cell)
                for gate, expert in zip(gates[sample, :, row, column], net.experts, strict=True):
                    rgb[sample, q] += 0.5 * weight * gate * mlp(expert, features)
    return rgb
