import pytest
import torch

from basicsr.archs.liif_arch import EDSRLIIF, EDSRMoEISR, make_coord, sample_nearest


@pytest.mark.parametrize('net_class', [EDSRLIIF, EDSRMoEISR])
def test_edsrliif(net_class):
    """Test arch: EDSRLIIF and EDSRMoEISR."""

    # model init and forward
    net = net_class(num_feat=8, num_block=1, num_hidden=8, upscale=4)
    img = torch.rand((2, 3, 7, 9), dtype=torch.float32)
    output = net(img)
    assert output.shape == (2, 3, 28, 36)
    # all parameters receive gradients
    output.mean().backward()
    assert all(param.grad is not None for param in net.parameters())

    # ----------------- a scale that is no integer, and a given size ---------------------- #
    net.eval()
    net.upscale = 2.7
    with torch.no_grad():
        assert net(img).shape == (2, 3, 19, 24)
        assert net(img, (11, 40)).shape == (2, 3, 11, 40)

        # ----------------- the chunks do not matter ---------------------- #
        output = net(img)
        net.chunk = 7
        assert torch.allclose(net(img), output, rtol=1e-5, atol=1e-6)

        # ----------------- cuda ---------------------- #
        if torch.cuda.is_available():
            assert torch.allclose(net.cuda()(img.cuda()).cpu(), output, rtol=1e-3, atol=1e-3)


def test_edsrmoeisr_routing():
    """Test routing: during testing, each LR pixel uses one decoder."""

    net = EDSRMoEISR(num_feat=8, num_block=1, num_hidden=8, depths=(2, 4), mapper_depth=1).eval()
    img = torch.rand((1, 3, 6, 5), dtype=torch.float32)
    single = EDSRLIIF(num_feat=8, num_block=1, num_hidden=8, depth=4).eval()
    single.encoder.load_state_dict(net.encoder.state_dict())
    single.experts[0].load_state_dict(net.experts[1].state_dict())
    net.mapper[0].bias.data = torch.tensor([0., 100.])
    with torch.no_grad():
        assert torch.allclose(net(img), single(img), rtol=1e-5, atol=1e-6)
        net.mapper[0].bias.data = torch.tensor([100., 0.])
        assert not torch.allclose(net(img), single(img), rtol=1e-5, atol=1e-3)
    # the weights of training sum to 1
    weights = net.train().route(torch.rand(1, 8, 6, 5))
    assert torch.allclose(weights.sum(dim=1), torch.ones(1, 6, 5))


def test_make_coord_and_sample_nearest():
    """Test functions: pixel centers and nearest samples."""

    coord = make_coord(2, 4, torch.zeros(1))
    assert torch.allclose(coord[:, 0], torch.tensor([[-0.5, -0.75], [0.5, -0.75]]))
    feat = torch.rand(2, 5, 2, 4)
    out = sample_nearest(feat, coord.view(-1, 2))
    assert torch.equal(out, feat.view(2, 5, 8).permute(0, 2, 1))
