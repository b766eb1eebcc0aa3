"""Pixel centres and the neighbouring latents of a query."""

import pytest
import torch
from per_query import corners_of
from references import queries

from moeisr_plugin.archs.coordinates import make_coord, neighbours, pixel_centers


@pytest.mark.parametrize("n", [1, 2, 7, 48])
def test_pixel_centers_match_their_formula(n):
    expected = torch.tensor([-1 + (2 * i + 1) / n for i in range(n)], dtype=torch.float64)
    torch.testing.assert_close(pixel_centers(n, dtype=torch.float64), expected)
    assert pixel_centers(n, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_coordinates_are_row_major_with_y_first():
    coord = make_coord(2, 3, dtype=torch.float64)
    rows, columns = [-1 / 2, 1 / 2], [-2 / 3, 0, 2 / 3]
    torch.testing.assert_close(coord, torch.tensor([[y, x] for y in rows for x in columns]).double())


@pytest.mark.parametrize("local_ensemble", [True, False])
@pytest.mark.parametrize("size", [(5, 7), (2, 3), (1, 6)])
def test_neighbours_match_a_loop_over_queries(size, local_ensemble):
    height, width = size
    coord = queries(2, height, width, 50)[:, :54]  # without pixel centres, where rounding decides
    near = neighbours(coord, height, width, local_ensemble=local_ensemble)
    assert near.index.shape == near.weight.shape == (4 if local_ensemble else 1, 2, 54)
    torch.testing.assert_close(near.weight.sum(0), torch.ones(2, 54, dtype=torch.float64))
    for sample in range(2):
        for query, (y, x) in enumerate(coord[sample].tolist()):
            corners = corners_of(y, x, height, width, local_ensemble=local_ensemble)
            for v, (row, column, rel_y, rel_x, weight) in enumerate(corners):
                assert near.index[v, sample, query] == (sample * height + row) * width + column
                assert near.rel[v, sample, query].tolist() == pytest.approx([rel_y, rel_x], abs=1e-12)
                assert near.weight[v, sample, query].item() == pytest.approx(weight, abs=1e-12)


def test_a_query_at_the_centre_of_a_latent_has_full_weight_there():
    centre = make_coord(5, 7, dtype=torch.float64)[None, 2 * 7 + 3 : 2 * 7 + 4]
    near = neighbours(centre, 5, 7)
    best = near.weight[:, 0, 0].argmax()
    assert near.index[best, 0, 0] == 2 * 7 + 3
    assert near.weight[best, 0, 0] == pytest.approx(1, abs=1e-8)
