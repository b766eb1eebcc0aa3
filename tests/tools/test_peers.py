"""Adapters of the benchmark to code of other authors, with stand-ins for the checkouts."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from basicsr.archs.edsr_arch import EDSR

from moeisr_plugin.archs.implicit_arch import LIIF

TOOLS = str(Path(__file__).parents[2] / "tools")
TINY_ENCODER = {"type": "EDSREncoder", "num_feat": 4, "num_block": 1}


@pytest.fixture(scope="module")
def tool():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)
        parts = ("entries", "fixed_scale", "lerf", "onnx_engine", "pcsr", "published_code")
        yield SimpleNamespace(**{part: importlib.import_module(f"benchmarking.{part}") for part in parts})


@pytest.fixture(autouse=True)
def no_traces():
    """Check that an adapter leaves modules and the path as they were."""
    before = (
        {name for name in sys.modules if name.split(".")[0] in ("models", "utils", "common")},
        sys.path[:],
    )
    yield
    after = {name for name in sys.modules if name.split(".")[0] in ("models", "utils", "common")}, sys.path[:]
    assert after == before


# --- LeRF ---

# Each table entry is added to the pixel itself: the first channel of the table of the neighbourhood.
FAKE_LERF = """
import sys
import numpy as np
sys.path.insert(0, "./")
from common.utils import ONE

mode_pad_dict = {"s": 1, "d": 2, "y": 2, "c": 3, "t": 3}


def FourSimplexInterpFaster(weight, img_in, h, w, interval, rot, upscale=4, mode="s", oC=1):
    assert img_in.shape == (3, h + mode_pad_dict[mode], w + mode_pad_dict[mode])
    assert weight.shape[1] == oC and interval == 4
    own = np.rot90(img_in[:, :h, :w], rot, [1, 2])
    if oC == 1:
        return ONE * own / 4 + weight[0, 0]
    return np.stack([own[c] * 0 + weight[0, k] for c in range(3) for k in range(3)])


