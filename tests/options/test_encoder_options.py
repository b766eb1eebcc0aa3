"""Options of encoders that are described by another network."""

import pytest

from moeisr_plugin.options import Run, check

DESCRIBED = {
    "type": "NetworkEncoder",
    "network": {"type": "MSRResNet", "num_feat": 8, "num_block": 1},
    "before": "upconv1",
    "width": 8,
}


def problems(opt, **changes):
    opt["network_g"]["encoder"] = {**DESCRIBED, **changes}
    return [str(problem) for problem in check(opt, Run())[1]]


def test_a_right_description_passes(training_options):
    assert problems(training_options) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"network": {"type": "MSRResNett"}},
            "network_g.encoder.network.type: there is no network MSRResNett; did you mean MSRResNet?",
        ),
        (
            {"network": {"type": "MSRResNet", "num_feats": 8}},
            "network_g.encoder.network.num_feats: unknown; did you mean num_feat?",
        ),
        (
            {"network": {"type": "MSRResNet", "num_feat": "many"}},
            "network_g.encoder.network.num_feat: is 'many'; give a whole number of at least 1",
        ),
        ({"network": {"num_feat": 8}}, "network_g.encoder.network.type: missing; give the name of a network"),
        ({"network": "MSRResNet"}, "network_g.encoder.network: is 'MSRResNet'; give a section with a type"),
        ({"window": 0}, "network_g.encoder.window: is 0; give a whole number of at least 1"),
        ({"halo": -1}, "network_g.encoder.halo: is -1; give a whole number of at least 0"),
        ({"befor": "body"}, "network_g.encoder.befor: unknown; did you mean before?"),
        (
            {"before": "tail"},
            "network_g.encoder: MSRResNet has no 'tail'; it has conv_first, body, upconv1, upconv2, "
            "pixel_shuffle, conv_hr, conv_last, lrelu",
        ),
        (
            {"width": 16},
            "network_g.encoder: the input of upconv1 is 8 wide, with 2x2 pixels for 2x2; width is 16, and "
            "the latent must have the size of LR",
        ),
        (
            {"cut": ["body"]},
            "network_g.encoder: MSRResNet cannot be built and run: 'MSRResNet' object has no attribute "
            "'body'",
        ),
    ],
)
def test_a_wrong_description_is_one_line(changes, line, training_options):
    assert problems(training_options, **changes) == [line]


def test_pretrained_weights_of_the_network_must_exist(training_options):
    assert problems(training_options, pretrained="none.pth") == [
        "network_g.encoder.pretrained: none.pth: no such file; correct the path"
    ]
