"""The four networks match the equations of the papers (references.py)."""

import json

import pytest
import torch
from basicsr.archs import build_network
from references import TINY_ENCODER, Reference, gradients, grid_queries, lively, picture, queries

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.encoders.edsr_encoder_arch import EDSREncoder
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE

LIIF_TINY = {"encoder": TINY_ENCODER, "hidden_dim": 6}
LTE_TINY = {**LIIF_TINY, "num_freq_features": 8}
NETWORKS = {
    "LIIF": lambda: LIIF(**LIIF_TINY),
    "LIIF no unfold": lambda: LIIF(**LIIF_TINY, unfold=False),
    "LIIF no cell": lambda: LIIF(**LIIF_TINY, cell_decode=False),
    "LIIF no ensemble": lambda: LIIF(**LIIF_TINY, local_ensemble=False),
    "LIIF nothing": lambda: LIIF(**LIIF_TINY, unfold=False, cell_decode=False, local_ensemble=False),
    "MoEISRLIIF": lambda: MoEISRLIIF(**LIIF_TINY),
    "MoEISRLIIF no unfold": lambda: MoEISRLIIF(**LIIF_TINY, unfold=False, mapper_depth=1),
    "MoEISRLIIF no cell": lambda: MoEISRLIIF(**LIIF_TINY, cell_decode=False, expert_depths=(2, 4)),
    "MoEISRLIIF no ensemble": lambda: MoEISRLIIF(**LIIF_TINY, local_ensemble=False),
    "LTE": lambda: LTE(**LTE_TINY),
    "LTE no ensemble": lambda: LTE(**LTE_TINY, local_ensemble=False),
    "MoEISRLTE": lambda: MoEISRLTE(**LTE_TINY),
    "MoEISRLTE no ensemble": lambda: MoEISRLTE(**LTE_TINY, local_ensemble=False, mapper_kernel_size=5),
}
MIXTURES = [name for name in NETWORKS if name.startswith("MoEISR")]
PRECISIONS = [(torch.float32, 1e-5), (torch.float64, 1e-10)]
# LTE takes sines of angles up to tens of radians, which float32 resolves to about 1e-6.
LTE_FLOAT32 = 1e-4

# scales ×2.6 by ×3.143 and ×1.2 by ×7.571: each sample and axis has a different cell
CELLS = torch.tensor([[2 / 13, 2 / 22], [2 / 6, 2 / 53]], dtype=torch.float64)


def case(name, size=(5, 7), count=20):
    net = lively(NETWORKS[name]())
    height, width = size
    return net, picture(2, height, width), queries(2, height, width, count)


def cast(dtype, *tensors):
    return [t.to(dtype) for t in tensors]


def assert_near(actual, expected, tolerance):
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=tolerance * scale)


def assert_same_gradients(net, rgb, reference, expected_rgb, tolerance):
    expected = gradients(reference.net, expected_rgb)
    for key, grad in gradients(net, rgb).items():
        assert_near(grad, expected[key], tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_matches_the_soft_mixture(name, dtype, tolerance):
    tolerance = LTE_FLOAT32 if "LTE" in name and dtype == torch.float32 else tolerance
    net, lr, coord = case(name)
    reference = Reference(net)
    noise = torch.randn(2, len(net.experts), 5, 7, generator=torch.Generator().manual_seed(3)).double()
    rgb, scores = net.to(dtype).train()(
        *cast(dtype, lr, coord, CELLS), gate=lambda scores: (scores + noise.to(scores)).softmax(1)
    )
    expected = reference(lr, coord, CELLS, gate=lambda scores: (scores + noise).softmax(1))
    assert rgb.dtype == scores.dtype == dtype
    assert_near(rgb, expected, tolerance)
    assert_near(scores, reference.encode(lr)[1], tolerance)
    assert_same_gradients(net, rgb, reference, expected, tolerance)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("name", MIXTURES)
def test_a_given_choice_matches_one_hot_gates(name, dtype, tolerance, training):
    tolerance = LTE_FLOAT32 if "LTE" in name and dtype == torch.float32 else tolerance
    net, lr, coord = case(name)
    reference = Reference(net)
    choice = torch.randint(len(net.experts), (2, 5, 7), generator=torch.Generator().manual_seed(3))
    rgb = net.to(dtype).train(training)(*cast(dtype, lr, coord, CELLS), choice=choice).rgb
    gates = torch.nn.functional.one_hot(choice, len(net.experts)).permute(0, 3, 1, 2).double()
    expected = reference(lr, coord, CELLS, gate=lambda scores: gates)
    assert_near(rgb, expected, tolerance)
    assert_same_gradients(net, rgb, reference, expected, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_evaluation_matches_hard_dispatch(name, dtype, tolerance):
    tolerance = LTE_FLOAT32 if "LTE" in name and dtype == torch.float32 else tolerance
    net, lr, coord = case(name)
    reference = Reference(net)
    chosen = reference.encode(lr)[1].argmax(1).unique()
    assert len(chosen) > 1 or name not in MIXTURES  # otherwise routing would not matter
    rgb = net.to(dtype).eval()(*cast(dtype, lr, coord, CELLS)).rgb
    expected = reference(lr, coord, CELLS)
    assert_near(rgb, expected, tolerance)
    assert_same_gradients(net, rgb, reference, expected, tolerance)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (7, 1)])
