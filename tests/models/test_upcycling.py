"""Upcycled mixtures answer as their source where they can, and frozen parts stay as they are."""

import pytest
import torch
from basicsr.archs import build_network
from basicsr.models import build_model
from picture_files import noise, write_folder
from references import TINY_ENCODER, lively, picture, queries
from tiny_trainings import loader, train
from tiny_trainings import options as model_options
from trainings import assert_same_end, finish, killed_after, load, options, printed, start

from moeisr_plugin.archs import routing
from moeisr_plugin.checkpoints.network import network_from, read_checkpoint, save_checkpoint
from moeisr_plugin.checkpoints.provenance import STARTED, UPCYCLED, ancestors
from moeisr_plugin.cli import main
from moeisr_plugin.models.upcycling import upcycle
from moeisr_plugin.utils.hashing import sha256_of

pytestmark = pytest.mark.slow

WIDTH, DEPTH = 24, 4
NETWORKS = {
    "LIIF": {"type": "LIIF", "encoder": TINY_ENCODER, "hidden_dim": WIDTH, "depth": DEPTH},
    "LTE": {
        "type": "LTE",
        "encoder": TINY_ENCODER,
        "hidden_dim": WIDTH,
        "depth": DEPTH,
        "num_freq_features": 16,
    },
}


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "source.pth", "LIIF")


def write_source(path, kind):
    net = lively(build_network(NETWORKS[kind]))
    save_checkpoint(path, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    return path


def upcycled(path, source, photographs, **how):
    checkpoint, starts = upcycle(source, photographs, patches=8, **how)
    save_checkpoint(path, checkpoint)
    return network_from(path), starts


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(("height", "width"), [(7, 5), (1, 9), (13, 8)])
def test_its_deepest_expert_everywhere_is_the_source(kind, height, width, photographs, tmp_path):
    path = write_source(tmp_path / "source.pth", kind)
    mixture, starts = upcycled(tmp_path / "mixture.pth", path, photographs, depths=[2, 3, 4])
    lr = picture(2, height, width).float()
    coord = queries(2, height, width, 50).float()
    cell = torch.tensor([[0.05, 0.04], [0.1, 0.02]])
    deepest = torch.full((2, height, width), 2)
    with torch.no_grad():
        expected = network_from(path)(lr, coord, cell).rgb
        torch.testing.assert_close(mixture(lr, coord, cell, choice=deepest).rgb, expected)
    assert starts[-1] == (4, "copied", 0, 0)


@pytest.mark.parametrize("kind", NETWORKS)
def test_solved_layers_come_nearer_to_the_source_than_copied_ones(kind, photographs, tmp_path):
    path = write_source(tmp_path / "source.pth", kind)
    _, starts = upcycled(tmp_path / "mixture.pth", path, photographs, depths=[2, 3, 4])
    for begun in starts[:-1]:
        assert begun.l1_of_copy is not None
        assert begun.l1 < 0.7 * begun.l1_of_copy


def test_narrower_experts_answer_roughly_as_the_source(source, photographs, tmp_path):
    errors = []
    for width in (6, 12, 23):
        mixture, starts = upcycled(tmp_path / "m.pth", source, photographs, depths=[2, 4], width=width)
        assert mixture.expert_list[1].first.out_features == width
        assert all(begun.l1_of_copy is None for begun in starts)
        errors.append(starts[-1].l1)
    assert errors == sorted(errors, reverse=True)


def test_a_seed_decides_all_of_it(source, photographs):
    first, again, other = (
        upcycle(source, photographs, depths=[2, 4], patches=2, seed=seed)[0]["params"] for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["mapper.0.weight"], other["mapper.0.weight"])


def test_its_file_tells_where_it_comes_from(source, photographs, tmp_path, capsys):
    for name in ("mixture.pth", "mixture.safetensors"):
        target = tmp_path / name
        arguments = [
            "--depths",
            "2",
            "4",
            "--pictures",
            str(photographs),
            "--patches",
            "2",
            "-o",
            str(target),
        ]
        assert main(["upcycle", str(source), *arguments]) == 0
        origin = read_checkpoint(target)[UPCYCLED]
        assert origin["file"] == "source.pth"
        assert origin["sha256"] == sha256_of(source)
        assert [expert["depth"] for expert in origin["experts"]] == [2, 4]
    told = capsys.readouterr().out
    assert "depth 2: first 1 of 2 layers copied, last 1 solved; L1 from the source" in told
    assert "depth 4: copied" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--depths", "2", "5"], "--depths 2 5: {source} has 4 layers; give depths of at most 4"),
        (["--depths", "4"], "--depths 4: give two or more that grow, from 2 on, such as 2 3 4 5"),
        (["--depths", "3", "2"], "--depths 3 2: give two or more that grow, from 2 on, such as 2 3 4 5"),
        (["--depths", "1", "2"], "--depths 1 2: give two or more that grow, from 2 on, such as 2 3 4 5"),
        (["--depths", "2", "4", "--width", "25"], "--width 25: {source} is 24 wide; give 1 to 24"),
    ],
)
def test_what_does_not_suit_the_source_is_told_in_a_line(
    arguments, told, source, photographs, tmp_path, capsys
):
    target = tmp_path / "mixture.pth"
    given = [*arguments, "--pictures", str(photographs), "-o", str(target)]
    assert main(["upcycle", str(source), *given]) == 2
    assert capsys.readouterr().err == f"moeisr upcycle: {told.format(source=source)}\n"
    assert not target.exists()


