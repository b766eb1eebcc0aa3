"""Rendering at any coordinates matches the forward pass and the regular grid."""

import numpy as np
import pytest
import torch
from references import grid_queries, picture, queries
from test_window import NETWORKS, encoded, network

from moeisr_plugin import render


@pytest.mark.parametrize("name", NETWORKS)
def test_scattered_coordinates_match_the_forward_pass(name, monkeypatch):
    monkeypatch.setattr("moeisr_plugin.render.scattered._TILE", 3)
    monkeypatch.setattr("moeisr_plugin.render.scattered._QUERIES", 5)
    net, lr = network(name).double(), picture(1, 8, 7)
    net.queries_at_a_time = 11
    coord, cell = queries(1, 8, 7, 60)[:, :, :], (0.1, 0.13)
    coord = coord[:, (coord[0].abs() < 1).all(1)]
    with torch.no_grad():
        expected = net(lr, coord, torch.tensor([cell], dtype=torch.float64)).rgb[0]
    found = render.render_at(net, render.encode(net, lr), coord[0], cell)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3), (7, 9, 4)])
@pytest.mark.parametrize("name", ["MoEISRLIIF", "MoEISRLTE", "CiaoSR"])
def test_coordinates_of_a_grid_give_the_rendered_picture(name, shape):
    size, pixels = (18, 25), (np.random.default_rng(0).random(shape) * 255).astype(np.uint8)
    enlarged = encoded(network(name), pixels)
    coord = grid_queries(1, *size)[0].numpy().reshape(*size, 2)
    found = enlarged.render_at(coord, (2 / size[0], 2 / size[1]))
    expected = enlarged.render(size=size)
    assert found.dtype == np.uint8
    # At the centre of the last row or column, LIIF's formula depends on rounding.
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_coordinates_outside_are_black_and_transparent():
    pixels = np.full((6, 7, 4), 200, np.uint8)
    coord = np.array([[0.0, 0.0], [0.0, 1.2], [-1.0000001, 0.0], [-3, 9]])
    found = encoded(network("LIIF"), pixels).render_at(coord, (0.1, 0.1))
    assert found.tolist()[1] == found.tolist()[3] == [0, 0, 0, 0]
    assert found[0, 3] == found[2, 3] == 200
    assert encoded(network("LIIF"), pixels).render_at(coord[1:2], (0.1, 0.1)).tolist() == [[0, 0, 0, 0]]
    assert encoded(network("LIIF"), pixels).render_at(np.zeros((0, 5, 2)), (0.1, 0.1)).shape == (0, 5, 4)


def test_larger_cells_count_as_those_of_the_picture():
    """Networks are trained on scales from 1 on."""
    pixels = (np.random.default_rng(0).random((6, 7, 3)) * 255).astype(np.uint8)
    coord = np.random.default_rng(1).random((30, 2)) * 2 - 1
    enlarged = encoded(network("MoEISRLTE"), pixels)
    at_one = enlarged.render_at(coord, (2 / 6, 2 / 7))
    np.testing.assert_array_equal(enlarged.render_at(coord, (1.5, 0.9)), at_one)
    assert (enlarged.render_at(coord, (2 / 12, 2 / 14)) != at_one).any()


@pytest.mark.parametrize(
    ("coord", "cell", "message"),
    [
        (np.zeros((4, 3)), (0.1, 0.1), r"coord has shape \(4, 3\)"),
        (0.5, (0.1, 0.1), "give numbers"),
        (np.array([["a", "b"]]), (0.1, 0.1), "give numbers"),
        (np.array([[np.nan, 0]]), (0.1, 0.1), "coord has NaN or Inf; give finite numbers"),
        (np.zeros((1, 2)), 0.1, "give two finite numbers, height and width of an output pixel"),
        (np.zeros((1, 2)), (0.1, np.inf), "give two finite numbers"),
        (np.zeros((1, 2)), (0.1, 0), "greater than 0, such as 2/H and 2/W"),
    ],
)
def test_wrong_coordinates_are_refused_with_the_remedy(coord, cell, message):
    with pytest.raises(ValueError, match=message):
        encoded(network("LIIF"), np.zeros((7, 9, 3), np.uint8)).render_at(coord, cell)
