"""`moeisr web` as a process: its address, slow clients, and its end."""

import contextlib
import json
import signal
import socket
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
from processes import ROOT, run_python
from web_process import running
from web_service import png

from moeisr_plugin.web import server


def ask(port, path="/api/start"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return answer.read()


@pytest.mark.slow
def test_slow_and_broken_clients_do_not_stop_the_server_and_ctrl_c_ends_it(network_files, tmp_path):
    (tmp_path / "photo.png").write_bytes(png())
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    arguments = (tmp_path / "photo.png", "-n", network_files["mixture"])
    with running(*arguments, temporary=temporary) as (process, port):
        assert json.loads(ask(port))["picture"]["name"] == "photo.png"
        head = b"POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        openings = [
            b"",  # a connection without a request
            b"GET / HT",
            head,
            head + b"Content-Length: 60000\r\n\r\nslow",
            head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nslow ",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 200_000,
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\0" * 1000,
        ]
        connections = []
        for opening in openings * 5:
            connection = socket.create_connection(("127.0.0.1", port), timeout=20)
            with contextlib.suppress(ConnectionError):
                connection.sendall(opening)
            connections.append(connection)
        time.sleep(0.3)
        assert b"networks" in ask(port)
        for connection in connections:
            connection.close()
        for path in ("/", "/app.js"):
            assert ask(port, path)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        assert time.monotonic() - start < 8
        assert (process.returncode, output, errors) == (0, "moeisr web: ended\n", "")
    assert not [*temporary.iterdir()]


@pytest.mark.slow
def test_ctrl_c_ends_it_while_it_encodes(tmp_path):
    from PIL import Image

    Image.new("RGB", (1500, 1500)).save(tmp_path / "photo.png")
    with running(tmp_path / "photo.png", temporary=tempfile.gettempdir()) as (process, port):
        key = json.loads(ask(port))["picture"]["key"]
        wanted = json.dumps({"network": "MoEISR_LIIF_s", "precision": "float32"}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/pictures/{key}/encoding",
            data=wanted,
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert json.loads(answer.read())["state"] in ("waiting", "running")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
        assert (process.returncode, output, errors) == (0, "moeisr web: ended\n", "")


@pytest.mark.slow
def test_without_the_extra_one_line_says_how_to_install_it():
    code = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] in ('fastapi', 'uvicorn', 'starlette'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "from moeisr_plugin.cli import main\nsys.exit(main(['web']))\n"
    )
    done = run_python(code)
    assert done.returncode == 2
    assert done.stderr == (
        'moeisr web: the page needs fastapi, which is not installed; pip install ".[web]" installs it\n'
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere.png"], "nowhere.png: there is no such file; check the name"),
        (["-n", "nowhere.pth"], "no such file of weights"),
        (["--host", "203.0.113.7", "--port", "0"], "give an address of this machine"),
        (["--port", "70000"], "'70000' is not a port; give a number from 0 to 65535"),
    ],
)
def test_what_cannot_be_served_is_one_line(arguments, line, monkeypatch, tmp_path, capsys):
    from moeisr_plugin.cli import main

    monkeypatch.chdir(tmp_path)
    try:
        status = main(["web", *arguments])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert line in lines[0]


def test_a_port_in_use_is_one_line():
    with (
        server.bind("127.0.0.1", 0) as first,
        pytest.raises(ValueError, match=r"address already in use; give another --port, or --port 0 for any"),
    ):
        server.bind("127.0.0.1", first.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("localhost", "localhost")]
)
def test_the_address_can_be_opened(host, shown):
    with server.bind(host, 0) as listener:
        port = listener.getsockname()[1]
        assert server.address_of(listener, host) == f"http://{shown}:{port}/"


def test_the_default_is_this_machine_alone():
    text = (Path(ROOT) / "moeisr_plugin/commands/web.py").read_text(encoding="utf-8")
    assert 'default="127.0.0.1"' in text
