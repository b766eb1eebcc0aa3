"""What the server holds, for how long, and how much at a time."""

import threading
import time

import anyio
import numpy as np
import pytest
from skimage import data
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
from moeisr_plugin.commands.web import DEFAULT_NETWORK
from moeisr_plugin.pictures import Picture
from moeisr_plugin.web import encodings
from moeisr_plugin.web.encodings import Routed
from moeisr_plugin.web.held_pictures import HeldPictures
from moeisr_plugin.web.limits import Limits
from moeisr_plugin.web.newest import Newest
from moeisr_plugin.web.refused import RefusedError
from moeisr_plugin.web.shown import png_of
from moeisr_plugin.web.turns import Turns
from moeisr_plugin.web.views import Edges, View, network_view

VIEW = {**NETWORK, "window": "0,0,10,10", "size": "20x20"}
FILE = {**NETWORK, "width": 66, "height": 42, "suffix": "png"}


def test_the_picture_that_was_used_least_recently_makes_room():
    seconds = iter(range(100))
    held = HeldPictures(Limits(pictures=2), clock=lambda: float(next(seconds)))
    first, second = (held.add(name, Picture(photograph())) for name in "ab")
    held.get(first.key)
    third = held.add("c", Picture(photograph()))
    assert [held.holds(each.key) for each in (first, second, third)] == [True, False, True]
    with pytest.raises(RefusedError, match="open it again"):
        held.get(second.key)


def test_a_picture_that_nobody_uses_is_forgotten():
    now = [0.0]
    held = HeldPictures(Limits(idle_seconds=60), clock=lambda: now[0])
    old, used = (held.add(name, Picture(photograph())) for name in "ab")
    now[0] = 50.0
    held.get(used.key)
    now[0] = 61.0
    held.forget_idle()
    assert [held.holds(each.key) for each in (old, used)] == [False, True]


def test_keys_cannot_be_guessed():
    held = HeldPictures(Limits())
    keys = {held.add("a", Picture(photograph())).key for _ in range(20)}
    assert len(keys) == 20
    assert all(len(key) >= 20 for key in keys)


def test_the_server_forgets_idle_pictures_with_what_belongs_to_them(network_files, tmp_path):
    service = make_service(network_files, tmp_path, idle_seconds=0.6)
    with client_of(service) as client:
        key = upload(client)["key"]
        encode(client, key)
        made = client.post(f"/api/pictures/{key}/files", json=FILE).json()
        wait_for(lambda: client.get(f"/api/files/{made['key']}").json())
        assert [*tmp_path.iterdir()]
        time.sleep(2.0)
        assert client.get(f"/api/pictures/{key}").status_code == 404
        assert client.get(f"/api/files/{made['key']}").status_code == 404
        assert not [*tmp_path.iterdir()]


def test_a_forgotten_picture_frees_its_encodings_and_files(client, service, tmp_path):
    key = upload(client)["key"]
    encode(client, key)
    made = client.post(f"/api/pictures/{key}/files", json=FILE).json()
    wait_for(lambda: client.get(f"/api/files/{made['key']}").json())
    assert client.delete(f"/api/pictures/{key}").status_code == 200
    assert client.get(f"/api/pictures/{key}/view", params=VIEW).status_code == 404
    assert not service.encodings._entries
    assert not [*tmp_path.iterdir()]


def test_encodings_make_room_for_others(network_files, tmp_path):
    with client_of(make_service(network_files, tmp_path, encodings=2)) as client:
        keys = [upload(client)["key"] for _ in range(3)]
        for key in keys:
            encode(client, key)
        statuses = [client.get(f"/api/pictures/{key}/view", params=VIEW).status_code for key in keys]
        assert statuses == [409, 200, 200]
        encode(client, keys[0])
        assert client.get(f"/api/pictures/{keys[0]}/view", params=VIEW).status_code == 200


def test_files_make_room_for_others(network_files, tmp_path):
    with client_of(make_service(network_files, tmp_path, files=2)) as client:
        key = upload(client)["key"]
        encode(client, key)
        made = []
        for _ in range(3):
            made.append(client.post(f"/api/pictures/{key}/files", json=FILE).json()["key"])
            wait_for(lambda: client.get(f"/api/files/{made[-1]}").json())
        assert [client.get(f"/api/files/{each}").status_code for each in made] == [404, 200, 200]
        assert len([*tmp_path.iterdir()]) == 2
        client.delete(f"/api/files/{made[1]}")
        assert len([*tmp_path.iterdir()]) == 1


@pytest.mark.slow
def test_a_view_takes_less_than_a_second_of_one_core():
    """The network that the page begins with, 960x540 at x8, in processor time."""
    held = HeldPictures(Limits()).add("cat", Picture(data.chelsea()[:90, :140]))
    upscaler = Upscaler(DEFAULT_NETWORK, device="cpu")
    encoded = upscaler.encode(held.picture.pixels)
    seconds = []
    for shift in range(5):
        view = View(Edges(shift, shift, shift + 67.5, shift + 120), (540, 960))
        start = time.process_time()
        pixels, _ = network_view(held, Routed(upscaler, encoded, encoded.experts()), view, lambda: False)
        png_of(pixels)
        seconds.append(time.process_time() - start)
    assert sorted(seconds)[2] < 1.0


