"""The benchmark: MACs, routing, order of runs, and reports."""

import importlib
import json
import platform
import sys
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import pytest
import torch
from references import TINY_ENCODER, lively

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.ops import int8_support
from moeisr_plugin.render import complexity, triton_backend
from moeisr_plugin.render.convolutions import WinogradConvolutions

pytestmark = pytest.mark.slow

TOOLS = str(Path(__file__).parents[2] / "tools")
MIXTURES = {
    "MoEISRLIIF-b": (lambda encoder: MoEISRLIIF(encoder=encoder), LIIF, 0.68),
    "MoEISRLIIF-s": (lambda encoder: MoEISRLIIF(encoder=encoder, hidden_dim=128), LIIF, 0.27),
    "MoEISRLTE-b": (lambda encoder: MoEISRLTE(encoder=encoder), LTE, 0.917),
    "MoEISRLTE-s": (lambda encoder: MoEISRLTE(encoder=encoder, hidden_dim=128), LTE, 0.268),
}


@pytest.fixture(scope="module")
def tool():
    """Import the modules of the benchmark."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)
        parts = ("cases", "contenders", "fixed_scale", "published_code", "rendering", "tables", "timing")
        yield SimpleNamespace(
            main=importlib.import_module("benchmark"),
            **{part: importlib.import_module(f"benchmarking.{part}") for part in parts},
        )


@pytest.fixture(scope="module")
def run(tool, tmp_path_factory):
    """Run a small benchmark, and return its folder and report."""
    folder = tmp_path_factory.mktemp("run") / "results"
    options = "--device cpu --cases 2.5x6x5 --encoder tiny --repeats 3 --precisions float32 bfloat16"
    options += " --training 2x4x9 --training-precisions float32 bfloat16"
    assert tool.main.main([*options.split(), "-o", str(folder)]) == 0
    return folder, json.loads((folder / "benchmark.json").read_text(encoding="utf-8"))


def rows_of(report, **fields):
    return [row for row in report["rendering"] if all(row[key] == value for key, value in fields.items())]


# --- a run ---


def test_each_network_is_measured_in_each_precision_by_both_codes(run, tool):
    _, report = run
    found = [(row["network"], row["code"], row["precision"]) for row in report["rendering"]]
    precisions, codes = ("float32", "bfloat16"), ("plain", "package")
    assert found == [(n, c, p) for p in precisions for n in tool.contenders.NETWORKS for c in codes]
    assert {(row["case"], row["threads"], *row["output"]) for row in report["rendering"]} == {
        ("2.5x6x5", 1, 12, 15)
    }
    assert [each["precision"] for each in report["gemm"]] == list(precisions)


@pytest.mark.skipif(int8_support.obstacle() is not None, reason=str(int8_support.obstacle()))
def test_int8_is_measured_with_this_package_only(tool, tmp_path):
    options = "--device cpu --cases 2.5x6x5 --encoder tiny --repeats 1 --networks MoEISRLIIF-s LTE"
    options += " --plain LTE --precisions float32 int8"
    assert tool.main.main([*options.split(), "-o", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    found = [(row["network"], row["code"]) for row in rows_of(report, precision="int8")]
    assert found == [("MoEISRLIIF-s", "package"), ("LTE", "package")]
    for row in rows_of(report, precision="int8"):
        assert row["render_macs"] > 0
        assert row["times_plain_liif"] is None
        is_float32 = row["network"] == "LTE"  # its encoder has too few channels here
        assert row["decibels"] is None if is_float32 else row["decibels"] > 20


def test_int8_is_refused_where_the_machine_lacks_it(tool, monkeypatch, capsys):
    monkeypatch.setattr(tool.main, "int8_obstacle", lambda device: "this CPU lacks AVX-512 VNNI")
    with pytest.raises(SystemExit):
        tool.main.main(["--device", "cpu", "--precisions", "int8"])
    assert "--precisions int8: this CPU lacks AVX-512 VNNI" in capsys.readouterr().err


def test_reported_figures_follow_from_the_runs(run):
    _, report = run
    peak = {each["precision"]: each["macs_per_second"] for each in report["gemm"]}
    for row in report["rendering"]:
        assert len(row["runs"]) == 3
        assert row["seconds"] == median(sum(each) for each in row["runs"])
        assert row["decoder_seconds"] == median(decoder for _, decoder in row["runs"])
        assert row["encoder_seconds"] == median(encoder for encoder, _ in row["runs"])
        rate = row["render_macs"] / row["decoder_seconds"]
        assert row["peak_share"] == pytest.approx(rate / peak[row["precision"]])
        assert 0 <= row["overhead_share"] <= 1
        (liif,) = rows_of(report, network="LIIF", code="plain", precision=row["precision"])
        (exact,) = rows_of(report, network="LIIF", code="plain", precision="float32")
        (lte,) = rows_of(report, network="LTE", code="plain", precision=row["precision"])
        assert row["times_plain_liif"] == liif["seconds"] / row["seconds"]
        assert row["times_plain_liif_float32"] == exact["seconds"] / row["seconds"]
        assert row["macs_of_plain_liif"] == row["decoder_macs"] / liif["decoder_macs"]
        is_lte = "LTE" in row["network"]
        assert row["times_plain_lte"] == (lte["seconds"] / row["seconds"] if is_lte else None)
        assert (row["decibels"] is None) == (row["precision"] == "float32")
        assert row["decibels"] is None or 20 < row["decibels"] < 150


def test_counted_macs_match_the_formulas(run):
    _, report = run
    for row in report["rendering"]:
        if row["code"] == "package":
            assert row["decoder_macs"] == row["predicted_macs"]
        elif "LIIF" in row["network"]:  # for LTE, the paper omits a part of the embedding
            assert row["decoder_macs"] == row["published_macs"]


def test_decoder_macs_include_the_mapper(run):
    _, report = run
    net = MoEISRLIIF(encoder=TINY_ENCODER)
    for row in rows_of(report, network="MoEISRLIIF-b"):
        assert row["decoder_macs"] - row["render_macs"] == complexity.mapper_macs(net, (5, 6))


def test_training_compares_both_codes(run):
    _, report = run
    codes = ("plain", "package", "package, random routing")
    assert [(row["network"], row["code"]) for row in report["training"]] == [
        *[("LIIF", code) for code in codes[:2]],
        *[(network, code) for network in ("MoEISRLIIF-b", "MoEISRLIIF-s") for code in codes],
    ]
    for row in report["training"]:
        if row["code"] == "plain":
            plain = row
            assert plain["times_plain"] == plain["decoder_times_plain"] == 1
        assert row["times_plain"] == plain["seconds"] / row["seconds"]
        assert row["decoder_times_plain"] == plain["decoder_seconds"] / row["decoder_seconds"]
        assert row["batch"] == "2x4x9"


def test_training_iterations_are_measured_in_each_precision(run):
    folder, report = run
    assert [(row["network"], row["precision"], row["compiled"]) for row in report["iterations"]] == [
        (network, precision, False)
        for network in ("LIIF", "MoEISRLIIF-b", "MoEISRLIIF-s")
        for precision in ("float32", "bfloat16")
    ]
    for row in report["iterations"]:
        assert len(row["runs"]) == 3
        assert row["samples_per_s"] == 2 * row["iterations_per_s"] == 2 / sorted(row["runs"])[1]
    assert "## Training iterations" in (folder / "benchmark.md").read_text(encoding="utf-8")


def test_tables_show_the_report(run, tool):
    folder, report = run
    text = (folder / "benchmark.md").read_text(encoding="utf-8")
    assert text == tool.tables.markdown(report)
    row = report["rendering"][5]
    assert f"| {row['network']} | package | float32 | {row['seconds']:.4g} |" in text
    row["seconds"], report["training"][0]["seconds"] = 123.4, 567.8
    changed = tool.tables.markdown(report)
    assert "123.4" in changed
    assert "567.8" in changed
    assert len(changed.splitlines()) == len(text.splitlines())


def test_channels_last_changes_the_layout_of_convolution_weights(tool, tmp_path):
    options = "--device cpu --cases 2x5x4 --encoder tiny --networks LIIF --repeats 1"
    for extra, layout in (([], torch.contiguous_format), (["--channels-last"], torch.channels_last)):
        assert tool.main.main([*options.split(), *extra, "-o", str(tmp_path)]) == 0
        report = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
        assert report["channels_last"] == bool(extra)
        (network,) = tool.main.build_networks("tiny", ["LIIF"], [], torch.device("cpu"), layout)
        assert network.net.encoder.body[0].body[0].weight.is_contiguous(memory_format=layout)
        page = (tmp_path / "benchmark.md").read_text(encoding="utf-8")
        assert ("channels-last memory format" in page) == bool(extra)


def test_reports_contain_no_host_name_and_no_folder(run):
    folder, _ = run
    for name in ("benchmark.json", "benchmark.md"):
        text = (folder / name).read_text(encoding="utf-8")
        assert str(Path.cwd()) not in text
        assert str(folder.parent) not in text
        assert platform.node() not in text


def test_trained_weights_use_their_own_mapper_and_budgets(tool, tmp_path, photographs):
    net = lively(MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6), seed=3)
    weights = tmp_path / "trained.pth"
    save_checkpoint(weights, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    options = ["--device", "cpu", "--cases", "3x9x7", "--encoder", "tiny", "--repeats", "1", "--budgets", "3"]
    arguments = [*options, "--weights", str(weights), "--pictures", str(photographs), "-o", str(tmp_path)]
    assert tool.main.main(arguments) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    assert [row["network"] for row in report["rendering"]] == ["LIIF", "LIIF", "trained", "trained"]
    choice = render.expert_map(render.encode(net.eval(), tool.cases.lr_picture((7, 9))))
    shares = [(choice == j).float().mean().item() for j in range(4)]
    assert report["rendering"][-1]["shares"] == pytest.approx(shares)
    assert report["weights"] == ["trained"]
    page = (tmp_path / "benchmark.md").read_text(encoding="utf-8")
    assert "Trained networks, each with its own encoder: trained. The other networks" in page

    budgets = report["budgets"]
    assert [(row["network"], row["scale"], row["budget"]) for row in budgets] == [
        ("trained", 3.0, budget) for budget in (0.0, 0.5, 1.0)
    ]
    macs = [row["decoder_macs"] for row in budgets]
    assert macs == sorted(set(macs))
    assert f"Means over 2 pictures of {photographs.name}, PSNR by the protocol benchmark." in page
    assert all(row["pictures"] == 2 and 5 < row["psnr"] < 60 for row in budgets)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_fixed_scale_edsr_is_that_of_the_toolbox(scale, tool):
    theirs = tool.fixed_scale.FixedScaleEDSR(scale, torch.device("cpu"))
    lr = torch.rand(1, 3, 5, 7)
    size = (5 * scale, 7 * scale)
    picture = theirs.decode(theirs.encode(lr), size)
    assert picture.shape[2:] == size
    torch.testing.assert_close(picture, theirs._net(lr).detach())


def test_fixed_scale_edsr_is_measured(tool, tmp_path):
    options = "--device cpu --cases 2x5x4 --encoder tiny --networks MoEISRLIIF-s --repeats 1 --beside-edsr"
    assert tool.main.main([*options.split(), "-o", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    assert [(row["network"], row["code"]) for row in report["rendering"]][-1] == ("EDSR ×2", "BasicSR")


def test_report_is_written_after_each_repeat(tool, tmp_path, monkeypatch):
    def fail_in_the_last_repeat(contenders, case, lr, repeats):
        for number, rows in enumerate(measure(contenders, case, lr, repeats)):
            if (case.scale, number) == (3, 1):
                raise OSError("out of luck")
            yield rows

    measure = tool.main.measure
    monkeypatch.setattr(tool.main, "measure", fail_in_the_last_repeat)
    options = ["--device", "cpu", "--encoder", "tiny", "--networks", "LIIF", "--repeats", "2"]
    with pytest.raises(SystemExit):
        tool.main.main([*options, "--cases", "2x5x4", "3x5x4", "-o", str(tmp_path)])
    report = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    kept = [(row["case"], len(row["runs"])) for row in report["rendering"]]
    assert kept == [("2x5x4", 2)] * 2 + [("3x5x4", 1)] * 2
    assert all(row["peak_share"] > 0 for row in report["rendering"])


# --- routing ---


@pytest.mark.parametrize("name", MIXTURES)
def test_shares_have_the_published_mean_cost(name, tool):
    make, backbone, cost = MIXTURES[name]
    encoder = {"type": "EDSREncoder", "num_block": 1}
    network = tool.contenders.Network(name, make(encoder))
    shares = tool.main.wanted_shares([network], [], trained=0)[name]
    macs = [expert.macs() for expert in network.net.expert_list]
    mean = sum(share * each for share, each in zip(shares, macs, strict=True))
    assert mean / backbone(encoder=encoder).expert_list[0].macs() == pytest.approx(cost)
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0.01


def test_shares_without_a_solution_are_refused(tool):
    with pytest.raises(ValueError, match="have a mean of 3"):
        tool.cases.shares_of_mean_depth([0, 1, 2], 3)


@pytest.mark.parametrize("size", [(97, 41), (24, 24), (5, 7)])
def test_expert_map_has_exact_shares_and_consists_of_blobs(size, tool):
    shares = [0.4, 0.3, 0.2, 0.1]
    choice = tool.cases.expert_map(shares, size)
    assert choice.shape == size
    assert torch.equal(choice, tool.cases.expert_map(shares, size))
    for j, share in enumerate(shares):
        assert abs(int((choice == j).sum()) - share * choice.numel()) <= 1
    if min(size) > 20:
        # With random routing, 0.3 of adjacent pixels would have the same expert.
        assert (choice[1:] == choice[:-1]).float().mean() > 0.75
        assert (choice[:, 1:] == choice[:, :-1]).float().mean() > 0.75


def test_experts_without_a_share_are_not_used(tool):
    assert set(tool.cases.expert_map([0.0, 0.5, 0.0, 0.5], (9, 8)).flatten().tolist()) == {1, 3}


def test_replaced_scores_select_the_given_expert_map(tool):
    net = lively(MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6)).eval()
    encoding = render.encode(net, tool.cases.lr_picture((7, 9)))
    choice = tool.cases.expert_map([0.25] * 4, (7, 9))
    assert torch.equal(render.expert_map(tool.cases.routed(encoding, choice))[0], choice)
    assert tool.cases.routed(encoding, None) is encoding


# --- timing ---


def test_contenders_run_in_alternating_order(tool):
    calls = []

    def contender(name):
        def decode(encoded, size):
            calls.append(name)
            return torch.zeros(1, 3, *size)

        return tool.contenders.Contender(name, "fake", "float32", lambda lr: lr, decode, nullcontext)

    case = tool.cases.Case(2, (3, 4))
    *_, rows = tool.rendering.measure([contender(name) for name in "abc"], case, torch.zeros(1, 3, 3, 4), 3)
    assert calls[-9:] == list("abccbaabc")
    assert [row["network"] for row in rows] == list("abc")
    assert all(row["decoder_macs"] == 0 and row["times_plain_liif"] is None for row in rows)


def test_matrix_share_counts_matrix_products_only(tool):
    matrix = torch.randn(300, 300)
    assert tool.timing.matrix_share(lambda: matrix.relu().sort()) == 0
    kernel, wide_kernel = torch.randn(8, 8, 3, 3), torch.randn(64, 64, 3, 3)

    def by_winograd():
        with torch.no_grad(), WinogradConvolutions():
            torch.nn.functional.conv2d(torch.ones(1, 64, 50, 50), wide_kernel)

    torch.set_num_threads(1)  # Winograd convolutions need a single thread
    for product in (
        lambda: matrix @ matrix,
        lambda: torch.addmm(matrix, matrix, matrix, out=torch.empty_like(matrix)),
        lambda: torch.nn.functional.linear(matrix[None], matrix, matrix[0]),
        lambda: torch.nn.functional.conv2d(torch.ones(1, 8, 99, 99), kernel),
        by_winograd,
    ):
        assert 0 < tool.timing.matrix_share(product) <= 1


def test_peak_memory_includes_freed_memory(tool):
    grown = tool.timing.peak_bytes(lambda: torch.ones(2**24).sum(), torch.device("cpu"))  # 64 MiB
    assert grown is None or 60 * 2**20 < grown < 120 * 2**20


# --- published code ---

FAKE_MODELS = """
import timm.models.layers
import torch
from torch import nn
from utils import SummaryWriter


