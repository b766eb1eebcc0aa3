"""The requests of the page: views, maps, costs and files equal what the package computes elsewhere."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from skimage import data
from tifffile import imwrite
from web_service import (
    NETWORK,
    client_of,
    encode,
    make_service,
    photograph,
    pixels_of,
    png,
    upload,
    wait_for,
)

from moeisr_plugin import Upscaler
from moeisr_plugin.cli import main
from moeisr_plugin.pictures import Picture, read_picture, upright, write_picture
from moeisr_plugin.render.complexity import executed_macs, workload

WINDOW = (2.25, 3.0, 17.5, 20.75)
VIEW = {"window": ",".join(map(str, WINDOW)), "size": "71x61"}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_the_page_begins_with_networks_samples_and_no_picture(client):
    found = client.get("/api/start").json()
    assert [each["name"] for each in found["networks"]] == ["mixture", "single"]
    assert found["networks"][0]["note"] == "to try"
    assert found["network"] == "mixture"
    assert found["samples"] == ["astronaut", "cat", "coffee"]
    assert "tf32" not in found["precisions"]
    assert found["picture"] is None


def test_the_picture_of_the_command_line_is_that_of_every_page(client, service, tmp_path):
    (tmp_path / "mine.png").write_bytes(png())
    service.open_file(tmp_path / "mine.png")
    first, second = (client.get("/api/start").json()["picture"] for _ in range(2))
    assert first == second
    assert (first["name"], first["width"], first["height"]) == ("mine.png", 33, 21)
    client.delete(f"/api/pictures/{first['key']}")
    again = client.get("/api/start").json()["picture"]
    assert client.get(f"/api/pictures/{again['key']}").json() == again


def test_facts_of_a_picture(client):
    assert upload(client, png(photograph(channels=4)))["alpha"]
    found = upload(client, png(icc_profile=SRGB), name="../../folder\\a\nb.png")
    assert (found["name"], found["profile"], found["bits"]) == ("ab.png", True, 8)
    file = io.BytesIO()
    imwrite(file, photograph(dtype=np.uint16), photometric="rgb")
    assert upload(client, file.getvalue())["bits"] == 16


@pytest.mark.parametrize("method", ["nearest", "bicubic"])
def test_plain_views_equal_those_of_pillow(client, method):
    key = upload(client)["key"]
    found = pixels_of(client.get(f"/api/pictures/{key}/plain", params={**VIEW, "method": method}))
    top, left, bottom, right = WINDOW
    expected = Image.fromarray(photograph()).resize(
        (71, 61), Image.Resampling[method.upper()], box=(left, top, right, bottom)
    )
    assert np.array_equal(found, np.asarray(expected))


def test_the_view_of_a_network_equals_its_window(client, network_files):
    key = upload(client)["key"]
    encode(client, key)
    answer = client.get(f"/api/pictures/{key}/view", params={**NETWORK, **VIEW})
    expected = Upscaler(network_files["mixture"]).encode(photograph()).render(window=WINDOW, size=(61, 71))
    assert np.array_equal(pixels_of(answer), expected)
    assert '"milliseconds": ' in answer.headers["x-facts"]


def test_a_budget_changes_the_view_and_its_cost(client, network_files):
    key = upload(client)["key"]
    encode(client, key)
    encoded = Upscaler(network_files["mixture"]).encode(photograph())
    costs = []
    for budget in (0, 0.35, 1):
        values = {**NETWORK, **VIEW, "budget": budget}
        found = pixels_of(client.get(f"/api/pictures/{key}/view", params=values))
        assert np.array_equal(found, encoded.within_budget(budget).render(window=WINDOW, size=(61, 71)))
        costs.append(client.get(f"/api/pictures/{key}/cost", params=values).json())
    macs = [cost["macs"] for cost in costs]
    assert costs[0]["least"] == macs[0] < macs[1] < macs[2] == costs[2]["most"]


def test_cost_and_shares_are_those_of_the_window(client, network_files):
    key = upload(client)["key"]
    encode(client, key)
    upscaler = Upscaler(network_files["mixture"])
    experts = upscaler.encode(photograph()).experts()
    assert experts is not None
    experts = experts[2:18, 3:21]
    work = workload(upscaler.net, torch.from_numpy(experts.astype(np.int64)), (61, 71))
    for _ in range(2):  # the second time from what is held
        found = client.get(f"/api/pictures/{key}/cost", params={**NETWORK, **VIEW}).json()
        assert found["macs"] == executed_macs(upscaler.net, work)
        assert found["shares"] == [round((experts == j).mean(), 4) for j in range(3)]


def test_the_map_shows_the_experts_of_the_window(client, network_files):
    key = upload(client)["key"]
    experts = encode(client, key)["experts"]
    assert [each["depth"] for each in experts] == [2, 3, 4]
    answer = client.get(f"/api/pictures/{key}/map", params={**NETWORK, "window": VIEW["window"]})
    with Image.open(io.BytesIO(answer.content)) as image:
        shown = np.asarray(image.convert("RGB"))
    expected = Upscaler(network_files["mixture"]).encode(photograph()).expert_map(window=WINDOW)
    assert expected is not None
    assert np.array_equal(shown, expected)
    assert answer.headers["x-facts"] == '{"window": [2, 3, 18, 21]}'
    colours = {tuple(each["colour"]) for each in experts}
    assert {tuple(colour) for colour in shown.reshape(-1, 3).tolist()} <= colours


def test_a_network_with_one_expert_has_views_but_neither_map_nor_budget(client):
    key = upload(client)["key"]
    values = {**NETWORK, "network": "single"}
    assert encode(client, key, network="single")["experts"] == []
    assert client.get(f"/api/pictures/{key}/view", params={**values, **VIEW}).status_code == 200
    cost = client.get(f"/api/pictures/{key}/cost", params={**values, **VIEW}).json()
    assert cost["macs"] == cost["least"] == cost["most"] > 0
    for refused in (
        client.get(f"/api/pictures/{key}/map", params={**values, "window": "0,0,5,5"}),
        client.get(f"/api/pictures/{key}/view", params={**values, **VIEW, "budget": 0.5}),
    ):
        assert refused.status_code == 400
        assert "one expert" in refused.json()["error"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_picture_is_shown_upright(client, network_files, tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    stored = Picture(photograph(), exif=exif.tobytes().removeprefix(b"Exif\0\0"))
    write_picture(tmp_path / "turned.png", stored)
    facts = upload(client, (tmp_path / "turned.png").read_bytes())
    encode(client, facts["key"])
    top, left, bottom, right = 2, 4, facts["height"] - 1, facts["width"] - 3
    values = {
        "window": f"{top},{left},{bottom},{right}",
        "size": f"{3 * (right - left)}x{3 * (bottom - top)}",
    }
    found = pixels_of(client.get(f"/api/pictures/{facts['key']}/view", params={**NETWORK, **values}))
    whole = Upscaler(network_files["mixture"]).encode(photograph()).render(scale=3)
    expected = upright(whole, orientation)[3 * top : 3 * bottom, 3 * left : 3 * right]
    assert np.abs(found.astype(int) - expected).max() <= 1  # rounding of coordinates
    shown = pixels_of(client.get(f"/api/pictures/{facts['key']}/preview"))
    assert np.array_equal(shown, upright(photograph(), orientation))


def test_colours_are_shown_as_srgb(client):
    swapped = _profile_with_swapped_primaries()
    key = upload(client, png(icc_profile=swapped))["key"]
    shown = pixels_of(client.get(f"/api/pictures/{key}/preview"))
    source = ImageCms.ImageCmsProfile(io.BytesIO(swapped))
    expected = ImageCms.profileToProfile(
        Image.fromarray(photograph()), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert np.array_equal(shown, np.asarray(expected))
    assert not np.array_equal(shown, photograph())


def _profile_with_swapped_primaries():
    """Return sRGB with the primaries of red and green exchanged."""
    profile = bytearray(SRGB)
    red, green = (slice(at + 4, at + 12) for at in (profile.index(b"rXYZ"), profile.index(b"gXYZ")))
    profile[red], profile[green] = profile[green], profile[red]
    return bytes(profile)


@pytest.mark.parametrize(
    ("suffix", "channels", "dtype"),
    [("png", 4, np.uint8), ("tiff", 3, np.uint16), ("jpg", 3, np.uint16), ("jpg", 1, np.uint8)],
)
def test_a_file_equals_that_of_moeisr_upscale(client, network_files, tmp_path, suffix, channels, dtype):
    source, output = tmp_path / "photo.png", tmp_path / f"out.{suffix}"
    pixels = photograph(channels=channels, dtype=dtype)
    of_colour = channels > 1
    write_picture(source, Picture(pixels, SRGB) if of_colour else Picture(pixels[..., 0]))
    key = upload(client, source.read_bytes())["key"]
    encode(client, key)
    wanted = {**NETWORK, "width": 81, "height": 60, "suffix": suffix}
    made = client.post(f"/api/pictures/{key}/files", json=wanted).json()
    found = wait_for(lambda: client.get(f"/api/files/{made['key']}").json())
    assert (found["state"], found["name"], found["done"]) == ("ready", f"photo_81x60.{suffix}", 60)
    answer = client.get(f"/api/files/{made['key']}/content")
    assert answer.headers["content-disposition"] == f'attachment; filename="photo_81x60.{suffix}"'
    weights = str(network_files["mixture"])
    assert main(["upscale", str(source), "--size", "81x60", "-n", weights, "-o", str(output), "-q"]) == 0
    assert answer.content == output.read_bytes()
    assert ("16 bits" in " ".join(found["notes"])) == (suffix == "jpg" and dtype == np.uint16)
    assert read_picture(output).pixels.shape[:2] == (60, 81)


def test_a_file_with_a_budget_and_a_quality(client):
    key = upload(client)["key"]
    encode(client, key)
    sizes = []
    for quality in (50, 95):
        wanted = {**NETWORK, "width": 99, "height": 63, "suffix": "jpg", "quality": quality, "budget": 0.0}
        made = client.post(f"/api/pictures/{key}/files", json=wanted).json()
        wait_for(lambda made=made: client.get(f"/api/files/{made['key']}").json())
        sizes.append(len(client.get(f"/api/files/{made['key']}/content").content))
    assert sizes[0] < sizes[1]


def test_samples_are_the_photographs_of_scikit_image(network_files, tmp_path):
    expected = {"astronaut": data.astronaut(), "cat": data.chelsea(), "coffee": data.coffee()}
    with client_of(make_service(network_files, tmp_path, pixels=300_000)) as client:
        for name, pixels in expected.items():
            assert pixels_of(client.get(f"/api/samples/{name}")).shape == (128, 192, 3)
            key = client.post(f"/api/samples/{name}").json()["key"]
            assert np.array_equal(pixels_of(client.get(f"/api/pictures/{key}/preview")), pixels)


def test_an_older_view_of_a_page_is_not_rendered(client):
    key = upload(client)["key"]
    encode(client, key)
    values = {**NETWORK, **VIEW, "page": "mine", "side": "left"}
    assert client.get(f"/api/pictures/{key}/view", params={**values, "number": 5}).status_code == 200
    assert client.get(f"/api/pictures/{key}/view", params={**values, "number": 4}).status_code == 204
    for other in ({"side": "right"}, {"page": "other"}):
        answer = client.get(f"/api/pictures/{key}/view", params={**values, **other, "number": 4})
        assert answer.status_code == 200
