"""Absurd hyper-parameters in a file of weights are one line that names the key."""

import copy

import pytest

from moeisr_plugin.archs.implicit_network import ImplicitDecoder
from moeisr_plugin.archs.registry import NETWORKS, build_network, register
from moeisr_plugin.checkpoints.network import CheckpointError, network_of


class Flipped(ImplicitDecoder):
    """A network of another package, with a negative whole number and any other number."""

    def __init__(self, *, encoder, axis=-1, offset=1.0):
        super().__init__(encoder=encoder, axis=axis, offset=offset)
        self.axis = axis


MIXTURE = {
    "type": "MoEISRLIIF",
    "encoder": {"type": "EDSREncoder", "num_feat": 8, "num_block": 1, "res_scale": 1.0},
    "hidden_dim": 8,
    "expert_depths": [2, 3],
    "mapper_depth": 2,
    "mapper_hidden_dim": None,
    "tau": 1.0,
    "unfold": True,
}


@pytest.fixture(scope="module")
def weights():
    return build_network(MIXTURE).state_dict()


def changed(path: str, value: object) -> dict:
    network_g = copy.deepcopy(MIXTURE)
    *parents, key = path.split(".")
    place = network_g
    for parent in parents:
        place = place[parent]
    place[key] = value
    return network_g


def test_sound_hyper_parameters_build_the_network(weights):
    assert len(network_of({"params": weights, "network_g": MIXTURE}, "net.pth").experts) == 2
    whole = changed("tau", 1)  # a whole number is a number
    assert len(network_of({"params": weights, "network_g": whole}, "net.pth").experts) == 2


@pytest.mark.parametrize(
    "value", [-1, -(2**31), 2**64, 10**30, -0.5, float("nan"), float("inf"), "8", b"8", []]
)
@pytest.mark.parametrize("key", ["hidden_dim", "mapper_depth", "encoder.num_feat", "encoder.num_block"])
def test_a_size_that_is_none_is_named(key, value, weights):
    with pytest.raises(CheckpointError) as caught:
        network_of({"params": weights, "network_g": changed(key, value)}, "net.pth")
    message = str(caught.value)
    assert message.startswith("net.pth: its network cannot be built (ValueError: network_g.")
    assert f"{key} is " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tau", float("nan")),
        ("tau", float("inf")),
        ("tau", -1.0),
        ("tau", "1"),
        ("tau", True),
        ("unfold", "no"),
        ("unfold", 2),
        ("encoder.res_scale", float("inf")),
        ("expert_depths", [-2, 3]),
        ("expert_depths", [2, float("nan")]),
        ("expert_depths", [[2], -3]),
        ("mapper_hidden_dim", -8),
        ("hidden_dim", 8.5),
    ],
)
def test_other_absurd_values_are_named(key, value, weights):
    with pytest.raises(CheckpointError, match=rf"network_g\.{key} is .*which describes no network"):
        network_of({"params": weights, "network_g": changed(key, value)}, "net.pth")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("key", ["hidden_dim", "mapper_depth", "encoder.num_feat", "encoder.num_block"])
def test_sizes_of_zero_are_one_line_without_a_warning(key, weights):
    with pytest.raises(CheckpointError) as caught:
        network_of({"params": weights, "network_g": changed(key, 0)}, "net.pth")
    assert "\n" not in str(caught.value)


def test_classes_of_other_packages_take_any_numbers(monkeypatch):
    monkeypatch.setitem(NETWORKS, "Flipped", Flipped)
    network_g = {"type": "Flipped", "encoder": MIXTURE["encoder"], "axis": -2, "offset": -0.5}
    weights = build_network(network_g).state_dict()
    assert network_of({"params": weights, "network_g": network_g}, "net.pth").hyper_parameters == network_g


def test_no_class_takes_the_name_of_one_of_this_package():
    taken = type("MoEISRLIIF", (ImplicitDecoder,), {"__module__": "my_package"})
    message = "the network MoEISRLIIF of my_package has the name of one of moeisr_plugin.archs.implicit_arch"
    before = NETWORKS["MoEISRLIIF"]
    with pytest.raises(ValueError, match=f"{message}; rename it"):
        register(taken)
    assert NETWORKS["MoEISRLIIF"] is before


def test_unknown_networks_are_one_line_and_nothing_is_printed(weights, capfd):
    for network_g in (changed("type", "Unknown"), changed("encoder.type", "Unknown")):
        with pytest.raises(CheckpointError, match="Unknown"):
            network_of({"params": weights, "network_g": network_g}, "net.pth")
    assert capfd.readouterr() == ("", "")