def test_a_mixture_is_not_upcycled(source, photographs, tmp_path, capsys):
    mixture = tmp_path / "mixture.pth"
    upcycled(mixture, source, photographs, depths=[2, 4])
    given = ["--depths", "2", "4", "--pictures", str(photographs), "-o", str(tmp_path / "again.pth")]
    assert main(["upcycle", str(mixture), *given]) == 2
    told = f"{mixture}: is of MoEISRLIIF; upcycling takes LIIF or LTE, with one expert"
    assert capsys.readouterr().err == f"moeisr upcycle: {told}\n"


def test_the_patches_can_fit_small_pictures(source, tmp_path, capsys):
    folder = write_folder(tmp_path / "small", {f"{i}.png": noise(11, 13 + i, seed=i) for i in range(3)})
    target = tmp_path / "mixture.pth"
    given = ["--depths", "2", "4", "--pictures", folder, "--patches", "4", "-o", str(target)]
    assert main(["upcycle", str(source), *given]) == 2
    told = capsys.readouterr().err
    assert "0.png: 11x13 is too small for lr_size 24 at scale 1, which needs 24x24" in told
    assert told.endswith("remove them or lower lr_size\n")
    assert not target.exists()
    assert main(["upcycle", str(source), *given, "--lr-size", "11"]) == 0
    assert read_checkpoint(target)[UPCYCLED]["lr_size"] == 11


# --- training only what learns ---

FROZEN = ["encoder", "experts.3"]


def test_frozen_parts_stay_bit_for_bit_and_get_no_gradient(photographs, tmp_path):
    opt = model_options(photographs, tmp_path, random_gates_iter=2, freeze=FROZEN)
    model = build_model(opt)
    before = {name: value.clone() for name, value in model.net_g.state_dict().items()}
    latents = []
    model.net_g.encoder.register_forward_hook(lambda net, given, latent: latents.append(latent))
    for current_iter in range(1, 5):
        model.feed_data(next(iter(loader(opt, "train"))))
        model.optimize_parameters(current_iter)
    for name, parameter in model.net_g.named_parameters():
        held = name.startswith(("encoder.", "experts.3."))
        assert torch.equal(parameter, before[name]) == held, name
        assert (parameter.grad is None) == held, name
        if held:
            assert torch.equal(model.net_g_ema.state_dict()[name], before[name])
    assert latents
    assert not any(latent.requires_grad for latent in latents)


def test_pixels_go_to_learning_experts_alone(photographs, tmp_path, monkeypatch):
    dealt = []
    random_choice = routing.random_choice

    def noted(*args, **kwargs):
        dealt.append(random_choice(*args, **kwargs))
        return dealt[-1]

    monkeypatch.setattr(routing, "random_choice", noted)
    train(model_options(photographs, tmp_path, random_gates_iter=2, freeze=["experts.0", "experts.3"]), 2)
    assert len(dealt) == 2
    assert torch.cat(dealt).unique().tolist() == [1, 2]
    gates = routing.random_gates(torch.zeros(1, 4, 30, 30), among=[0, 2])
    assert gates.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0.5, 0, 0.5, 0], abs=0.1)


def test_a_part_that_is_not_there_is_told_in_a_line(photographs, tmp_path):
    with pytest.raises(ValueError, match=r"train\.freeze: no parameter of the network is below 'expert';"):
        build_model(model_options(photographs, tmp_path, freeze=["expert"]))


def frozen_options(photographs):
    distillation = {"type": "L1Loss", "loss_weight": 0.5, "reduction": "mean", "teacher": "deepest"}
    return options(
        photographs,
        optim_g={"type": "Adam", "lr": 1e-3, "rates": {"mapper": 0.5}},
        freeze=["encoder", "experts.1"],
        random_gates_iter=7,
        mapper_alone_iter=3,
        distillation_opt=distillation,
    )


