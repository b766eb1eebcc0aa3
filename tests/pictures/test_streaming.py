"""Writing pictures in bands: same files as in one piece, little memory, atomic."""

import io
import tracemalloc

import cv2
import numpy as np
import pytest
import tifffile
from picture_files import noise
from PIL import Image, ImageCms
from skimage import data

from moeisr_plugin.pictures import Picture, PictureError, read_picture, write_bands, write_picture
from moeisr_plugin.pictures.row_bands import join_bands, regroup_bands

pytestmark = pytest.mark.slow

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF_IFD, EXPOSURE, MAKER, ORIENTATION = 34665, 33434, 271, 274
SIZE = (23, 37)


def exif_block():
    exif = Image.Exif()
    exif[MAKER] = "Acme"
    exif[ORIENTATION] = 6
    exif[EXIF_IFD] = {EXPOSURE: 0.008}
    return exif.tobytes().removeprefix(b"Exif\0\0")


def smooth(height, width, *, channels=3, dtype: type = np.uint8):
    """Return smooth pixels, like those of an enlarged picture, (height, width, channels)."""
    coarse = noise(height // 8 + 2, width // 8 + 2, channels=channels, dtype=dtype)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)


def in_bands(pixels, rows):
    for start in range(0, len(pixels), rows):
        yield pixels[start : start + rows].copy()


def write(path, pixels, rows, **metadata):
    """Write `pixels` in bands of `rows` rows, with metadata from a picture of another size."""
    like = Picture(pixels[:2, :3], **metadata)
    write_bands(path, in_bands(pixels, rows), like=like, size=pixels.shape[:2])


def read_by_opencv(path):
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    return stored if stored.ndim == 2 else stored[..., [2, 1, 0, 3][: stored.shape[2]]]


def read_by_others(path, pixels):
    """Yield the pixels as decoded by other libraries that support the file."""
    if path.suffix == ".tiff":
        yield tifffile.imread(path)
    if pixels.dtype == np.uint8:
        with Image.open(path) as image:
            yield np.asarray(image)
    elif path.suffix == ".png":
        stored = read_by_opencv(path)
        yield stored[..., [0, 3]] if pixels.shape[2:] == (2,) else stored  # OpenCV expands grey with alpha


@pytest.mark.parametrize("rows", [1, 7, 23])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("make", [smooth, noise])
def test_other_libraries_decode_files_written_in_bands(tmp_path, make, suffix, dtype, channels, rows):
    pixels = make(*SIZE, channels=channels, dtype=dtype)
    pixels = pixels[..., 0] if channels == 1 else pixels
    path = tmp_path / f"a.{suffix}"
    write(path, pixels, rows)
    for stored in read_by_others(path, pixels):
        np.testing.assert_array_equal(stored, pixels)
    write_picture(tmp_path / f"whole.{suffix}", Picture(pixels))
    assert path.read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()


@pytest.mark.parametrize("size", [(1, 1), (16, 17), (255, 257), (300, 530), (513, 5)])
def test_tiles_that_do_not_divide_the_picture(tmp_path, size):
    pixels = noise(*size, dtype=np.uint16)
    write(tmp_path / "a.tiff", pixels, 7)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tiff"), pixels)
    np.testing.assert_array_equal(read_by_opencv(tmp_path / "a.tiff"), pixels)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "bmp"])
def test_other_formats_join_the_bands(tmp_path, suffix):
    pixels = smooth(*SIZE)
    write(tmp_path / f"bands.{suffix}", pixels, 7, icc_profile=ICC)
    write_picture(tmp_path / f"whole.{suffix}", Picture(pixels, icc_profile=ICC))
    assert (tmp_path / f"bands.{suffix}").read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_metadata_are_kept(tmp_path, dtype):
    metadata = {"icc_profile": ICC, "exif": exif_block(), "dpi": (300, 200)}
    pixels = smooth(*SIZE, dtype=dtype)
    for name in ("a.png", "a.tiff"):
        write(tmp_path / name, pixels, 7, **metadata)
    png = read_picture(tmp_path / "a.png")
    assert (png.icc_profile, png.exif) == (ICC, exif_block())
    assert png.dpi == pytest.approx((300, 200), abs=0.01)
    tiff = read_picture(tmp_path / "a.tiff")
    assert (tiff.icc_profile, tiff.dpi) == (ICC, (300, 200))
    assert float(tiff.exif_tags().get_ifd(EXIF_IFD)[EXPOSURE]) == pytest.approx(0.008)
    np.testing.assert_array_equal(tiff.pixels, np.rot90(pixels, -1))


