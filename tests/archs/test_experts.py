"""Experts match their layers written out, and start near the identity on request."""

import pytest
import torch

from moeisr_plugin.archs.experts import Expert, make_experts


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_an_expert_matches_its_layers_written_out(depth):
    torch.manual_seed(0)
    expert = Expert(in_features=7, hidden_dim=6, depth=depth)
    assert len(expert.linears) == depth
    features = torch.randn(4, 9, 7)
    hidden = features
    for i in range(depth):
        weight, bias = (expert.state_dict()[f"layers.{2 * i}.{kind}"] for kind in ("weight", "bias"))
        hidden = hidden @ weight.t() + bias
        hidden = hidden.clamp(min=0) if i < depth - 1 else hidden
    torch.testing.assert_close(expert(features), hidden)
    torch.testing.assert_close(expert.finish(expert.first(features)), hidden)


def test_layers_at_the_identity_do_not_change_the_output(monkeypatch):
    monkeypatch.setattr("moeisr_plugin.archs.experts._IDENTITY_NOISE", 0.0)
    torch.manual_seed(0)
    deep = Expert(in_features=7, hidden_dim=6, depth=5, identity_start=True)
    shallow = Expert(in_features=7, hidden_dim=6, depth=2)
    shallow.linears[0].load_state_dict(deep.linears[0].state_dict())
    shallow.linears[1].load_state_dict(deep.linears[-1].state_dict())
    features = torch.randn(9, 7)
    torch.testing.assert_close(deep(features), shallow(features))


def test_identity_start_keeps_part_of_the_default_initialisation():
    torch.manual_seed(0)
    plain = Expert(in_features=7, hidden_dim=6, depth=4)
    torch.manual_seed(0)
    near = Expert(in_features=7, hidden_dim=6, depth=4, identity_start=True)
    for i in (1, 2):
        expected = torch.eye(6) + 0.3 * plain.linears[i].weight
        torch.testing.assert_close(near.linears[i].weight, expected)
        torch.testing.assert_close(near.linears[i].bias, 0.3 * plain.linears[i].bias)
    for i in (0, 3):
        torch.testing.assert_close(near.linears[i].weight, plain.linears[i].weight)


def test_invalid_depths_are_refused():
    with pytest.raises(ValueError, match="depth must be 2 or more"):
        make_experts(in_features=7, hidden_dim=6, depths=[1, 2])
    for depths in ([], [3, 2], [2, 2]):
        with pytest.raises(ValueError, match="expert_depths must grow"):
            make_experts(in_features=7, hidden_dim=6, depths=depths)
