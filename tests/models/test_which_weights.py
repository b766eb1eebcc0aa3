"""Averaged weights are the default of training, testing, evaluating and enlarging."""

import logging
from typing import Any

import pytest
import torch
from basicsr.archs import build_network
from basicsr.models import build_model
from PIL import Image
from references import lively
from skimage import data
from tiny_trainings import options
from trainings import finish, printed, run_cli, start
from trainings import options as training_options_of

from moeisr_plugin.archs.pretrained import read_weights
from moeisr_plugin.checkpoints.network import network_from, save_checkpoint


@pytest.fixture
def weights(tmp_path, photographs):
    """A file with raw and averaged weights of the network of `tiny_trainings`."""
    network = options(photographs, tmp_path)["network_g"]
    raw, averaged = (lively(build_network(network), seed=seed) for seed in (0, 1))
    path = tmp_path / "net.pth"
    save_checkpoint(
        path,
        {
            "params": raw.state_dict(),
            "params_ema": averaged.state_dict(),
            "network_g": raw.hyper_parameters,
        },
    )
    return path


@pytest.mark.parametrize("is_train", [True, False])
@pytest.mark.parametrize(("key", "entry"), [(None, "params_ema"), ("params", "params")])
def test_a_run_starts_from_the_averaged_weights(weights, photographs, tmp_path, is_train, key, entry):
    opt = options(photographs, tmp_path) | {"is_train": is_train}
    opt["path"] |= {"pretrain_network_g": str(weights)} | ({"param_key_g": key} if key else {})
    model = build_model(opt)
    torch.testing.assert_close(
        dict(model.net_g.state_dict()), torch.load(weights, weights_only=True)[entry], rtol=0, atol=0
    )


def test_weights_without_an_average_or_an_entry_start_a_run(weights, photographs, tmp_path):
    content = torch.load(weights, weights_only=True)
    for name, stored in (("raw.pth", {"params": content["params"]}), ("bare.pth", content["params"])):
        torch.save(stored, tmp_path / name)
        opt = options(photographs, tmp_path)
        opt["path"]["pretrain_network_g"] = str(tmp_path / name)
        model = build_model(opt)
        torch.testing.assert_close(dict(model.net_g.state_dict()), content["params"], rtol=0, atol=0)


@pytest.mark.parametrize("is_train", [True, False])
def test_a_run_says_which_weights(weights, photographs, tmp_path, is_train, caplog):
    for key, stated in ((None, "averaged weights (params_ema)"), ("params", "params")):
        opt = options(photographs, tmp_path, ema_decay=0) | {"is_train": is_train}
        opt["path"] |= {"pretrain_network_g": str(weights)} | ({"param_key_g": key} if key else {})
        logger = logging.getLogger("basicsr")
        logger.addHandler(caplog.handler)
        try:
            caplog.set_level(logging.INFO, logger="basicsr")
            build_model(opt)
        finally:
            logger.removeHandler(caplog.handler)
        assert [r.getMessage() for r in caplog.records if r.getMessage().startswith("Loading")] == [
            f"Loading MoEISRLIIF from {weights}: {stated}."
        ]
        caplog.clear()


def test_empty_averages_are_passed_over(weights, photographs, tmp_path):
    content = torch.load(weights, weights_only=True)
    torch.save({**content, "params_ema": {}}, tmp_path / "empty.pth")
    opt: dict[str, Any] = options(photographs, tmp_path)
    opt["is_train"] = False
    opt["path"]["pretrain_network_g"] = str(tmp_path / "empty.pth")
    for net in (build_model(opt).net_g, network_from(tmp_path / "empty.pth")):
        torch.testing.assert_close(dict(net.state_dict()), content["params"], rtol=0, atol=0)
    torch.testing.assert_close(read_weights(str(tmp_path / "empty.pth")), content["params"], rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_an_unknown_entry_is_refused(weights, photographs, tmp_path, arguments):
    opt = training_options_of(photographs)
    opt["path"] |= {"pretrain_network_g": str(weights), "param_key_g": "param_ema"}
    assert finish(start(tmp_path / "run", opt, *arguments)) == [2]
    assert "path.param_key_g: " in printed(tmp_path / "run")
    assert "no entry 'param_ema'; param_key can be params, params_ema\n" in printed(tmp_path / "run")


@pytest.mark.slow
def test_commands_say_which_weights(weights, tmp_path, photographs):
    Image.fromarray(data.astronaut()[40:63, 170:201]).save(tmp_path / "small.png")
    line = "net.pth: averaged weights (params_ema)\n"
    code, text = run_cli(tmp_path, "upscale", "small.png", "--scale", 2, "--weights", "net.pth")
    assert (code, text.count(line)) == (0, 1), text
    code, text = run_cli(
        tmp_path, "evaluate", "--weights", "net.pth", "tiny_LIIF", "--data", photographs, "--scales", 2
    )
    assert (code, text.count(line), text.count("averaged weights")) == (0, 1, 1), text
