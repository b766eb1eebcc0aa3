"""A server of the page in tests: tiny networks, small limits, requests within the process."""

import io
import time
from functools import partial

import numpy as np
import torch
from PIL import Image
from starlette.testclient import TestClient

from moeisr_plugin.archs.implicit_arch import LIIF, MoEISRLIIF
from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.commands.page_files import fit
from moeisr_plugin.web.app import create_app
from moeisr_plugin.web.limits import Limits
from moeisr_plugin.web.networks import Networks
from moeisr_plugin.web.service import Service

ADDRESS = "http://127.0.0.1:8000"
ENCODER = {"type": "EDSREncoder", "num_feat": 8, "num_block": 1}
NETWORK = {"network": "mixture", "precision": "float32"}


def write_networks(folder):
    """Write a mixture and a network with one expert, and return their files by name."""
    torch.manual_seed(0)
    nets = {
        "mixture": MoEISRLIIF(encoder=ENCODER, hidden_dim=8, expert_depths=(2, 3, 4)),
        "single": LIIF(encoder=ENCODER, hidden_dim=8),
    }
    files = {name: folder / f"{name}.pth" for name in nets}
    for name, net in nets.items():
        save_checkpoint(files[name], {"params": net.state_dict(), "network_g": net.hyper_parameters})
    return files


def make_service(network_files, folder, **limits):
    chosen = Limits(**{"pixels": 10_000, "upload_bytes": 200_000, "view_pixels": 60_000, **limits})
    networks = Networks(network_files, notes={"mixture": "to try"}, device="cpu", held=chosen.networks)
    return Service(
        networks, network="mixture", folder=folder, fit=partial(fit, max_pixels=10**6), limits=chosen
    )


def client_of(service, *, host="127.0.0.1", allowed_hosts=(), address=ADDRESS):
    app = create_app(service, host=host, allowed_hosts=allowed_hosts)
    return TestClient(app, base_url=address, raise_server_exceptions=False)


def photograph(height=21, width=33, channels=3, dtype: type = np.uint8):
    """Return smooth pixels with an edge."""
    rows, columns = np.mgrid[:height, :width]
    top = np.iinfo(dtype).max
    planes = [(0.4 + 0.4 * np.sin(rows / (3 + c) + columns / 5)) * top for c in range(channels)]
    pixels = np.stack(planes, axis=2).astype(dtype)
    pixels[height // 3 :, : width // 4] //= 3
    return pixels


def png(pixels=None, **options):
    file = io.BytesIO()
    Image.fromarray(photograph() if pixels is None else pixels).save(file, "PNG", **options)
    return file.getvalue()


def upload(client, data=None, name="photo.png"):
    answer = client.post("/api/pictures", params={"name": name}, content=png() if data is None else data)
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait_for(ask, seconds=30):
    """Ask until the answer is neither waiting nor running, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = ask()
        if found["state"] not in ("waiting", "running"):
            return found
        time.sleep(0.01)
    raise AssertionError(found)


def encode(client, key, **network):
    wanted = {**NETWORK, **network}
    client.post(f"/api/pictures/{key}/encoding", json=wanted)
    found = wait_for(lambda: client.get(f"/api/pictures/{key}/encoding", params=wanted).json())
    assert found["state"] == "ready", found
    return found


def pixels_of(answer):
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))
