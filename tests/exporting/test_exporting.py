"""Exported networks match rendering at any size, and route each picture anew."""

import json

import numpy as np
import pytest
import torch
from references import TINY_ENCODER, lively, picture

from moeisr_plugin import __version__, render
from moeisr_plugin.archs.ciaosr_arch import CiaoSR
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.cli import main
from moeisr_plugin.exporting.graphs import exported
from moeisr_plugin.exporting.networks import ExportedDecoder, ExportedEncoder, exportable
from moeisr_plugin.exporting.onnx_files import onnx_models
from moeisr_plugin.render.casting import to_precision

NETWORKS = {
    "LIIF": lambda: LIIF(encoder=TINY_ENCODER, hidden_dim=6, depth=3),
    "LTE": lambda: LTE(encoder=TINY_ENCODER, hidden_dim=6, depth=3, num_freq_features=8),
    "MoEISRLIIF": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6, expert_depths=(2, 3)),
    "MoEISRLTE": lambda: MoEISRLTE(
        encoder=TINY_ENCODER, hidden_dim=6, expert_depths=(2, 3), num_freq_features=8
    ),
}
PLAIN = {
    "neither ensemble nor cell": lambda: MoEISRLIIF(
        encoder=TINY_ENCODER, hidden_dim=6, local_ensemble=False, cell_decode=False, unfold=False
    ),
    "four experts": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6),
}


def network(name):
    """Return a network whose colours, scores and frequencies differ between pixels, but are of order 1."""
    net = lively({**NETWORKS, **PLAIN}[name]()).eval()
    with torch.no_grad():
        if "LTE" in name:
            net.embedding.freq.weight.mul_(0.3)
        for expert in net.experts:
            expert.layers[-1].weight.mul_(0.3)
    return net


