"""Checkpoints that rebuild their network, and files that are not checkpoints."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from references import TINY_ENCODER, lively, picture, queries

from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.checkpoints.network import (
    CheckpointError,
    located,
    network_from,
    read_checkpoint,
    save_checkpoint,
)
from moeisr_plugin.checkpoints.provenance import starting_point
from moeisr_plugin.utils.hashing import sha256_of

NETWORKS = [
    lambda: LIIF(encoder=TINY_ENCODER, hidden_dim=6, unfold=False),
    lambda: LTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8),
    lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6, expert_depths=(2, 4), tau=3.0),
    lambda: MoEISRLTE(
        encoder={"type": "ToolboxEncoder", "arch": "MSRResNet", "params": {"num_feat": 8, "num_block": 1}},
        hidden_dim=6,
    ),
]


def checkpoint_of(net, **more):
    return {"params": net.state_dict(), "network_g": net.hyper_parameters, **more}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "net_g_1.pth"
    save_checkpoint(path, checkpoint_of(NETWORKS[0]()))
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("make", NETWORKS)
def test_checkpoint_rebuilds_the_network(make, suffix, tmp_path):
    net = lively(make()).eval()
    save_checkpoint(tmp_path / f"net{suffix}", checkpoint_of(net))
    again = network_from(tmp_path / f"net{suffix}")
    assert type(again) is type(net)
    assert json.dumps(again.hyper_parameters) == json.dumps(net.hyper_parameters)
    assert not again.training
    lr, coord = picture(2, 5, 7).float(), queries(2, 5, 7, 9).float()
    cell = torch.full((2, 2), 0.1)
    torch.testing.assert_close(again(lr, coord, cell).rgb, net(lr, coord, cell).rgb, rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_averaged_weights_take_precedence(suffix, tmp_path):
    plain, averaged = lively(NETWORKS[0](), seed=1), lively(NETWORKS[0](), seed=2)
    path = tmp_path / f"net{suffix}"
    save_checkpoint(path, checkpoint_of(plain, params_ema=averaged.state_dict()))
    for a, b in zip(network_from(path).parameters(), averaged.parameters(), strict=True):
        assert torch.equal(a, b)


def test_pretrained_encoder_file_is_not_needed_to_load_a_checkpoint(tmp_path):
    net = NETWORKS[3]()
    net.hyper_parameters["encoder"]["pretrained"] = str(tmp_path / "gone.pth")
    save_checkpoint(tmp_path / "net.pth", checkpoint_of(net))
    network_from(tmp_path / "net.pth")


def test_other_files_are_refused(tmp_path, weights):
    whole = weights.read_bytes()
    files = {
        "truncated.pth": (whole[: len(whole) // 2], "it is cut off"),
        "empty.pth": (b"", "it is empty"),
        "page.pth": (b"<!DOCTYPE html><html>404</html>", "it is neither a torch file nor safetensors"),
        "pickle.pth": (pickle.dumps({"params": {}})[:-3], "it is damaged, or holds more"),
    }
    for name, (content, reason) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"{name}: not a readable checkpoint \({reason}"):
            read_checkpoint(tmp_path / name)
    torch.save({"weights": {}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: has no 'params'"):
        read_checkpoint(tmp_path / "other.pth")
    torch.save({"params": {}}, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match=r"bare\.pth: does not describe its network"):
        network_from(tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match=r"absent\.pth: no such file"):
        read_checkpoint(tmp_path / "absent.pth")


def test_bundled_network_is_found_by_its_name(tmp_path, monkeypatch):
    assert network_from("tiny_LTE").hyper_parameters["type"] == "LTE"
    for name in ("tiny_LTX", tmp_path / "tiny_LTE", "tiny_LTE.safetensors"):
        with pytest.raises(
            CheckpointError, match=rf"^{name}: no such file of weights; bundled networks: \w+, "
        ):
            network_from(name)
    monkeypatch.chdir(tmp_path)
    Path("tiny_LTE").touch()
    assert located("tiny_LTE") == Path("tiny_LTE")  # a file takes precedence


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.filterwarnings("error")
def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    save_checkpoint(tmp_path / "net.pth", {"params": {}})
    assert located("~/net.pth") == tmp_path / "net.pth"
    assert read_checkpoint("~/net.pth")["params"] == {}
    assert starting_point("~/net.pth")["sha256"] == sha256_of(tmp_path / "net.pth")


def test_code_in_a_file_is_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"params": Harm()}, "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"params": Harm()}))
    for name in ("zip.pth", "plain.pth"):
        message = (
            rf"{name}: not a readable checkpoint \(.* more than tensors and plain values, which is not run"
        )
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "harm").exists()


def test_error_lists_the_keys_that_do_not_fit(tmp_path):
    net = NETWORKS[0]()
    params = net.state_dict()
    first = params.pop("experts.0.layers.0.weight")
    params["experts.0.layers.2.weight"] = first
    params["stranger"] = first
    save_checkpoint(tmp_path / "net.pth", {"params": params, "network_g": net.hyper_parameters})
    with pytest.raises(CheckpointError) as caught:
        network_from(tmp_path / "net.pth")
    message = str(caught.value)
    assert "\n" not in message
    assert "missing: experts.0.layers.0.weight;" in message
    assert "unknown: stranger;" in message
    assert "of another shape: experts.0.layers.2.weight (6, 8) instead of (6, 6)" in message


def test_error_names_the_first_wrong_keys_and_counts_the_rest(tmp_path):
    net = NETWORKS[0]()
    save_checkpoint(tmp_path / "net.pth", {"params": {"a": torch.ones(1)}, "network_g": net.hyper_parameters})
    with pytest.raises(
        CheckpointError, match=rf"missing: .* and {len(net.state_dict()) - 4} more; unknown: a$"
    ):
        network_from(tmp_path / "net.pth")


@pytest.mark.parametrize("spoil", [torch.Tensor.to_sparse, lambda bias: bias.to(torch.complex64)])
def test_sparse_and_complex_tensors_are_refused(spoil, tmp_path):
    net = NETWORKS[0]()
    params = {**net.state_dict(), "experts.0.layers.0.bias": spoil(torch.ones(6))}
    torch.save({"params": params, "network_g": net.hyper_parameters}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"experts\.0\.layers\.0\.bias .* instead of \(6,\)"):
        network_from(tmp_path / "net.pth")


def test_failed_write_keeps_the_old_file(tmp_path, weights, monkeypatch):
    before = weights.read_bytes()

    def fail(checkpoint, file):
        file.write(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(CheckpointError, match=r"net_g_1\.pth: cannot be saved \(disk full\)"):
        save_checkpoint(weights, {"params": {}})
    assert weights.read_bytes() == before
    assert list(tmp_path.iterdir()) == [weights]


def test_flipped_bit_is_detected(weights):
    content = bytearray(weights.read_bytes())
    with zipfile.ZipFile(weights) as archive:
        record = max((i for i in archive.infolist() if "/data/" in i.filename), key=lambda i: i.file_size)
        content[content.index(archive.read(record))] ^= 1
    weights.write_bytes(content)
    torch.load(weights, weights_only=True)  # torch does not verify checksums
    with pytest.raises(
        CheckpointError, match=r"net_g_1\.pth: not a readable checkpoint \(record .* is damaged"
    ):
        network_from(weights)


HYPER_PARAMETERS = NETWORKS[0]().hyper_parameters
UNBUILDABLE = {
    "unknown type": {**HYPER_PARAMETERS, "type": "Nope"},
    "no type": {key: value for key, value in HYPER_PARAMETERS.items() if key != "type"},
    "no encoder": {"type": "LIIF"},
    "unknown option": {**HYPER_PARAMETERS, "bogus": 1},
    "unknown encoder": {**HYPER_PARAMETERS, "encoder": {"type": "Nope"}},
    "encoder is None": {**HYPER_PARAMETERS, "encoder": None},
    "encoder without decoder": TINY_ENCODER,
    "huge width": {**HYPER_PARAMETERS, "hidden_dim": 10**9},
    "huge depth": {**HYPER_PARAMETERS, "depth": 10**9},
    "huge depth of the encoder": {
        **HYPER_PARAMETERS,
        "encoder": {**HYPER_PARAMETERS["encoder"], "num_block": 10**9},
    },
}


@pytest.mark.parametrize("network_g", UNBUILDABLE.values(), ids=UNBUILDABLE)
def test_network_that_cannot_be_built_is_reported_in_one_line(network_g, tmp_path):
    save_checkpoint(tmp_path / "net.pth", {"params": NETWORKS[0]().state_dict(), "network_g": network_g})
    with pytest.raises(CheckpointError, match=r"net\.pth: ") as caught:
        network_from(tmp_path / "net.pth")
    assert "\n" not in str(caught.value)


def test_saved_file_has_default_permissions(weights):
    plain = weights.with_name("plain")
    plain.touch()
    assert weights.stat().st_mode == plain.stat().st_mode
