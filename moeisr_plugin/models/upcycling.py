"""Turn a network with one expert into a mixture of experts ("sparse upcycling").

The encoder, the embedding and an expert of the same depth and width are copied. Every other expert starts
with copies of the first layers of the source. Ridge regression on activations of sample patches solves the
layers that do not fit. The literature copies layers only (Komatsuzaki et al., ICLR 2023).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from moeisr_plugin.archs import reference
from moeisr_plugin.archs.experts import Expert
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.checkpoints.liif_lte import checkpoint_from
from moeisr_plugin.checkpoints.network import build_without_pretrained, network_of
from moeisr_plugin.checkpoints.provenance import STARTED, UPCYCLED, starting_point
from moeisr_plugin.data.arbitrary_scale_dataset import ArbitraryScaleDataset
from moeisr_plugin.utils.hashing import sha256_of

MIXTURES = {"LIIF": "MoEISRLIIF", "LTE": "MoEISRLTE"}
"""The mixture of each network with one expert, by their registered types."""

QUERIES = 256
ROWS_PER_PATCH = 256
RIDGE = 1e-6


class Samples(NamedTuple):
    """Embeddings of sample queries, and the outputs of the source for them."""

    features: Tensor  # (N, in_features)
    answers: Tensor  # (N, 3) in [-1, 1], outputs of the expert of the source


class Start(NamedTuple):
    """Initialisation of an expert.

    Attributes:
        depth: number of linear layers.
        how: the layers that were copied, and those that were solved.
        l1: mean absolute difference from the outputs of the source on the samples, which are in [-1, 1].
        l1_of_copy: `l1` of an expert with copies of the first layers and of the last layer of the source.
            None if the expert is narrower than the source.
    """

    depth: int
    how: str
    l1: float
    l1_of_copy: float | None


def upcycle(
    source: str | os.PathLike[str],
    pictures: str | os.PathLike[str],
    *,
    depths: Sequence[int],
    width: int | None = None,
    seed: int = 0,
    patches: int = 128,
    lr_size: int = 24,
) -> tuple[dict[str, Any], list[Start]]:
    """Return the checkpoint of a mixture that starts from a network with one expert.

    Args:
        source: weights of a LIIF or LTE, of this package or saved by the published code.
        pictures: a folder of pictures, or an LMDB, for sample patches.
        depths: number of linear layers of each expert, strictly increasing, at most that of the source.
        width: width of the hidden layers of the experts. Defaults to that of the source.
        seed: seed of the sample patches and of the initial weights of the mapper.
        patches: number of sample patches, each of 256 queries, or of fewer where a patch has fewer pixels.
        lr_size: rows and columns of the LR of a patch.

    Returns:
        The checkpoint, ``{'params', 'network_g', 'upcycled_from', 'started_from'}``, and the initialisation
        of each expert.

    Raises:
        ValueError: the source has several experts, or it does not allow the depths or the width. Or a picture
            is smaller than `lr_size`.
        CheckpointError: the source cannot be read.
    """
    checkpoint = checkpoint_from(source)
    net = network_of(checkpoint, source)
    hyper_parameters = mixture_options(net.hyper_parameters, source, depths=depths, width=width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mixture = build_without_pretrained(hyper_parameters)
    assert isinstance(net, ImplicitSR)  # `mixture_options` takes no other network
    samples = draw_samples(net, pictures, patches=patches, lr_size=lr_size, seed=seed)
    assert isinstance(mixture, ImplicitSR)
    mixture.encoder.load_state_dict(net.encoder.state_dict())
    mixture.embedding.load_state_dict(net.embedding.state_dict())
    starts = [begin_expert(expert, net.expert_list[0], samples) for expert in mixture.expert_list]
    origin = {
        "file": Path(source).name,
        "sha256": sha256_of(Path(source)),
        "network": net.hyper_parameters["type"],
        "patches": patches,
        "lr_size": lr_size,
        "seed": seed,
        "experts": [start._asdict() for start in starts],
    }
    content = {
        "params": mixture.state_dict(),
        "network_g": mixture.hyper_parameters,
        UPCYCLED: origin,
        STARTED: [starting_point(source)],
    }
    return content, starts


def mixture_options(
    source: Mapping[str, Any], path: str | os.PathLike[str], *, depths: Sequence[int], width: int | None
) -> dict[str, Any]:
    """Return the options of a mixture that can start from a network with one expert.

    Args:
        source: hyper-parameters of the network.
        path: file of the network, for messages.
        depths: number of linear layers of each expert, strictly increasing.
        width: width of the experts. Defaults to that of the source.

    Raises:
        ValueError: the source does not allow the depths or the width.
    """
    options = {key: value for key, value in source.items() if key not in ("type", "depth")}
    kind, depth, own_width = source["type"], source.get("depth"), source.get("hidden_dim")
    if kind not in MIXTURES or depth is None or own_width is None:
        raise ValueError(f"{path}: is of {kind}; upcycling takes {' or '.join(MIXTURES)}, with one expert")
    if list(depths) != sorted(set(depths)) or len(depths) < 2 or depths[0] < 2:
        raise ValueError(f"--depths {shown(depths)}: give two or more that grow, from 2 on, such as 2 3 4 5")
    if depths[-1] > depth:
        raise ValueError(
            f"--depths {shown(depths)}: {path} has {depth} layers; give depths of at most {depth}"
        )
    if width is not None and not 1 <= width <= own_width:
        raise ValueError(f"--width {width}: {path} is {own_width} wide; give 1 to {own_width}")
    return {
        **options,
        "type": MIXTURES[kind],
        "hidden_dim": width or own_width,
        "expert_depths": list(depths),
    }


def shown(depths: Sequence[int]) -> str:
    """Return depths as they are given on a command line."""
    return " ".join(map(str, depths))


@torch.no_grad()
def draw_samples(
    net: ImplicitSR, pictures: str | os.PathLike[str], *, patches: int, lr_size: int, seed: int
) -> Samples:
    """Return embeddings of random queries of random patches, and the outputs of a network for them.

    Args:
        net: a network with one expert.
        pictures: a folder of pictures, or an LMDB.
        patches: number of patches, each at a scale from 1 to 4.
        lr_size: rows and columns of the LR of a patch.
        seed: seed of the patches and queries.
    """
    backend = "lmdb" if str(pictures).endswith(".lmdb") else "disk"
    options = {
        "dataroot_gt": str(pictures),
        "recursive": backend == "disk",
        "io_backend": {"type": backend},
        "lr_size": lr_size,
        "sample_q": min(QUERIES, lr_size**2),
    }
    dataset = ArbitraryScaleDataset(options)
    generator = torch.Generator().manual_seed(seed)
    features = []
    for patch in range(patches):
        index = int(torch.randint(len(dataset), (), generator=generator))
        sample = dataset.sample(index, seed=[seed, patch])
        lr, coord, cell = (sample[key][None] for key in ("lq", "coord", "cell"))
        latent = net.encode(lr).latent  # (1, D, h, w)
        height, width = latent.shape[2:]
        near = net.neighbours(coord, (height, width))
        index_of, rel = near.index.flatten(), near.rel.flatten(0, 2)  # (V*Q,), (V*Q, 2)
        some = torch.randperm(len(index_of), generator=generator)[:ROWS_PER_PATCH]
        rel_cell = cell * cell.new_tensor([height, width])  # (1, 2)
        maps = reference.feature_maps(net.embedding, latent)  # (1, C, h, w) each
        found = [each[0].flatten(1).t()[index_of[some]] for each in maps]  # (ROWS_PER_PATCH, C) each
        rows = reference.expert_input(net.embedding, found, rel[some], rel_cell)
        features.append(rows)  # (ROWS_PER_PATCH, in_features)
    rows = torch.cat(features)
    return Samples(rows, net.expert_list[0](rows))


@torch.no_grad()
def begin_expert(expert: Expert, source: Expert, samples: Samples) -> Start:
    """Initialise an expert so that its outputs approximate those of the source.

    Args:
        expert: an expert of at most the depth and width of the source. Changed in place.
        source: the expert of the source.
        samples: samples of the source.
    """
    narrower = expert.first.out_features < source.first.out_features
    if expert.depth == source.depth and not narrower:
        expert.load_state_dict(source.state_dict())
        return Start(expert.depth, "copied", 0.0, 0.0)
    l1_of_copy = None
    if not narrower:
        copy_layers(expert, source)
        l1_of_copy = distance(expert, samples)
    units = chosen_units(source, samples.features, expert.first.out_features)
    hidden, of_source = samples.features, samples.features
    for depth, layer in enumerate(expert.linears[:-1]):
        of_layer, kept = source.linears[depth], units[depth]
        before = of_layer(of_source)  # (N, width of the source)
        if depth == 0:
            layer.weight.copy_(of_layer.weight[kept])
            layer.bias.copy_(of_layer.bias[kept])
        elif narrower:
            solve(layer, hidden, before[:, kept])
        hidden, of_source = layer(hidden).relu(), before.relu()
    solve(expert.linears[-1], hidden, samples.answers)
    copied = 1 if narrower else expert.depth - 1
    solved = expert.depth - copied
    of_width = f" with {expert.first.out_features} of {source.first.out_features} units" if narrower else ""
    how = f"first {copied} of {expert.depth} layers copied{of_width}, last {solved} solved"
    return Start(expert.depth, how, distance(expert, samples), l1_of_copy)


def copy_layers(expert: Expert, source: Expert) -> None:
    """Copy the first layers and the last layer of the source into an expert of the same width."""
    for layer, of_source in zip(
        expert.linears, [*source.linears[: expert.depth - 1], source.linears[-1]], strict=True
    ):
        layer.load_state_dict(of_source.state_dict())


def chosen_units(source: Expert, features: Tensor, width: int) -> list[Tensor]:
    """Return the units of each hidden layer that contribute most to the next layer, (width,) each, ascending.

    The contribution of a unit is its mean activation on the samples times the norm of its column in the next
    layer.

    Args:
        source: the expert of the source.
        features: (N, in_features).
        width: number of units per layer.
    """
    units = []
    hidden = features
    for layer, following in zip(source.linears[:-1], source.linears[1:], strict=True):
        hidden = layer(hidden).relu()
        contribution = hidden.mean(0) * following.weight.norm(dim=0)  # (width of the source,)
        units.append(contribution.topk(width).indices.sort().values)
    return units


def solve(layer: nn.Linear, inputs: Tensor, targets: Tensor) -> None:
    """Set a layer to the ridge regression of targets (N, n_out) on inputs (N, n_in), bias unpenalised."""
    x, y = inputs.double(), targets.double()
    mean_x, mean_y = x.mean(0), y.mean(0)
    centred = x - mean_x  # (N, n_in)
    gram = centred.T @ centred  # (n_in, n_in)
    penalty = RIDGE * gram.diagonal().mean().clamp(min=1e-12)
    gram.diagonal().add_(penalty)
    weight = torch.linalg.solve(gram, centred.T @ (y - mean_y)).T  # (n_out, n_in)
    layer.weight.copy_(weight)
    layer.bias.copy_(mean_y - weight @ mean_x)


def distance(expert: Expert, samples: Samples) -> float:
    """Return the mean absolute difference between the outputs of an expert and of the source."""
    return (expert(samples.features) - samples.answers).abs().mean().item()