class Fake(nn.Module):
    def __init__(self, encoder_spec, **specs):
        super().__init__()
        self.encoder = nn.Conv2d(3, encoder_spec["args"]["n_feats"], 1)
        widths = [40, 256, 256, 256, 256, 3]
        linears = [nn.Linear(*pair) for pair in zip(widths, widths[1:])]
        layers = [layer for linear in linears for layer in (linear, nn.ReLU())]
        self.imnet = nn.ModuleDict({"layers": nn.Sequential(*layers[:-1])})

    def gen_feat(self, inp):
        self.feat = self.encoder(inp)
        return self.feat

    def query_rgb(self, coord, cell):
        return torch.cat([coord, self.feat[:, :1].mean().expand(coord[..., :1].shape)], dim=-1).cuda()

    def forward(self, inp, coord, cell):
        return torch.cat([cell, self.encoder(inp)[:, :1].mean().expand(coord[..., :1].shape)], dim=-1).cuda()


def make(spec):
    if spec["name"] not in ("liif", "lmliif"):
        raise KeyError(spec["name"])
    return Fake(**spec["args"])
"""


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text(FAKE_MODELS, encoding="utf-8")
    (tmp_path / "utils.py").write_text("from tensorboardX import SummaryWriter\n", encoding="utf-8")
    return tmp_path


def test_published_code_runs_with_our_encoder_and_leaves_no_modules(checkout, tool):
    device, net, lr = torch.device("cpu"), LIIF(encoder=TINY_ENCODER), tool.cases.lr_picture((3, 4))
    before = set(sys.modules), list(sys.path), torch.Tensor.cuda
    liif = tool.published_code.PublishedLIIF(checkout, net.encoder, net.experts[0], device)
    lmf = tool.published_code.PublishedLMLIIF(checkout, net.encoder, device)
    latent = net.encoder(lr * 2 - 1).detach()
    for published, red_and_green in ((liif, [-1 + 1 / 24, 1 - 1 / 32]), (lmf, [2 / 24 * 2, 2 / 32 * 2])):
        picture = published.decode(published.encode(lr), (24, 32))  # x8; LM-LIIF receives the cell of x4
        assert picture.shape == (1, 3, 24, 32)
        expected = torch.tensor([*red_and_green, latent[:, 0].mean()]) * 0.5 + 0.5
        torch.testing.assert_close(picture[0, :, 0, -1], expected)
    assert (set(sys.modules), list(sys.path), torch.Tensor.cuda) == before


def test_published_code_is_a_contender(checkout, tool):
    network = tool.contenders.Network("LIIF", LIIF(encoder=TINY_ENCODER).eval())
    found = tool.contenders.contenders(
        [network], ["float32", "bfloat16"], torch.device("cpu"), liif=checkout, lmf=checkout
    )
    assert [(each.name, each.code) for each in found] == 2 * [
        ("LIIF", "plain"),
        ("LIIF", "package"),
        ("LIIF", "yinboc/liif"),
        ("LM-LIIF", "HeZongyao/LMF"),
    ]
    # Random weights are the same in each precision.
    assert found[3].decode == found[7].decode


def test_contenders_without_plain_reference_and_without_kernels(tool):
    networks = [tool.contenders.Network(name, LIIF(encoder=TINY_ENCODER).eval()) for name in "ab"]
    found = tool.contenders.contenders(
        networks, ["float32"], torch.device("cpu"), plain=["a"], without_kernels=True
    )
    without = "package, without kernels"
    assert [(each.name, each.code) for each in found] == [
        ("a", "plain"),
        ("a", "package"),
        ("a", without),
        ("b", "package"),
        ("b", without),
    ]
    with found[-1].context():
        assert not triton_backend._allowed.get()
    assert triton_backend._allowed.get()


# --- options ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--cases 4x96", "'4x96' is not a case"),
        ("--cases 0.5x9x9", "must be at least 1"),
        ("--cases nanx9x9", "must be at least 1"),
        ("--training 16x48", "'16x48' is not a batch"),
        ("--repeats 0", "'0' is not a whole number"),
        ("--budgets 1", "'1' is not a whole number of at least 2"),
        ("--cases 2.5x4x4 --beside-edsr", "the toolbox has EDSR for scales 2, 3, 4, 8"),
        ("--budgets 3 --pictures .", "--budgets: needs --weights and --pictures"),
        ("--shares MoEISRLIIF-s=0.5,0.6", "with a sum of 1"),
        ("--shares MoEISRLIIF-s=0.5,0.5", "needs 4 numbers, not 2"),
        ("--shares LIFF=1", "choose one of LIIF"),
        ("--precisions tf32", "needs a GPU"),
        ("--training --training-precisions tf32", "--training-precisions tf32: needs a GPU"),
        ("--without-kernels --device cpu", "--without-kernels: needs a GPU"),
        ("--compile", "--training-precisions and --compile: need --training"),
        ("--weights nowhere.pth", "nowhere.pth: no such file of weights"),
        (
            "--cases 1x2x2 --networks LIIF --beside-liif nowhere",
            "nowhere: not a checkout with a network 'liif'",
        ),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, tool, capsys):
    with pytest.raises(SystemExit) as stopped:
        tool.main.main(["--device", "cpu", "--encoder", "tiny", *arguments.split()])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