def cases(count, *, seed=0):
    """Yield LR sizes, output sizes, and a part of the rows and columns."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        lr_size = [int(n) for n in rng.integers(1, 12, 2)]
        height, width = (int(rng.integers(max(1, n // 2), 8 * n + 2)) for n in lr_size)
        starts = [int(rng.integers(0, n)) for n in (height, width)]
        stops = [int(rng.integers(s + 1, n + 1)) for s, n in zip(starts, (height, width), strict=True)]
        yield lr_size, (height, width), [*zip(starts, stops, strict=True)]


def feed_of(lr, latent, scores, size, part):
    """Return the inputs of a decoder for a part of the output, from the tile that it needs."""
    lr_size = lr.shape[2:]
    first = [max(0, a * n // total - 2) for (a, _), n, total in zip(part, lr_size, size, strict=True)]
    last = [-(-b * n // total) + 2 for (_, b), n, total in zip(part, lr_size, size, strict=True)]
    tile = (slice(None), slice(None), slice(first[0], last[0]), slice(first[1], last[1]))
    return {
        **{"lr": lr[tile], "latent": latent[tile], "scores": scores[tile]},
        **{key: np.arange(*ends) for key, ends in zip(("rows", "columns"), part, strict=True)},
        **{"size": np.array(size), "lr_size": np.array(lr_size), "origin": np.array(first)},
    }


def assert_matches(net, encode, decode, *, count=60, tolerance=1e-4):
    """Compare parts of outputs with rendering. `encode` and `decode` take and return NumPy arrays."""
    for seed, (lr_size, size, part) in enumerate(cases(count)):
        lr = picture(1, *lr_size, seed=seed).float()
        encoding = render.encode(net, lr)
        latent, scores = encode(lr.numpy())
        np.testing.assert_allclose(latent, encoding.latent, rtol=0, atol=tolerance)
        expected = render.render(net, encoding._replace(scores=torch.from_numpy(scores)), size)
        found = decode(feed_of(lr.numpy(), latent, scores, size, part))
        (top, bottom), (left, right) = part
        np.testing.assert_allclose(found, expected[:, :, top:bottom, left:right], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", [*NETWORKS, *PLAIN])
def test_the_modules_match_rendering(name):
    net = network(name)
    encoder, decoder = ExportedEncoder(exportable(net)), ExportedDecoder(exportable(net))
    with torch.no_grad():
        assert_matches(
            net,
            lambda lr: [each.numpy() for each in encoder(torch.from_numpy(lr))],
            lambda feed: decoder(**{key: torch.from_numpy(each) for key, each in feed.items()}).numpy(),
            count=20,
        )


def test_an_expert_is_evaluated_for_its_own_pixels_alone():
    net, seen = network("four experts"), []
    decoder = ExportedDecoder(exportable(net))
    for j, rest in enumerate(decoder.rest):
        rest.register_forward_pre_hook(lambda _, given, j=j: seen.append((j, len(given[0]))))
    lr = picture(1, 6, 7).float()
    encoding = render.encode(net, lr)
    arrays = encoding.lr.numpy(), encoding.latent.numpy(), encoding.scores.numpy()
    whole = feed_of(*arrays, (18, 21), [(0, 18), (0, 21)])
    decoder(**{key: torch.from_numpy(each) for key, each in whole.items()})
    pixels = render.expert_map(encoding).flatten().bincount(minlength=4).tolist()
    assert seen == [(j, n * 6 * 6) for j, n in enumerate(pixels)]  # twice the scale, on each axis


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_matches_rendering_at_60_sizes(name):
    runtime = pytest.importorskip("onnxruntime", reason='pip install ".[onnx]"')
    net = network(name)
    models = onnx_models(net)
    sessions = {
        part: runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        for part, model in models.items()
    }
    assert_matches(
        net,
        lambda lr: sessions["encoder"].run(None, {"lr": lr}),
        lambda feed: sessions["decoder"].run(None, feed)[0],
    )
    operators = {node.op_type for node in models["decoder"].graph.node}
    assert {"NonZero", "Gather", "ScatterND"} <= operators
    for part, model in models.items():
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(metadata["network"]) == net.hyper_parameters
        assert (metadata["part"], metadata["precision"]) == (part, "float32")
        assert metadata["producer"] == f"moeisr_plugin {__version__}"
        assert int(metadata["context"]) == 1 + 2 + 1 + (0 if len(net.experts) == 1 else 5)
        assert model.opset_import[0].version == 18
        assert b"site-packages" not in model.SerializeToString()


@pytest.mark.slow
def test_onnx_of_float16_is_close_and_other_opsets_work():
    runtime = pytest.importorskip("onnxruntime", reason='pip install ".[onnx]"')
    exact, net = network("MoEISRLTE"), to_precision(network("MoEISRLTE"), "float16")
    models = onnx_models(net, opset=20)
    assert {model.opset_import[0].version for model in models.values()} == {20}
    encoder, decoder = (
        runtime.InferenceSession(models[part].SerializeToString(), providers=["CPUExecutionProvider"])
        for part in ("encoder", "decoder")
    )
    lr = picture(1, 9, 8).numpy().astype(np.float16)
    latent, scores = encoder.run(None, {"lr": lr})
    assert latent.dtype == scores.dtype == np.float16
    rgb = decoder.run(None, feed_of(lr, latent, scores, (31, 20), [(0, 31), (0, 20)]))[0]
    assert rgb.dtype == np.float32
    encoding = render.encode(exact, torch.from_numpy(lr).float())
    expected = render.render(
        exact, encoding._replace(scores=torch.from_numpy(scores).float()), (31, 20)
    ).numpy()
    assert np.abs(rgb - expected).mean() < 0.02
    assert np.abs(rgb - expected).max() > 0


@pytest.mark.slow
def test_programs_of_torch_export_have_free_sizes(tmp_path):
    net = network("MoEISRLIIF")
    graphs = exported(net)
    encoder, decoder = graphs.encoder.program.module(), graphs.decoder.program.module()
    with torch.no_grad():
        assert_matches(
            net,
            lambda lr: [each.numpy() for each in encoder(torch.from_numpy(lr))],
            lambda feed: decoder(*(torch.from_numpy(each) for each in feed.values())).numpy(),
            count=12,
        )


def test_networks_that_cannot_be_exported_are_refused():
    with pytest.raises(
        ValueError, match="CiaoSR cannot be exported; choose LIIF, LTE, MoEISRLIIF or MoEISRLTE"
    ):
        exportable(CiaoSR(encoder=TINY_ENCODER, hidden_dim=6, depth=3))
    wrapped = network("LIIF")
    wrapped.experts[0].layers[0].register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="hooked layers, which cannot be exported; export its float"):
        exportable(wrapped)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.pth",), "nowhere.pth: no such file"),
        (("tiny_LTE", "--opset", "9"), "invalid choice: 9"),
        (("tiny_LTE", "-o", "a file"), "a file: is a file; give a folder with -o"),
        (("tiny_LTE", "-o", "full"), "decoder.onnx: already exists; choose another -o or add --overwrite"),
    ],
)
def test_wrong_arguments_give_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/decoder.onnx").touch()
    try:
        status = main(["export", "-o", "out", *arguments])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named_with_the_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert main(["export", "tiny_LTE", "-o", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert 'ONNX needs the package onnx; install it with pip install ".[onnx]", or export in the' in line
    assert len(line.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_programs_are_written_without_onnx(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert main(["export", "tiny_LIIF", "-o", str(tmp_path / "out"), "--format", "pt2"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["decoder.pt2", "encoder.pt2"]
    lr = torch.rand(1, 3, 5, 9)
    latent, scores = torch.export.load(tmp_path / "out/encoder.pt2").module()(lr)
    assert latent.shape[2:] == scores.shape[2:] == (5, 9)
