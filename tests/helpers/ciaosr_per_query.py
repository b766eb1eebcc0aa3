"""CiaoSR as a loop over queries and patches in float64, which shares no code with the package."""

import math

import numpy as np


def colours(net, latent, lr, coord, cell, gates):
    """Colours of queries of one image.

    Args:
        net: the network, of which only parameters are read.
        latent: (D, h, w), without non-local features.
        lr: (3, h, w).
        coord: (Q, 2).
        cell: (2,).
        gates: (J, h, w), weight of each expert.
    """
    weights = {name: value.detach().double().numpy() for name, value in net.state_dict().items()}
    scales = net.hyper_parameters["non_local_scales"]
    extra = np.concatenate(
        [np.zeros((0, *latent.shape[1:]))] + [non_local(latent, s, i, weights) for i, s in enumerate(scales)]
    )
    return np.stack([_colour(net, weights, latent, extra, lr, each, cell, gates) for each in coord])


def _colour(net, weights, latent, extra, lr, position, cell, gates):
    size = np.array(latent.shape[1:])
    query = _patch(latent, *_nearest(position, size))
    signs = (-1, 1) if net.hyper_parameters["local_ensemble"] else (0,)
    scores, values = [], []
    for sign_y in signs:
        for sign_x in signs:
            sign = np.array([sign_y, sign_x])
            shift = sign * (1 - cell) / np.maximum(size - 1, 1) + np.abs(sign) * 1e-6
            pixel = _nearest(np.clip(position + shift, -1 + 1e-6, 1 - 1e-6), size)
            centre = (2 * np.array(pixel) + 1) / size - 1
            place = [*((position - centre) * size), *(cell * size)]
            key = _patch(latent, *pixel)
            value = np.concatenate([key, extra[:, pixel[0], pixel[1]]])
            key = key * _mlp(weights, "key", [*key, *place])
            of_experts = [
                gates[j, pixel[0], pixel[1]] * _mlp(weights, f"experts.{j}", [*value, *place])
                for j in range(len(gates))
            ]
            scores.append(query @ key)
            values.append(value * sum(of_experts))
    attention = np.exp(np.array(scores) - max(scores))
    attended = (attention[:, None] * np.array(values)).sum(0) / attention.sum()
    return _bilinear(lr, position) + _mlp(weights, "query", attended)


def non_local(latent, scale, number, weights):
    """The image of patches of `scale` times the size, averaged by resemblance, and reduced again."""
    channels, h, w = latent.shape
    height, width = (math.ceil(n / scale) * scale for n in (h, w))
    padded = np.pad(latent, [(0, 0), (0, height - h), (0, width - w)], mode="reflect")
    match = _pointwise(weights, "non_local.match", padded)
    reduced = _halved(padded, scale)
    keys = _pointwise(weights, "non_local.match_reduced", reduced)
    value = _pointwise(weights, "non_local.value", padded)
    large = np.zeros((channels, (height + 2) * scale, (width + 2) * scale))
    values = np.pad(value, [(0, 0), (scale, scale), (scale, scale)])
    for y in range(height):
        for x in range(width):
            here, found, patches = _patch(match, y, x), [], []
            for i in range(height // scale):
                for j in range(width // scale):
                    key = _patch(keys, i, j)
                    found.append(10 * (here @ key) / max(np.sqrt((key**2).sum()), 1e-4))
                    patches.append(values[:, i * scale : (i + 3) * scale, j * scale : (j + 3) * scale])
            likeness = np.exp(np.array(found) - max(found))
            likeness /= likeness.sum()
            mean = sum(a * patch for a, patch in zip(likeness, patches, strict=True))
            large[:, y * scale : (y + 3) * scale, x * scale : (x + 3) * scale] += mean
    large = np.pad(large[:, scale:-scale, scale:-scale], [(0, 0), (1, 1), (1, 1)])
    kernel, bias = weights[f"non_local.reduce.{number}.weight"], weights[f"non_local.reduce.{number}.bias"]
    answer = np.zeros((channels, h, w))
    for y in range(h):
        for x in range(w):
            part = large[:, y * scale : y * scale + 3, x * scale : x * scale + 3]
            answer[:, y, x] = ((kernel * part).sum((1, 2, 3)) + bias) / 6
    return answer


def _halved(picture, scale):
    """Bilinear samples at the centres of blocks of `scale` pixels, without a prefilter."""
    first = (scale - 1) / 2
    low, share = math.floor(first), first - math.floor(first)
    upper = min(low + 1, scale - 1)
    rows = (1 - share) * picture[:, low::scale] + share * picture[:, upper::scale]
    return (1 - share) * rows[:, :, low::scale] + share * rows[:, :, upper::scale]


def _pointwise(weights, name, picture):
    kernel = weights[f"{name}.0.weight"][:, :, 0, 0]
    out = np.einsum("oc,chw->ohw", kernel, picture) + weights[f"{name}.0.bias"][:, None, None]
    return np.where(out > 0, out, weights[f"{name}.1.weight"] * out)


def _mlp(weights, name, inputs):
    layers = sorted({int(key.split(".")[-2]) for key in weights if key.startswith(f"{name}.layers.")})
    out = np.array(inputs)
    for layer in layers:
        out = weights[f"{name}.layers.{layer}.weight"] @ out + weights[f"{name}.layers.{layer}.bias"]
        out = np.maximum(out, 0) if layer != layers[-1] else out
    return out


def _patch(picture, row, column):
    return np.pad(picture, [(0, 0), (1, 1), (1, 1)])[:, row : row + 3, column : column + 3].ravel()


def _nearest(position, size):
    return tuple(
        int(min(max(np.rint(((p + 1) * n - 1) / 2), 0), n - 1)) for p, n in zip(position, size, strict=True)
    )


def _bilinear(lr, position):
    picture = np.pad(lr, [(0, 0), (1, 1), (1, 1)], mode="edge")
    places = [
        min(max(((p + 1) * n - 1) / 2, 0), n - 1) + 1 for p, n in zip(position, lr.shape[1:], strict=True)
    ]
    (y, x), (row, column) = places, map(math.floor, places)
    fy, fx = y - row, x - column
    corners = picture[:, row : row + 2, column : column + 2]
    return (
        corners[:, 0, 0] * (1 - fy) * (1 - fx)
        + corners[:, 0, 1] * (1 - fy) * fx
        + corners[:, 1, 0] * fy * (1 - fx)
        + corners[:, 1, 1] * fy * fx
    )
