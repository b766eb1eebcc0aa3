"""Hostile requests get one line, and leave the server answering."""

import gzip
import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from web_service import ADDRESS, NETWORK, client_of, encode, make_service, png, upload

VIEW = {**NETWORK, "window": "0,0,10,10", "size": "20x20"}
FILE = {**NETWORK, "width": 66, "height": 42, "suffix": "png"}
JSON = {"content-type": "application/json"}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height):
    """Return a PNG that states a size and has almost no data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def saved(form, **options):
    file = io.BytesIO()
    Image.fromarray(np.zeros((9, 11, 3), np.uint8)).save(file, form, **options)
    return file.getvalue()


UPLOADS = {
    "nothing": (b"", 415),
    "text": (b"hello", 415),
    "zeros": (bytes(5000), 415),
    "200 megapixels in the header": (png_header(20_000, 10_000), 413),
    "a side of 2^31 - 1": (png_header(2**31 - 1, 1), 413),
    "no rows": (png_header(5, 0), 415),
    "more pixels than the limit": (png(np.zeros((101, 100, 3), np.uint8)), 413),
    "half a PNG": (png()[:300], 415),
    "half a JPEG": (saved("JPEG")[:-100], 415),
    "a PNG whose data end early": (png_header(50, 50), 415),
    "a broken checksum": (png()[:-20] + b"\0" * 20, 415),
    "a page of HTML": (b"<html><script>alert(1)</script></html>", 415),
    "a picture as SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>', 415),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file", 415),
    "a PDF": (b"%PDF-1.4\n1 0 obj", 415),
    "a ZIP": (b"PK\x03\x04" + bytes(100), 415),
    "gzip": (gzip.compress(png()), 415),
    "light without a white": (bytes.fromhex("762f3101") + bytes(64), 415),
    "a path": (b"/etc/passwd", 415),
    "a TIFF whose directory is itself": (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", 415),
    "a file beyond the limit": (bytes(200_001), 413),
}

FORGERIES = {
    "foreign Host": ({"host": "evil.example"}, 421),
    "Host that begins like ours": ({"host": "127.0.0.1.evil.example"}, 421),
    "Host with a user": ({"host": "127.0.0.1@evil.example"}, 421),
    "empty Host": ({"host": ""}, 421),
    "Host with a path": ({"host": "127.0.0.1/x"}, 421),
    "another address": ({"host": "10.0.0.1:8000"}, 421),
    "foreign Origin": ({"origin": "http://evil.example"}, 403),
    "Origin of another port": ({"origin": "http://127.0.0.1:9999"}, 403),
    "Origin of another scheme": ({"origin": "https://127.0.0.1:8000"}, 403),
    "Origin null": ({"origin": "null"}, 403),
    "a request of another site": ({"sec-fetch-site": "cross-site"}, 403),
    "a request of a sibling site": ({"sec-fetch-site": "same-site"}, 403),
    "a length that is no number": ({"content-length": "1e9"}, 400),
    "a negative length": ({"content-length": "-1"}, 400),
    "a length beyond all numbers": ({"content-length": "9" * 40}, 413),
}

PATHS = {
    "parent folders": "/../../etc/passwd",
    "encoded parent folders": "/%2e%2e/%2e%2e/etc/passwd",
    "doubly encoded": "/%252e%252e%252fetc%252fpasswd",
    "backslashes": "/..%5c..%5cwindows%5cwin.ini",
    "a file of the package": "/app.py",
    "the folder of static files": "/static/../app.py",
    "a null byte": "/app.js%00.png",
    "a sample by path": "/api/samples/..%2f..%2fetc%2fpasswd",
    "a sample by absolute path": "/api/samples/%2fetc%2fpasswd",
    "an unknown sample": "/api/samples/moon",
    "an unknown picture": "/api/pictures/AAAAAAAAAAAAAAAAAAAAAA",
    "a picture named like a folder": "/api/pictures/..",
    "a very long key": "/api/pictures/" + "A" * 5000,
    "an unknown file": "/api/files/AAAA/content",
    "a file by path": "/api/files/..%2f..%2fetc%2fpasswd/content",
    "the documents of the application": "/docs",
    "its description": "/openapi.json",
    "a method that is not there": "/api/pictures",
}

VIEWS = {
    "no window": {"window": None},
    "a window of words": {"window": "a,b,c,d"},
    "three edges": {"window": "0,0,5"},
    "NaN": {"window": "nan,0,5,5"},
    "infinity": {"window": "0,0,inf,5"},
    "negative edges": {"window": "-5,0,5,5"},
    "edges beyond the picture": {"window": "0,0,5,1e9"},
    "an empty window": {"window": "5,5,5,9"},
    "a turned window": {"window": "9,9,5,5"},
    "a long window": {"window": "0," * 5000},
    "size of words": {"size": "bigxbig"},
    "no height": {"size": "20"},
    "zero": {"size": "0x20"},
    "negative size": {"size": "-20x20"},
    "fractions": {"size": "20.5x20"},
    "a huge size": {"size": "999999x999999"},
    "a size beyond all numbers": {"size": "9" * 50 + "x1"},
    "digits of another script": {"size": "२०x20"},
    "unknown network": {"network": "nothing"},
    "a network by path": {"network": "../../etc/passwd"},
    "unknown precision": {"precision": "float8"},
    "a budget of NaN": {"budget": "nan"},
    "an infinite budget": {"budget": "inf"},
    "a negative budget": {"budget": "-0.1"},
    "a budget above one": {"budget": "1.1"},
    "an unknown side": {"side": "above"},
    "a negative number": {"number": "-1"},
    "a number beyond all": {"number": "9" * 30},
    "a long page": {"page": "p" * 1000},
    "a window between fields": {"window": "0,0,10,10\r\nx: y"},
}

BODIES = {
    "no body": b"",
    "broken JSON": b'{"width": 66,',
    "deep JSON": b"[" * 20_000,
    "a list": b"[1, 2, 3]",
    "a word": b'"hello"',
    "null": b"null",
    "no UTF-8": b'{"width": "\xff\xfe"}',
    "a width of NaN": {**FILE, "width": float("nan")},
    "an infinite width": {**FILE, "width": float("inf")},
    "a negative width": {**FILE, "width": -66},
    "a width of zero": {**FILE, "width": 0},
    "a fractional width": {**FILE, "width": 66.5},
    "a width as text": {**FILE, "width": "66"},
    "a huge width": {**FILE, "width": 10**12},
    "a huge output": {**FILE, "width": 900_000, "height": 900_000, "suffix": "jpg"},
    "a side longer than JPEG holds": {**FILE, "width": 70_000, "suffix": "jpg"},
    "smaller than the picture": {**FILE, "width": 5},
    "unknown suffix": {**FILE, "suffix": "exe"},
    "a suffix with a path": {**FILE, "suffix": "png/../../x"},
    "quality of zero": {**FILE, "suffix": "jpg", "quality": 0},
    "quality of a PNG beyond all": {**FILE, "quality": 10**9},
    "budget of two": {**FILE, "budget": 2},
    "budget as text": {**FILE, "budget": "much"},
    "unknown field": {**FILE, "path": "/tmp/x"},
    "unknown network": {**FILE, "network": "/etc/passwd"},
    "network as a list": {**FILE, "network": ["mixture"]},
    "a large body": b'{"a": "' + b"x" * 70_000 + b'"}',
}


@pytest.fixture(scope="module")
def client(network_files, tmp_path_factory):
    with client_of(make_service(network_files, tmp_path_factory.mktemp("files"))) as client:
        yield client


@pytest.fixture(scope="module")
def key(client):
    key = upload(client)["key"]
    encode(client, key)
    return key


@pytest.fixture(autouse=True)
def still_answers(client, key):
    """After every request, the server still has the picture and renders it."""
    yield
    assert client.get("/").status_code == 200
    assert client.get(f"/api/pictures/{key}/view", params=VIEW).status_code == 200


def refused(answer, *statuses):
    """Check that an answer is one line, and return it."""
    assert answer.status_code in statuses, (answer.status_code, answer.text[:300])
    line = answer.json()["error"]
    assert answer.json() == {"error": line}
    assert line.strip()
    assert len(line.splitlines()) == 1
    assert "Traceback" not in line
    assert len(line) < 500
    return line


def test_there_are_sixty():
    assert sum(map(len, (UPLOADS, FORGERIES, PATHS, VIEWS, BODIES))) >= 60


@pytest.mark.parametrize("kind", UPLOADS)
def test_uploads(client, kind):
    data, status = UPLOADS[kind]
    refused(client.post("/api/pictures", params={"name": "bad.png"}, content=data), status)


@pytest.mark.parametrize("kind", FORGERIES)
def test_forged_headers(client, kind):
    headers, status = FORGERIES[kind]
    refused(client.post("/api/pictures", headers=headers, content=png()), status)
    if "content-length" not in headers:
        refused(client.get("/api/start", headers=headers), status)


@pytest.mark.parametrize("kind", PATHS)
def test_paths(client, kind):
    answer = client.get(PATHS[kind])
    refused(answer, 404, 405)
    assert "root:" not in answer.text


@pytest.mark.parametrize("kind", VIEWS)
def test_views(client, key, kind):
    values = {name: value for name, value in {**VIEW, **VIEWS[kind]}.items() if value is not None}
    refused(client.get(f"/api/pictures/{key}/view", params=values), 400, 404, 409, 422)
    if {"window", "size"} & {*VIEWS[kind]}:
        values["method"] = "bicubic"
        refused(client.get(f"/api/pictures/{key}/plain", params=values), 400, 422)


@pytest.mark.parametrize("kind", BODIES)
def test_bodies(client, key, kind):
    body = BODIES[kind]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(f"/api/pictures/{key}/files", content=content, headers=JSON)
    refused(answer, 400, 404, 409, 413, 422)


def test_a_name_cannot_leave_the_folder_of_files(client, tmp_path):
    key = upload(client, name="../../../../tmp/evil")["key"]
    encode(client, key)
    made = client.post(f"/api/pictures/{key}/files", json=FILE).json()
    assert made["name"] == "evil_66x42.png"
    long = upload(client, name="a" * 400 + ".png")
    assert len(long["name"]) <= 120


def test_no_page_of_another_site_may_read_an_answer(client):
    for path in ("/", "/app.js", "/api/start", "/nothing"):
        headers = client.get(path).headers
        assert "access-control-allow-origin" not in headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "name", ["127.0.0.1:8000", "localhost:8000", "localhost", "[::1]:8000", "LOCALHOST:1"]
)
def test_names_of_this_machine_are_accepted(client, name):
    assert client.get("/api/start", headers={"host": name}).status_code == 200
    own = {"host": name, "origin": f"http://{name}", "sec-fetch-site": "same-origin"}
    assert client.get("/api/start", headers=own).status_code == 200


def test_a_server_on_all_addresses_accepts_addresses_and_named_hosts(network_files, tmp_path):
    service = make_service(network_files, tmp_path)
    with client_of(service, host="0.0.0.0", allowed_hosts=["Photos.Lan"], address=ADDRESS) as client:
        for host, status in (
            ("192.168.1.7:8000", 200),
            ("[fe80::1]:8000", 200),
            ("photos.lan:8000", 200),
            ("evil.example", 421),
            ("192.168.1.7.evil.example", 421),
        ):
            assert client.get("/api/start", headers={"host": host}).status_code == status, host
