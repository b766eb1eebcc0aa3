"""What TensorBoard gets from a validation and from a whole training, and what its log says."""

import re

import numpy as np
import pytest
import torch
import trainings
from basicsr.models import build_model
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_trainings import loader, options
from torch.utils.tensorboard import SummaryWriter
from trainings import finish, printed, start

from moeisr_plugin import render
from moeisr_plugin.models import memory
from moeisr_plugin.publishing.training_log import read_training


def events(folder):
    return EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0}).Reload()


def pixels(image, tmp_path):
    (tmp_path / "image.png").write_bytes(image.encoded_image_string)
    with Image.open(tmp_path / "image.png") as picture:
        return np.asarray(picture)


@pytest.mark.parametrize(("number", "expected"), [(None, 1), (0, 0), (2, 2)])
def test_first_pictures_and_their_expert_maps_are_written(number, expected, photographs, tmp_path):
    opt = options(photographs, tmp_path)
    opt["val"]["routing_health"] = False
    if number is not None:
        opt["logger"]["tb_pictures"] = number
    torch.manual_seed(0)
    model = build_model(opt)
    writer = SummaryWriter(str(tmp_path / "tb"))
    model.validation(loader(opt, "val_1"), 7, writer, save_img=False)
    writer.close()
    found = events(tmp_path / "tb")
    names = ["astronaut", "chelsea"][:expected]
    label = "photographs/x3.7"
    tags = {f"{kind}/{label}/{name}" for kind in ("pictures", "experts") for name in names}
    assert set(found.Tags()["images"]) == tags
    assert set(found.Tags()["scalars"]) == {f"metrics/{label}/psnr"}
    if expected == 0:
        return
    (image,) = found.Images(f"pictures/{label}/astronaut")
    assert image.step == 7
    data = loader(opt, "val_1").dataset[0]
    net = model.net_g_ema.eval()
    encoding = render.encode(net, data["lq"][None])
    rgb = render.render(net, encoding, tuple(data["gt"].shape[1:]))
    written = torch.from_numpy(pixels(image, tmp_path).copy())
    torch.testing.assert_close(written / 255, rgb[0].movedim(0, 2).clamp(0, 1), rtol=0, atol=0.502 / 255)
    (image,) = found.Images(f"experts/{label}/astronaut")
    experts = render.colour_experts(render.expert_map(encoding)[0], 4)
    assert np.array_equal(pixels(image, tmp_path), experts.numpy())


def test_a_network_with_one_expert_has_no_expert_map(photographs, tmp_path):
    opt = options(photographs, tmp_path, balance_opt=None)
    opt["network_g"]["type"] = "LIIF"
    model = build_model(opt)
    writer = SummaryWriter(str(tmp_path / "tb"))
    model.validation(loader(opt, "val_0"), 7, writer, save_img=False)
    writer.close()
    assert events(tmp_path / "tb").Tags()["images"] == ["pictures/photographs/x2/astronaut"]


def test_memory_of_a_gpu_is_its_peak_since_the_last_call(monkeypatch):
    peaks = {"value": 3.5e9}
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peaks["value"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: peaks.update(value=0))
    assert memory.peak_gpu_memory(torch.device("cuda")) == {"gpu_memory_gb": 3.5}
    assert memory.peak_gpu_memory(torch.device("cuda")) == {"gpu_memory_gb": 0}
    assert memory.peak_gpu_memory(torch.device("cpu")) == {}


@pytest.mark.slow
def test_log_and_events_of_a_whole_training(photographs, tmp_path):
    """The last iteration is also one of val_freq; it is validated once, on both sets."""
    opt = trainings.options(photographs, optim_g={"type": "Adam", "lr": 1e-3, "rates": {"encoder": 0.1}})
    opt["logger"]["use_tb_logger"] = True
    opt["val"]["routing_health"] = True
    assert finish(start(tmp_path, opt)) == [0], printed(tmp_path)
    output = printed(tmp_path)
    assert "Multiple validation datasets" not in output
    assert len(re.findall(r"Validation photographs/x", output)) == 4  # 2 sets at 6 and 12
    text = next((tmp_path / "experiments/tiny").glob("train_*.log")).read_text()
    _, _, text = text.partition("Start training from epoch: 0, iter: 0\n")
    assert all(len(line) <= 160 for line in text.splitlines())
    assert not re.search(r"\de[-+]\d", text)
    assert not re.search(r": 0(\.0+)?( |$)", text, re.MULTILINE)
    assert len(re.findall(r"\[epoch: .* lr: 0\.\d+, 0\.\d+\] ", text)) == 12
    training = read_training(tmp_path / "experiments/tiny", tmp_path / "net_g_latest.pth")
    assert training.iterations == 12
    found = events(next((tmp_path / "tb_logger/tiny").glob("events*")))
    scalars = set(found.Tags()["scalars"])
    assert {"learning_rate", "learning_rate/1", "samples_per_s", "losses/l_pix", "share_d2"} <= scalars
    assert {"metrics/photographs/x2/psnr", "routing/photographs/x3.7/gain"} <= scalars
    rates = {event.step: event.value for event in found.Scalars("learning_rate")}
    assert (rates[1], rates[12]) == (pytest.approx(2e-4), pytest.approx(2.5e-4))
    assert {event.step for event in found.Images("experts/photographs/x2/astronaut")} == {6, 12}


@pytest.mark.slow
def test_an_end_that_was_not_validated_is_validated(photographs, tmp_path):
    opt = trainings.options(photographs, total_iter=7)
    assert finish(start(tmp_path, opt)) == [0], printed(tmp_path)
    assert len(re.findall(r"Validation photographs/x", printed(tmp_path))) == 4  # 2 sets at 6 and 7