@pytest.mark.parametrize("name", ["LIIF", "MoEISRLIIF", "MoEISRLTE"])
def test_latents_of_one_pixel_in_height_or_width(name, size, training):
    net, lr, coord = case(name, size, count=8)
    reference = Reference(net)
    rgb = net.double().train(training)(lr, coord, CELLS, gate=lambda scores: scores.softmax(1)).rgb
    expected = (
        reference(lr, coord, CELLS, gate=lambda s: s.softmax(1)) if training else reference(lr, coord, CELLS)
    )
    assert_near(rgb, expected, 1e-10)


@pytest.mark.parametrize("grid", [(3, 4), (9, 12), (15, 4)])
@pytest.mark.parametrize("name", ["MoEISRLIIF", "MoEISRLTE", "LIIF no ensemble"])
def test_queries_at_the_centres_of_latents(name, grid):
    """With odd integer scales, shifted queries lie exactly between latents, and LIIF's 1e-6 decides."""
    net, lr = lively(NETWORKS[name]()), picture(2, 3, 4)
    coord = grid_queries(2, *grid)
    cell = torch.tensor([[2 / grid[0], 2 / grid[1]]] * 2, dtype=torch.float64)
    expected = Reference(net)(lr, coord, cell)
    # At the centres of the last row and column, LIIF's 1e-9 decides, which is close to rounding errors.
    last = (1 - 1 / torch.tensor([3, 4], dtype=torch.float64) - coord[0]).abs() < 1e-12
    decided = ~last.any(dim=1)
    for dtype, tolerance in PRECISIONS:
        rgb = net.to(dtype).eval()(*cast(dtype, lr, coord, cell)).rgb
        assert_near(rgb[:, decided], expected[:, decided], tolerance)
    assert_near(rgb, expected, 1e-5)


@pytest.mark.parametrize("name", MIXTURES)
def test_all_pixels_can_be_routed_to_one_expert(name):
    net, lr, coord = case(name, count=8)
    reference, net = Reference(net), net.double()
    for expert in range(len(net.experts)):
        encoding = net.encode(lr)
        encoding = encoding._replace(scores=routing.use_everywhere(encoding.scores, expert))

        def alone(scores, expert=expert):
            gates = torch.zeros_like(scores)
            gates[:, expert] = 1
            return gates

        expected = reference(lr, coord, CELLS, gate=alone)
        assert_near(net.dispatch(encoding, coord, CELLS), expected, 1e-10)


@pytest.mark.parametrize("mixture", [MoEISRLIIF, MoEISRLTE])
def test_the_default_gate_is_gumbel_softmax_at_the_temperature_of_the_network(mixture):
    net = lively(mixture(**LIIF_TINY, tau=3.0)).double().train()
    lr, coord = picture(2, 5, 7), queries(2, 5, 7, 10)
    torch.manual_seed(11)
    rgb = net(lr, coord, CELLS).rgb
    torch.manual_seed(11)
    noise = -torch.empty(2, len(net.experts), 5, 7, dtype=torch.float64).exponential_().log()
    assert_near(rgb, Reference(net)(lr, coord, CELLS, gate=lambda s: ((s + noise) / 3).softmax(1)), 1e-10)

    torch.manual_seed(11)
    torch.testing.assert_close(net(lr, coord, CELLS).rgb, rgb, rtol=0, atol=0)
    assert not torch.allclose(net(lr, coord, CELLS).rgb, rgb)


def test_a_choice_of_another_shape_is_refused():
    net, lr, coord = case("MoEISRLIIF", count=4)
    with pytest.raises(ValueError, match=r"choice has shape \(2, 7, 5\); give \(2, 5, 7\)"):
        net.double()(lr, coord, CELLS, choice=torch.zeros(2, 7, 5, dtype=torch.long))


def test_evaluation_draws_no_random_numbers():
    net, lr, coord = case("MoEISRLTE", count=4)
    before = torch.get_rng_state()
    net.double().eval()(lr, coord, CELLS)
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_of_a_batch_are_independent():
    net, lr, coord = case("MoEISRLIIF")
    net = net.double().eval()
    together = net(lr, coord, CELLS).rgb
    apart = torch.cat([net(*(t[i : i + 1] for t in (lr, coord, CELLS))).rgb for i in (0, 1)])
    assert_near(together, apart, 1e-12)