def test_tiff_above_4_gib_is_bigtiff(tmp_path, monkeypatch):
    pixels = noise(300, 270, channels=4)
    write(tmp_path / "small.tiff", pixels, 100)
    padded = 512 * 512 * 4
    monkeypatch.setattr("moeisr_plugin.pictures.tiff_tiles.CLASSIC_BYTES", padded - 1)
    write(tmp_path / "big.tiff", pixels, 100, icc_profile=ICC, exif=exif_block(), dpi=(300, 150))
    for name, big in (("small.tiff", False), ("big.tiff", True)):
        with tifffile.TiffFile(tmp_path / name) as tiff:
            assert tiff.is_bigtiff == big
            np.testing.assert_array_equal(tiff.asarray(), pixels)
    with Image.open(tmp_path / "big.tiff") as image:
        assert image.info["icc_profile"] == ICC
        assert image.info["dpi"] == (300, 150)
        assert image.getexif()[MAKER] == "Acme"
        assert float(image.getexif().get_ifd(EXIF_IFD)[EXPOSURE]) == pytest.approx(0.008)
    np.testing.assert_array_equal(read_picture(tmp_path / "big.tiff").pixels, np.rot90(pixels, -1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_is_not_much_larger_than_that_of_other_writers(tmp_path, dtype):
    photograph = data.chelsea()[:, :, ::-1].astype(dtype) * (np.iinfo(dtype).max // 255)
    pixels = cv2.resize(photograph, None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC)
    write(tmp_path / "a.png", pixels, 32)
    usual = io.BytesIO()
    if dtype == np.uint8:
        Image.fromarray(pixels).save(usual, "PNG")
    else:
        usual.write(cv2.imencode(".png", pixels)[1].tobytes())
    assert (tmp_path / "a.png").stat().st_size < 1.15 * len(usual.getvalue())


@pytest.mark.parametrize("suffix", ["png", "tiff", "jpg"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failed_writing_keeps_the_old_file(tmp_path, suffix, error):
    old, new = (noise(*SIZE, seed=seed) for seed in (0, 1))

    def half():
        yield new[:9]
        raise error

    path = tmp_path / f"a.{suffix}"
    write(path, old, 7)
    before = path.read_bytes()
    with pytest.raises(error):
        write_bands(path, half(), like=Picture(new), size=SIZE)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
@pytest.mark.parametrize(
    ("bands", "reason"),
    [
        ([noise(22, 37)], "22 rows or more for a picture of 23"),
        ([noise(20, 37), noise(4, 37)], "24 rows or more for a picture of 23"),
        ([], "0 rows or more"),
        ([noise(23, 36)], r"a band of uint8 \(36, 3\) in a picture of uint8 \(37, 3\)"),
        ([noise(23, 37, channels=4)], r"\(37, 4\)"),
        ([noise(23, 37, dtype=np.uint16)], "a band of uint16"),
    ],
)
def test_mismatched_bands_are_refused(tmp_path, suffix, bands, reason):
    with pytest.raises(PictureError, match=reason):
        write_bands(tmp_path / f"a.{suffix}", bands, like=Picture(noise(2, 3)), size=SIZE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lengths", [[23], [1] * 23, [5, 0, 11, 7], [8, 8, 7], [2, 20, 1]])
@pytest.mark.parametrize("height", [1, 4, 8, 23, 30])
def test_regrouped_and_joined_bands_have_the_same_rows(lengths, height):
    pixels = noise(*SIZE)
    bands = np.split(pixels, np.cumsum(lengths)[:-1])
    regrouped = list(regroup_bands(bands, height))
    assert [len(band) for band in regrouped] == [len(pixels[y : y + height]) for y in range(0, 23, height)]
    np.testing.assert_array_equal(np.concatenate(regrouped), pixels)
    np.testing.assert_array_equal(join_bands(bands, like=pixels, size=SIZE), pixels)


@pytest.mark.parametrize(("suffix", "mebibytes"), [("png", 2), ("tiff", 12)])
def test_memory_does_not_grow_with_the_height(tmp_path, suffix, mebibytes):
    height, width = 16_640, 4_096  # 195 MiB
    band = np.broadcast_to(np.arange(width)[:, None] // 16, (64, width, 3)).astype(np.uint8)
    tracemalloc.start()
    try:
        write_bands(
            tmp_path / f"a.{suffix}",
            (band for _ in range(height // 64)),
            like=Picture(band),
            size=(height, width),
        )
        assert tracemalloc.get_traced_memory()[1] < mebibytes * 2**20
    finally:
        tracemalloc.stop()
    with Image.open(tmp_path / f"a.{suffix}") as image:
        assert image.size == (width, height)