def test_an_encoding_without_memory_fails_in_one_line(client, monkeypatch):
    monkeypatch.setattr(encodings, "available_memory", lambda: 1000)
    key = upload(client)["key"]
    client.post(f"/api/pictures/{key}/encoding", json=NETWORK)
    found = wait_for(lambda: client.get(f"/api/pictures/{key}/encoding", params=NETWORK).json())
    assert found["state"] == "failed"
    assert "of memory, but 1 kB are available; choose bfloat16" in found["error"]
    refused = client.get(f"/api/pictures/{key}/view", params=VIEW)
    assert (refused.status_code, refused.json()["error"]) == (409, found["error"])
    monkeypatch.undo()
    encode(client, key)  # it may be tried again


def test_a_damaged_network_fails_in_one_line(network_files, tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with client_of(make_service({**network_files, "bad": tmp_path / "bad.pth"}, tmp_path)) as client:
        key = upload(client)["key"]
        wanted = {**NETWORK, "network": "bad"}
        client.post(f"/api/pictures/{key}/encoding", json=wanted)
        found = wait_for(lambda: client.get(f"/api/pictures/{key}/encoding", params=wanted).json())
        assert found["state"] == "failed"
        assert "bad.pth" in found["error"]
        assert len(found["error"].splitlines()) == 1


def test_requests_and_uploads_are_limited(network_files, tmp_path):
    """Requests beyond the limit get 503 while others wait, and are answered afterwards."""
    service = make_service(network_files, tmp_path, requests=3, uploads=1)
    entered, may_end = threading.Semaphore(0), threading.Event()

    def slow_upload(name, data):
        entered.release()
        may_end.wait(20)
        raise RefusedError("the end")

    service.open_upload = slow_upload
    with client_of(service) as client:
        waiting = [threading.Thread(target=client.post, args=("/api/pictures",), kwargs={"content": png()})]
        waiting[0].start()
        assert entered.acquire(timeout=20)
        refused = client.post("/api/pictures", content=png())
        assert (refused.status_code, refused.json()["error"][:16]) == (503, "too many uploads")
        assert client.get("/api/start").status_code == 200
        may_end.set()
        waiting[0].join()
        assert client.post("/api/pictures", content=png()).status_code == 400


def test_a_body_that_takes_too_long_ends(network_files, tmp_path):
    service = make_service(network_files, tmp_path, body_seconds=0.2)
    sent = []

    async def receive():
        await anyio.sleep(5)
        return {"type": "http.request", "body": b"", "more_body": True}

    async def send(message):
        sent.append(message)

    with client_of(service) as client:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/pictures",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1")],
            "http_version": "1.1",
            "scheme": "http",
        }
        anyio.run(client.app, scope, receive, send)
    assert sent[0]["status"] == 408
    assert b"takes too long" in sent[1]["body"]


def test_a_view_begins_beside_a_long_computation_whose_next_step_waits():
    turns, order, is_urgent = Turns(), [], threading.Event()

    def long():
        with turns.patient():
            order.append("step 1")
            is_urgent.wait(10)
            turns.make_way()
            order.append("step 2")

    thread = threading.Thread(target=long)
    thread.start()
    while not order:
        time.sleep(0.001)
    with turns.urgent():
        is_urgent.set()
        time.sleep(0.05)
        order.append("view")
    thread.join(10)
    assert order == ["step 1", "view", "step 2"]


def test_long_computations_alternate():
    turns, order, has_begun = Turns(), [], threading.Event()

    def long(name):
        with turns.patient():
            has_begun.set()
            while len(turns._queue) < 2 and name == "a":
                time.sleep(0.001)
            for step in range(3):
                order.append((name, step))
                turns.make_way()

    threads = [threading.Thread(target=long, args=(name,)) for name in "ab"]
    threads[0].start()
    assert has_begun.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(10)
    assert order == [(name, step) for step in range(3) for name in "ab"]


def test_newest_views_of_each_side_of_each_page():
    newest = Newest()
    newest.announce("page", "left", 7)
    newest.announce("page", "left", 5)  # a request that was overtaken
    assert newest.is_older("page", "left", 6)
    assert not newest.is_older("page", "left", 7)
    assert not newest.is_older("page", "right", 1)
    for number in range(300):
        newest.announce(f"page {number}", "left", 1)
    assert not newest.is_older("page", "left", 6)


def test_a_large_picture_has_a_small_preview_and_a_thinned_map(network_files, tmp_path):
    service = make_service(network_files, tmp_path, pixels=5_000_000, view_pixels=1000)
    with client_of(service) as client:
        large = np.zeros((2100, 2000, 3), np.uint8)
        key = upload(client, png(large))["key"]
        shown = pixels_of(client.get(f"/api/pictures/{key}/preview"))
        assert shown.shape == (2049, 1952, 3)
        key = upload(client, png(photograph(51, 63)))["key"]
        encode(client, key)
        answer = client.get(f"/api/pictures/{key}/map", params={**NETWORK, "window": "0,0,51,63"})
        assert pixels_of(answer).shape[:2] == (26, 32)
        assert answer.headers["x-facts"] == '{"window": [0, 0, 51, 63]}'
