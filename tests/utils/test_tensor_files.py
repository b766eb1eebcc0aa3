"""Tensor files: both formats, detection by content, and refused files."""

import zipfile

import pytest
import safetensors
import safetensors.torch
import torch

from moeisr_plugin.utils.tensor_files import CheckpointError, read_tensor_file, write_tensor_file


def content(**more):
    shared = torch.arange(6.0).reshape(2, 3)
    return {"params": {"a.weight": shared, "a.tied": shared.T, "n": torch.tensor(3)}, **more}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_round_trip_does_not_depend_on_the_file_name(tmp_path, suffix):
    averaged = {"a.weight": torch.ones(2)}
    given = content(params_ema=averaged, network_g={"type": "LIIF", "tau": 1.5, "depths": [2, 3]}, note="a")
    write_tensor_file(tmp_path / f"a{suffix}", given)
    other = (tmp_path / f"a{suffix}").rename(tmp_path / "b.bin")
    read = read_tensor_file(other)
    assert read.keys() == given.keys()
    for key in ("params", "params_ema"):
        torch.testing.assert_close(read[key], given[key], rtol=0, atol=0)
    assert (read["network_g"], read["note"]) == (given["network_g"], given["note"])


def test_safetensors_have_plain_parameter_names_and_json_metadata(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensor_file(path, content(params_ema={"a.weight": torch.ones(2)}, network_g={"depths": (2, 3)}))
    assert set(safetensors.torch.load_file(path)) == {"a.weight", "a.tied", "n", "params_ema.a.weight"}
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"network_g": '{"depths": [2, 3]}'}


def test_foreign_safetensors_are_read_as_params(tmp_path):
    safetensors.torch.save_file({"x.weight": torch.ones(3)}, tmp_path / "a.safetensors", {"format": "pt"})
    read = read_tensor_file(tmp_path / "a.safetensors")
    assert read == {"params": {"x.weight": read["params"]["x.weight"]}, "format": "pt"}
    assert torch.equal(read["params"]["x.weight"], torch.ones(3))


@pytest.mark.parametrize(
    ("more", "message"),
    [({"params": {"a": 1}}, "params: a is a int"), ({"extra": torch.ones(1)}, r"not JSON.*choose \.pth")],
)
def test_content_unsuitable_for_safetensors_is_refused_before_writing(tmp_path, more, message):
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match=message):
        write_tensor_file(path, {**content(), **more})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_truncated_files_are_refused_with_one_line(tmp_path, suffix, kept):
    path = tmp_path / f"a{suffix}"
    write_tensor_file(path, {"params": {"a": torch.ones(1000)}})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(
        CheckpointError, match=rf"a\{suffix}: not a readable checkpoint \(.*\); copy it again$"
    ):
        read_tensor_file(path)


def test_compressed_archive_is_refused(tmp_path):
    torch.save({"params": {"a": torch.zeros(1000)}}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as stored,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in stored.infolist():
            packed.writestr(member.filename, stored.read(member))
    assert torch.load(tmp_path / "b.pth")["params"]["a"].shape == (1000,)
    with pytest.raises(CheckpointError, match="its archive is compressed"):
        read_tensor_file(tmp_path / "b.pth")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.safetensors: no such file"):
        read_tensor_file(tmp_path / "absent.safetensors")


def test_equal_contents_give_equal_safetensors(tmp_path):
    content = {"params": {"w": torch.arange(3.0)}, **{key: {"ä": [key]} for key in "hgfedcba"}}
    for name in ("a.safetensors", "b.safetensors"):
        write_tensor_file(tmp_path / name, content)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    again = read_tensor_file(tmp_path / "a.safetensors")
    assert torch.equal(again.pop("params")["w"], content["params"]["w"])
    assert again == {key: content[key] for key in "abcdefgh"}
