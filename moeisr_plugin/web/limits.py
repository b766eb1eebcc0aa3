"""Limits of the page, so that no request can use up memory, disk or time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the server accepts and holds.

    Attributes:
        upload_bytes: size of an uploaded file.
        body_bytes: size of any other request.
        body_seconds: time that a client has to send a request.
        pixels: pixels of a picture.
        view_pixels: pixels of a view.
        output_pixels: pixels of a file to download.
        pictures: pictures held. The one that was used least recently makes room for another.
        encodings: encodings held, of all pictures and networks.
        networks: networks held.
        files: files made or held for downloading.
        requests: requests that are answered at a time.
        uploads: uploads that are received at a time.
        idle_seconds: time after which a picture that nobody uses is forgotten.
    """

    upload_bytes: int = 64 * 2**20
    body_bytes: int = 64 * 2**10
    body_seconds: float = 60.0
    pixels: int = 24_000_000
    view_pixels: int = 4_200_000
    output_pixels: int = 2**28
    pictures: int = 8
    encodings: int = 4
    networks: int = 4
    files: int = 4
    requests: int = 32
    uploads: int = 4
    idle_seconds: float = 1800.0