class SteeringGaussianResize2dNumpy:
    def __init__(self, support_sz, max_sigma):
        assert (support_sz, max_sigma) == (2, 10)

    def set_shape(self, shape, scale_factors):
        self.shape, self.factors = shape, scale_factors

    def resize(self, picture, rho, sigma_x, sigma_y):
        assert rho.shape == sigma_x.shape == sigma_y.shape == picture.shape == self.shape
        self.seen = rho, sigma_x, sigma_y
        rows, columns = (np.arange(round(n * f)) // f for n, f in zip(self.shape[1:], self.factors))
        return picture[:, rows.astype(int)][:, :, columns.astype(int)] + 100 * (rho + sigma_x)[:, :1, :1]
"""


@pytest.fixture
def lerf(tmp_path):
    for folder in ("resample", "common", "models/lerf-g"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "resample/eval_lut_sr.py").write_text(FAKE_LERF, encoding="utf-8")
    (tmp_path / "common/__init__.py").touch()
    (tmp_path / "common/utils.py").write_text("ONE = 1\n", encoding="utf-8")
    for mode in "sct":
        np.save(tmp_path / f"models/lerf-g/LUTft_s1_{mode}r0.npy", np.full((5, 1), 1, np.int8))
        for turn in (0, 1):
            table = np.full((5, 3), 1, np.int8) * np.array([10, -20, 4], np.int8)
            np.save(tmp_path / f"models/lerf-g/LUTft_s2_{mode}r{turn}.npy", table)
    return tmp_path


def test_lerf_averages_its_tables_and_resamples(lerf, tool):
    lr = torch.tensor([[[10, 20, 30], [40, 50, 60]]] * 3)[None].float() / 255
    peer = tool.lerf.PublishedLeRF(lerf)
    sharpened, kernels = peer.encode(lr)
    np.testing.assert_allclose(sharpened, 255 * lr[0].numpy() + 4, atol=1e-3)  # 4 turns x 3 modes / 3
    np.testing.assert_allclose(kernels[:, 0, 0], np.tile([137, 107, 131], 3) / 255, atol=1e-6)
    picture = peer.decode((sharpened, kernels), (4, 6))
    assert picture.shape == (1, 3, 4, 6)
    offset = round(100 * (137 + 107) / 255)
    expected = lr[0].repeat_interleave(2, 1).repeat_interleave(2, 2) * 255 + 4 + offset
    torch.testing.assert_close(255 * picture[0], expected, atol=1, rtol=0)
    torch.testing.assert_close(255 * picture, (255 * picture).round(), atol=1e-4, rtol=0)


def test_a_checkout_of_lerf_without_tables_is_named(lerf, tool, tmp_path):
    (lerf / "models/lerf-g/LUTft_s2_tr1.npy").unlink()
    with pytest.raises(ValueError, match=r"LUTft_s2_tr1\.npy: no such file; give a checkout"):
        tool.lerf.PublishedLeRF(lerf)
    with pytest.raises(ValueError, match=r"nowhere: not a checkout of LeRF-PyTorch"):
        tool.lerf.PublishedLeRF(tmp_path / "nowhere")


# --- PCSR ---

FAKE_PCSR = """
import pandas
import torch
from fast_pytorch_kmeans import KMeans
from torch import nn
from utils import FACTOR


class PCSR(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.kmeans = KMeans(n_clusters=2)
        self.cost_list = {}

    def forward(self, lr, coord, cell, scale, k, pixel_batch_size):
        assert scale in self.cost_list and k == 0 and lr.mean().abs() < 1
        assert cell.shape == coord.shape == (1, lr.shape[2] * lr.shape[3] * scale**2, 2)
        rgb = torch.cat([coord, lr.mean().expand(coord[..., :1].shape)], -1) * FACTOR + self.weight
        return rgb.cuda(), None


def make(spec, load_sd=False):
    net = PCSR(**spec["args"])
    net.load_state_dict(spec["sd"])
    return net
"""


@pytest.fixture
def pcsr(tmp_path):
    for folder in ("models", "utils", "configs", "save/carn-pcsr-phase1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "models/__init__.py").write_text(FAKE_PCSR, encoding="utf-8")
    (tmp_path / "utils/__init__.py").write_text("FACTOR = 0.5\n", encoding="utf-8")
    config = "data_norm: {mean: [0.5, 0.25, 0.125], std: [2.0, 2.0, 2.0]}\n"
    (tmp_path / "configs/carn-pcsr-phase1.yaml").write_text(config, encoding="utf-8")
    content = {"model": {"name": "x", "args": {"width": 3}, "sd": {"weight": torch.tensor([0.0, 1.0, 2.0])}}}
    torch.save(content, tmp_path / "save/carn-pcsr-phase1/iter_last.pth")
    return tmp_path


def test_pcsr_is_normalised_and_queried_at_the_centres_of_pixels(pcsr, tool):
    assert tool.pcsr.backbones_of(pcsr) == ["carn"]
    peer = tool.pcsr.PublishedPCSR(pcsr, "carn", torch.device("cpu"))
    lr = torch.rand(1, 3, 2, 3, generator=torch.Generator().manual_seed(0))
    picture = peer.decode(peer.encode(lr), (8, 12))
    assert picture.shape == (1, 3, 8, 12)
    mean = ((lr - torch.tensor([0.5, 0.25, 0.125]).view(1, 3, 1, 1)) / 2).mean()
    y, x = -1 + (2 * 5 + 1) / 8, -1 + (2 * 10 + 1) / 12
    expected = torch.tensor([y / 2, x / 2 + 1, mean / 2 + 2]) * 2 + torch.tensor([0.5, 0.25, 0.125])
    torch.testing.assert_close(picture[0, :, 5, 10], expected)


def test_a_checkout_of_pcsr_without_weights_is_named(pcsr, tool, tmp_path):
    with pytest.raises(ValueError, match=r"fsrcnn-pcsr-phase1\.yaml: no such file"):
        tool.pcsr.PublishedPCSR(pcsr, "fsrcnn", torch.device("cpu"))
    with pytest.raises(ValueError, match=r"nowhere: holds no save/\*-pcsr-phase1"):
        tool.pcsr.backbones_of(tmp_path / "nowhere")


# --- weights of LM-LIIF and EDSR, ONNX Runtime ---

FAKE_LMF = """
from torch import nn


class Fake(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.encoder = nn.Conv2d(3, width, 1)

    def forward(self, inp, coord, cell):
        return self.encoder(inp).mean() + 0 * coord[..., :1].expand(-1, -1, 3)


def make(spec, load_sd=False):
    net = Fake(**spec["args"])
    if load_sd:
        net.load_state_dict(spec["sd"])
    return net
"""


def test_lm_liif_takes_published_weights_with_their_encoder(tool, tmp_path):
    (tmp_path / "models.py").write_text(FAKE_LMF, encoding="utf-8")
    weights = tmp_path / "lm-liif.pth"
    published = {"encoder.weight": torch.zeros(5, 3, 1, 1), "encoder.bias": torch.full((5,), 0.5)}
    torch.save({"model": {"name": "lmliif", "args": {"width": 5}, "sd": published}}, weights)
    peer = tool.published_code.PublishedLMLIIF(
        tmp_path, LIIF(encoder=TINY_ENCODER).encoder, torch.device("cpu"), weights
    )
    lr = torch.rand(1, 3, 3, 4)
    assert peer.encode(lr)[1].shape == (1, 5, 3, 4)
    torch.save({"model": {"name": "lmliif", "args": {"width": 4}, "sd": published}}, weights)
    with pytest.raises(ValueError, match=r"lm-liif\.pth: does not hold a network of .*RuntimeError"):
        tool.published_code.PublishedLMLIIF(tmp_path, torch.nn.Identity(), torch.device("cpu"), weights)


def test_edsr_takes_weights_of_the_toolbox(tool, tmp_path):
    torch.manual_seed(1)
    net = EDSR(num_in_ch=3, num_out_ch=3, num_feat=64, num_block=16, upscale=2).eval()
    torch.save({"params": net.state_dict()}, tmp_path / "edsr.pth")
    peer = tool.fixed_scale.FixedScaleEDSR(2, torch.device("cpu"), tmp_path / "edsr.pth")
    lr = torch.rand(1, 3, 5, 7)
    with torch.no_grad():
        torch.testing.assert_close(peer.decode(peer.encode(lr), (10, 14)), net(lr))
    with pytest.raises(ValueError, match=r"edsr\.pth"):
        tool.fixed_scale.FixedScaleEDSR(4, torch.device("cpu"), tmp_path / "edsr.pth")


@pytest.mark.slow
def test_onnx_runtime_agrees_with_the_package(tool):
    pytest.importorskip("onnxruntime", reason='pip install ".[onnx]"')
    peers = tool.entries.Peers(edsr=False, onnx=True)
    found = tool.entries.entries([Path("tiny_LIIF")], ["float32"], 0, 3, torch.device("cpu"), peers, 1)
    names = [(each.contender.name, each.contender.code, each.is_ours) for each in found]
    assert names[1:] == [("tiny_LIIF", "package", True), ("tiny_LIIF", "ONNX Runtime", False)]
    lr = torch.rand(1, 3, 9, 13, generator=torch.Generator().manual_seed(0))
    package, runtime = (
        each.contender.decode(each.contender.encode(lr), (27, 39)).clamp(0, 1) for each in found[1:]
    )
    torch.testing.assert_close(runtime, package, atol=0.51 / 255, rtol=0)