@pytest.mark.parametrize("name", ["LIIF", "MoEISRLIIF", "MoEISRLTE"])
def test_every_tensor_follows_the_device_of_its_inputs(name):
    net = NETWORKS[name]().to("meta").train()
    lr, coord, cell = (torch.empty(*shape, device="meta") for shape in [(2, 3, 5, 7), (2, 9, 2), (2, 2)])
    rgb, scores = net(lr, coord, cell)
    assert rgb.device.type == scores.device.type == "meta"
    assert rgb.shape == (2, 9, 3)
    assert scores.shape == (2, len(net.experts), 5, 7)


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_default_decoders_have_the_published_number_of_parameters():
    encoder = EDSREncoder(num_block=1)
    liif, lte = LIIF(encoder=encoder), LTE(encoder=encoder)
    # weights and biases of 580-256-256-256-256-3
    assert count(liif) - count(encoder) == 345_856 + 4 * 256 + 3 == 346_883
    # coef and freq: 64*9*256 + 256 each; phase: 2*128; 256-256-256-256-3
    assert count(lte) - count(encoder) == 2 * 147_712 + 256 + 197_376 + 3 * 256 + 3 == 493_827


@pytest.mark.parametrize(
    ("make", "macs"),
    [
        (lambda e: LIIF(encoder=e), [345_856]),
        (lambda e: MoEISRLIIF(encoder=e), [149_248, 214_784, 280_320, 345_856]),
        (lambda e: MoEISRLIIF(encoder=e, hidden_dim=128), [74_624, 91_008, 107_392, 123_776]),
        (lambda e: LTE(encoder=e), [197_376]),
        (lambda e: MoEISRLTE(encoder=e), [66_304, 131_840, 197_376]),
        (lambda e: MoEISRLTE(encoder=e, hidden_dim=128), [33_152, 49_536, 65_920]),
    ],
)
def test_macs_of_a_query_match_the_paper(make, macs):
    assert [expert.macs() for expert in make(EDSREncoder(num_block=1)).experts] == macs


@pytest.mark.parametrize("name", NETWORKS)
def test_hyper_parameters_rebuild_the_network(name):
    net = NETWORKS[name]()
    again = build_network(json.loads(json.dumps(net.hyper_parameters)))
    assert again.hyper_parameters == net.hyper_parameters
    again.load_state_dict(net.state_dict())
    lr, coord = picture(2, 5, 7).float(), queries(2, 5, 7, 4).float()
    colours = [each.eval()(lr, coord, CELLS.float()).rgb for each in (net, again)]
    torch.testing.assert_close(*colours, rtol=0, atol=0)


def test_hyper_parameters_have_plain_types():
    net = MoEISRLIIF(**LIIF_TINY, expert_depths=range(2, 4))
    assert json.loads(json.dumps(net.hyper_parameters))["expert_depths"] == [2, 3]


def test_state_dict_keys_are_the_published_ones():
    keys = {key for key in LTE(**LTE_TINY).state_dict() if not key.startswith("encoder.")}
    convs = {f"embedding.{part}.{kind}" for part in ("coef", "freq") for kind in ("weight", "bias")}
    layers = {f"experts.0.layers.{i}.{kind}" for i in (0, 2, 4, 6) for kind in ("weight", "bias")}
    assert keys == convs | layers | {"embedding.phase.weight"}


def test_an_encoder_without_latent_channels_is_refused():
    with pytest.raises(ValueError, match="latent_channels"):
        LIIF(encoder=torch.nn.Conv2d(3, 4, 3))


@pytest.mark.parametrize("training", [True, False])
def test_a_network_in_bfloat16_accepts_float32_coordinates(training):
    net = lively(NETWORKS["MoEISRLTE"]()).bfloat16().train(training)
    rgb, _ = net(picture(1, 5, 7).bfloat16(), queries(1, 5, 7, 4).float(), CELLS[:1].float())
    assert rgb.isfinite().all()


@pytest.mark.parametrize("name", ["LIIF", "MoEISRLTE"])
def test_coordinates_in_float16_match_float32(name):
    net, lr = lively(NETWORKS[name]()).half().eval(), picture(1, 6, 8).half()
    coord, cell = grid_queries(1, 6, 8).half(), torch.tensor([[2 / 6, 2 / 8]]).half()
    assert torch.equal(net(lr, coord, cell).rgb, net(lr, coord.float(), cell.float()).rgb)
    assert net(lr, coord, cell).rgb.isfinite().all()


@pytest.mark.parametrize("training", [True, False])
def test_different_batch_sizes_are_refused(training):
    net, lr, coord = case("LIIF", count=4)
    for batch in (
        (lr.float(), coord[:1].float(), CELLS.float()),
        (lr.float(), coord.float(), CELLS[:1].float()),
    ):
        with pytest.raises(ValueError, match="batch sizes of lr, coord and cell differ: 2, "):
            net.train(training)(*batch)
