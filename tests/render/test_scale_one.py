"""What a network gives at scale 1, as docs/enlarge.md states it."""

import pytest
import torch
from per_query import liif_features, mlp
from references import TINY_ENCODER, lively

from moeisr_plugin.archs.implicit_arch import LIIF
from moeisr_plugin.render import encode, render

HEIGHT, WIDTH = 7, 9


def answer(net, encoding, row, column, rel):
    """Return the colour (3,) that an LR pixel's latent gives at a relative coordinate, in half latents."""
    rel_cell = torch.tensor([2.0, 2.0], dtype=torch.float64)
    rel = torch.tensor(rel, dtype=torch.float64)
    return 0.5 + 0.5 * mlp(net.experts[0], liif_features(net, encoding.latent, 0, row, column, rel, rel_cell))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_last_row_and_column_are_means_with_the_neighbour(dtype):
    net = lively(LIIF(encoder=TINY_ENCODER, hidden_dim=8)).eval().to(dtype)
    lr = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0), dtype=dtype)
    picture = render(net, encode(net, lr), (HEIGHT, WIDTH))[0].double()
    exact = net.double()
    encoding = exact.encode(lr.double())
    for row in range(HEIGHT):
        for column in range(WIDTH):
            expected = answer(exact, encoding, row, column, (0, 0))
            if row == HEIGHT - 1 and column < WIDTH - 1:
                expected = (expected + answer(exact, encoding, row, column + 1, (0, -2))) / 2
            if column == WIDTH - 1 and row < HEIGHT - 1:
                expected = (expected + answer(exact, encoding, row + 1, column, (-2, 0))) / 2
            torch.testing.assert_close(picture[:, row, column], expected, rtol=0, atol=1e-4)