def test_resumed_with_frozen_parts_it_ends_bit_for_bit_the_same(photographs, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    assert finish(start(whole, frozen_options(photographs))) == [0], printed(whole)
    (log,) = whole.glob("experiments/tiny/*.log")
    assert "Frozen: encoder, experts.1." in log.read_text(encoding="utf-8")
    assert "l_distill: " in log.read_text(encoding="utf-8")
    for iteration in (3, 9):
        folder = killed_after(whole, tmp_path / f"after_{iteration}", iteration)
        assert finish(start(folder, frozen_options(photographs), "--auto_resume")) == [0], printed(folder)
        assert_same_end(folder, whole)
    changed = killed_after(whole, tmp_path / "changed", 3)
    opt = frozen_options(photographs)
    opt["train"]["freeze"] = ["encoder"]
    assert finish(start(changed, opt, "--auto_resume")) == [2]
    told = "train.freeze: is ['encoder'], but the training state has ['encoder', 'experts.1']; set it back"
    assert told in printed(changed)


def test_checkpoints_of_its_training_keep_the_origin(source, photographs, tmp_path):
    upcycled(tmp_path / "begun.pth", source, photographs, depths=[2, 4])
    folder = tmp_path / "run"
    folder.mkdir()
    opt = options(photographs, freeze=["encoder", "experts.1"])
    opt["network_g"] = {**NETWORKS["LIIF"], "type": "MoEISRLIIF", "expert_depths": [2, 4]}
    del opt["network_g"]["depth"]
    opt["path"]["pretrain_network_g"] = str(tmp_path / "begun.pth")
    assert finish(start(folder, opt)) == [0], printed(folder)
    trained, begun = load(folder, "models/net_g_latest.pth"), read_checkpoint(tmp_path / "begun.pth")
    assert trained[UPCYCLED] == begun[UPCYCLED]
    for name, value in begun["params"].items():
        if name.startswith(("encoder.", "experts.1.")):
            assert torch.equal(trained["params_ema"][name], value), name


# --- the encoder of another network ---


def encoder_options(photographs, source):
    opt = options(photographs, freeze=["encoder"], encoder_from=str(source), balance_opt=None)
    opt["network_g"] = NETWORKS["LTE"]
    return opt


def test_an_encoder_is_copied_and_its_file_recorded(source, photographs, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    assert finish(start(whole, encoder_options(photographs, source))) == [0], printed(whole)
    trained, weights = load(whole, "models/net_g_latest.pth"), read_checkpoint(source)["params"]
    for entry in ("params", "params_ema"):
        for name in weights:
            if name.startswith("encoder."):
                assert torch.equal(trained[entry][name], weights[name])
    assert UPCYCLED not in trained
    (origin,) = trained[STARTED]
    assert (origin["file"], origin["sha256"], origin["network"]) == ("source.pth", sha256_of(source), "LIIF")
    assert origin["part"] == "network_g.encoder"
    folder = killed_after(whole, tmp_path / "after_3", 3)
    opt = encoder_options(photographs, source)
    source.unlink()
    assert finish(start(folder, opt, "--auto_resume")) == [0], printed(folder)
    assert_same_end(folder, whole)
    path = whole / "experiments/tiny/models/net_g_latest.pth"
    checkpoint, _ = upcycle(path, photographs, depths=[2, 4], patches=2)
    assert [each["file"] for each in ancestors(checkpoint[STARTED])] == ["net_g_latest.pth", "source.pth"]
    assert checkpoint[UPCYCLED]["file"] == "net_g_latest.pth"


@pytest.mark.parametrize("kind", ["LIIF", "CiaoSR"])
def test_a_decoder_that_refines_the_latent_takes_the_encoder(kind, photographs, tmp_path):
    """Its own refinement is not part of the encoder."""
    net = lively(build_network({"type": kind, "encoder": TINY_ENCODER, "hidden_dim": 6}))
    source = tmp_path / "source.pth"
    save_checkpoint(source, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    opt = model_options(photographs, tmp_path, encoder_from=str(source))
    opt["network_g"] = {"type": "MoEISRCiaoSR", "encoder": TINY_ENCODER, "hidden_dim": 4}
    trained = build_model(opt).net_g
    for name, value in net.encoder.state_dict().items():
        assert torch.equal(trained.encoder.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_feat": 6}, r"source\.pth: does not fit EDSREncoder; of another shape: head\.0\.weight"),
        (
            {"res_scale": 0.5},
            r"source\.pth: the encoder has other settings than network_g\.encoder; set",
        ),
    ],
)
def test_another_encoder_is_refused(change, message, source, photographs, tmp_path):
    opt = model_options(photographs, tmp_path, encoder_from=str(source))
    opt["network_g"]["encoder"] = {**TINY_ENCODER, **change}
    with pytest.raises(ValueError, match=message):
        build_model(opt)
