"""Reading and writing pictures: bit depth, alpha, profile, EXIF and refused files."""

import io
import logging
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from picture_files import upscale_pixels
from PIL import Image, ImageCms, ImageOps

from moeisr_plugin import pictures
from moeisr_plugin.pictures import Picture, PictureError, read_picture, write_picture

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAYOUTS = [(), (2,), (3,), (4,)]
EXIF_IFD, EXPOSURE, MAKER, ORIENTATION = 34665, 33434, 271, 274
COPYRIGHT, OWNER = 33432, 42032


def random_pixels(layout, dtype, size=(5, 7), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max, (*size, *layout), dtype=dtype, endpoint=True)


def exif_block(orientation=1):
    exif = Image.Exif()
    exif[MAKER] = "Acme"
    exif[ORIENTATION] = orientation
    exif[EXIF_IFD] = {EXPOSURE: 0.008}
    return exif.tobytes().removeprefix(b"Exif\0\0")


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def plain_png16(pixels, colour_type, *chunks):
    """Return a PNG built from the specification, without filters."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    body = b"".join(chunks) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("suffix", "dtype"), [("png", "u1"), ("png", "u2"), ("tiff", "u1"), ("tiff", "u2")])
def test_lossless_formats_round_trip(tmp_path, suffix, dtype, layout):
    pixels = random_pixels(layout, np.dtype(dtype))
    write_picture(tmp_path / f"a.{suffix}", Picture(pixels))
    back = read_picture(tmp_path / f"a.{suffix}").pixels
    assert back.dtype == pixels.dtype
    np.testing.assert_array_equal(back, pixels)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_webp_is_lossless_and_stores_grey_as_rgb(tmp_path, layout):
    pixels = random_pixels(layout, np.uint8)
    write_picture(tmp_path / "a.webp", Picture(pixels))
    back = read_picture(tmp_path / "a.webp").pixels
    channels = pixels.reshape(5, 7, -1)
    if channels.shape[2] < 3:
        channels = np.concatenate([channels[..., :1].repeat(3, axis=2), channels[..., 1:]], axis=2)
    np.testing.assert_array_equal(back, channels)


@pytest.mark.parametrize("layout", [(), (3,)])
def test_jpeg_is_close_and_bmp_exact(tmp_path, layout):
    ramp = np.linspace(0, 255, 32 * 48).reshape(32, 48).astype(np.uint8)
    pixels = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=2) if layout else ramp
    for suffix, tolerance in (("jpg", 6), ("jpeg", 6), ("bmp", 0)):
        write_picture(tmp_path / f"a.{suffix}", Picture(pixels))
        back = read_picture(tmp_path / f"a.{suffix}").pixels
        assert back.shape == pixels.shape
        assert np.abs(back.astype(int) - pixels).max() <= tolerance


@pytest.mark.parametrize(("suffix", "dtype"), [("png", "u1"), ("png", "u2"), ("jpg", "u1"), ("webp", "u1")])
def test_profile_exif_and_orientation_round_trip(tmp_path, suffix, dtype):
    pixels = random_pixels((3,), np.dtype(dtype))
    write_picture(tmp_path / f"a.{suffix}", Picture(pixels, ICC, exif_block(orientation=6), (300, 300)))
    back = read_picture(tmp_path / f"a.{suffix}")
    assert back.icc_profile == ICC
    assert back.exif == exif_block(orientation=6)
    assert back.orientation == 6
    assert back.swaps_axes
    assert back.pixels.shape == pixels.shape
    if suffix != "webp":
        assert back.dpi == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_tiff_round_trips_metadata_and_is_read_upright(tmp_path, dtype):
    pixels = random_pixels((3,), np.dtype(dtype))
    write_picture(tmp_path / "a.tif", Picture(pixels, ICC, exif_block(orientation=6), (300, 150)))
    back = read_picture(tmp_path / "a.tif")
    assert back.icc_profile == ICC
    assert back.dpi == (300, 150)
    assert back.orientation == 1
    np.testing.assert_array_equal(back.pixels, np.rot90(pixels, -1))
    assert back.exif is not None
    exif = Image.Exif()
    exif.load(back.exif)
    assert exif[MAKER] == "Acme"
    assert float(exif.get_ifd(EXIF_IFD)[EXPOSURE]) == pytest.approx(0.008)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("per_cm", [2e8, 1e-4])
def test_implausible_resolution_is_dropped(tmp_path, dtype, per_cm):
    pixels = random_pixels((3,), np.dtype(dtype))
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        photometric="rgb",
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
    )
    picture = read_picture(tmp_path / "a.tif")
    assert picture.dpi is None
    np.testing.assert_array_equal(picture.pixels, pixels)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
def test_finest_resolution_can_be_written(tmp_path, suffix):
    pixels = random_pixels((3,), np.uint8)
    finest = (2**31 - 1) / 100
    tifffile.imwrite(
        tmp_path / "in.tif", pixels, photometric="rgb", resolution=(finest, 100), resolutionunit="CENTIMETER"
    )
    picture = read_picture(tmp_path / "in.tif")
    assert picture.dpi == pytest.approx((finest * 2.54, 254))
    write_picture(tmp_path / f"out.{suffix}", picture)
    # WebP stores no resolution. JPEG cannot store this one, and Pillow then reads the default of 72.
    expected = {"webp": None, "jpg": (72, 72)}.get(suffix, pytest.approx(picture.dpi, rel=1e-3))
    assert read_picture(tmp_path / f"out.{suffix}").dpi == expected


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
def test_text_tags_of_tiff_keep_their_bytes(tmp_path, suffix, dtype):
    latin, utf8 = "José".encode("latin-1"), "© Zoë".encode()
    exif = Image.Exif()
    exif[COPYRIGHT], exif[EXIF_IFD] = "#" * len(utf8), {OWNER: "%" * len(latin)}
    write_picture(tmp_path / "in.tif", Picture(random_pixels((3,), np.dtype(dtype)), exif=exif.tobytes()[6:]))
    data = (tmp_path / "in.tif").read_bytes()
    data = data.replace(b"#" * len(utf8), utf8).replace(b"%" * len(latin), latin)
    (tmp_path / "in.tif").write_bytes(data)
    picture = read_picture(tmp_path / "in.tif")
    if suffix == "jpg":
        picture.pixels = picture.pixels.astype(np.uint8)
    write_picture(tmp_path / f"out.{suffix}", picture)
    back = read_picture(tmp_path / f"out.{suffix}").exif_tags()
    assert back[COPYRIGHT].encode("latin-1") == utf8
    assert back.get_ifd(EXIF_IFD)[OWNER].encode("latin-1") == latin


def test_other_readers_decode_our_png_and_tiff(tmp_path):
    pixels = random_pixels((4,), np.uint16, (9, 5))
    picture = Picture(pixels, ICC, exif_block(), (300, 300))
    write_picture(tmp_path / "a.png", picture)
    write_picture(tmp_path / "a.tiff", picture)
    by_opencv = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(by_opencv, pixels[..., [2, 1, 0, 3]])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tiff"), pixels)
    with Image.open(tmp_path / "a.png") as image:
        image.verify()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_agrees_with_pillow(orientation):
    pixels = random_pixels((3,), np.uint8)
    image = Image.fromarray(pixels)
    image.getexif()[ORIENTATION] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(pictures.upright(pixels, orientation), expected)


def test_bmp_is_written_upright(tmp_path):
    pixels = random_pixels((3,), np.uint8)
    write_picture(tmp_path / "a.bmp", Picture(pixels, exif=exif_block(orientation=8)))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.bmp").pixels, np.rot90(pixels))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"II*\0rubbish", b"rubbish", exif_block()[:20], exif_block(orientation=77)])
def test_unreadable_exif_counts_as_upright(tmp_path, exif):
    picture = Picture(random_pixels((3,), np.uint8), exif=exif)
    assert picture.orientation == 1
    write_picture(tmp_path / "a.tiff", picture)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tiff").pixels, picture.pixels)


def test_transparent_colour_of_png16_becomes_alpha(tmp_path):
    grey = random_pixels((), np.uint16)
    key = png_chunk(b"tRNS", struct.pack(">H", int(grey[2, 3])))
    (tmp_path / "grey.png").write_bytes(plain_png16(grey, 0, key))
    expected = np.where(grey == grey[2, 3], 0, 65535)
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png").pixels, np.dstack([grey, expected]))

    rgb = random_pixels((3,), np.uint16)
    key = png_chunk(b"tRNS", struct.pack(">3H", *rgb[1, 1].tolist()))
    (tmp_path / "rgb.png").write_bytes(plain_png16(rgb, 2, key))
    alpha = read_picture(tmp_path / "rgb.png").pixels[..., 3]
    assert alpha[1, 1] == 0
    assert (alpha == 0).sum() == 1


def test_tiff16_compressed_by_lzw(tmp_path):
    rgb = random_pixels((3,), np.uint16)
    cv2.imwrite(str(tmp_path / "rgb.tif"), rgb[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    np.testing.assert_array_equal(read_picture(tmp_path / "rgb.tif").pixels, rgb)
    grey = random_pixels((), np.uint16)
    options = {"compression": "tiff_lzw", "tiffinfo": {ORIENTATION: 6}}
    Image.fromarray(grey).save(tmp_path / "grey.tif", **options)
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.tif").pixels, np.rot90(grey, -1))


def test_tiff16_layouts(tmp_path):
    rgb = random_pixels((3,), np.uint16)
    grey = random_pixels((), np.uint16)
    tifffile.imwrite(
        tmp_path / "planes.tif", rgb.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"
    )
    np.testing.assert_array_equal(read_picture(tmp_path / "planes.tif").pixels, rgb)
    tifffile.imwrite(tmp_path / "negative.tif", grey, photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(tmp_path / "negative.tif").pixels, 65535 - grey)
    tifffile.imwrite(tmp_path / "motorola.tif", rgb, photometric="rgb", byteorder=">")
    np.testing.assert_array_equal(read_picture(tmp_path / "motorola.tif").pixels, rgb)
    tifffile.imwrite(tmp_path / "big.tif", rgb, photometric="rgb", bigtiff=True)
    np.testing.assert_array_equal(read_picture(tmp_path / "big.tif").pixels, rgb)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_chunks_of_png_round_trip(tmp_path, dtype):
    write_picture(tmp_path / "a.png", Picture(random_pixels((3,), dtype)))
    chunks = [
        png_chunk(b"cICP", bytes([12, 13, 0, 1])),
        png_chunk(b"gAMA", struct.pack(">I", 100_000)),
        png_chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)),
    ]
    content = (tmp_path / "a.png").read_bytes()
    ihdr = content[:33]
    (tmp_path / "b.png").write_bytes(
        ihdr + b"".join([chunks[0], png_chunk(b"teSt", b"1"), *chunks[1:]]) + content[33:]
    )
    write_picture(tmp_path / "c.png", read_picture(tmp_path / "b.png"))
    assert (tmp_path / "c.png").read_bytes() == ihdr + b"".join(chunks) + content[33:]


def test_tiff_of_12_bits_is_scaled_to_16(tmp_path):
    samples = np.array([[0, 4095, 2048, 1]], np.uint32)
    packed = b"".join((a << 12 | b).item().to_bytes(3, "big") for a, b in samples.reshape(-1, 2))
    tags = [
        (256, 4),
        (257, 1),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, 1),
        (279, len(packed)),
    ]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    header = b"II*\0" + struct.pack("<I", 8 + len(packed))
    content = header + packed + struct.pack("<H", len(tags)) + directory + bytes(4)
    (tmp_path / "a.tif").write_bytes(content)
    pixels = read_picture(tmp_path / "a.tif").pixels
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, np.rint(samples / 4095 * 65535))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_without_resolution_has_no_dpi(tmp_path, dtype):
    pixels = random_pixels((3,), dtype)
    write_picture(tmp_path / "a.tif", Picture(pixels))
    tifffile.imwrite(tmp_path / "b.tif", pixels, photometric="rgb", resolution=(1, 1), resolutionunit=1)
    for name in ("a.tif", "b.tif"):
        assert read_picture(tmp_path / name).dpi is None
    tifffile.imwrite(tmp_path / "c.tif", pixels, photometric="rgb", resolution=(100, 50), resolutionunit=3)
    assert read_picture(tmp_path / "c.tif").dpi == pytest.approx((254, 127))


def test_premultiplied_alpha_of_tiff16_is_converted(tmp_path):
    straight = random_pixels((3,), np.uint16)
    alpha = np.full((5, 7, 1), 65535 // 2, np.uint16)
    alpha[0] = 0
    stored = np.rint(straight * (alpha / 65535.0)).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", np.dstack([stored, alpha]), photometric="rgb", extrasamples=["assocalpha"]
    )
    back = read_picture(tmp_path / "a.tif").pixels
    np.testing.assert_array_equal(back[..., 3:], alpha)
    assert np.abs(back[1:, :, :3].astype(int) - straight[1:]).max() <= 2
    assert (back[0, :, :3] == 0).all()


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_tiff16_with_other_bands_is_refused(tmp_path, bands, planes):
    shape = (5, 7, bands) if planes == "contig" else (bands, 5, 7)
    pixels = np.zeros(shape, np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig=planes)
    with pytest.raises(PictureError, match=rf"a\.tif: has {bands} bands, but .*; export it as RGB"):
        read_picture(tmp_path / "a.tif")


def plain_ppm(pixels, largest, *, as_text):
    """Return a PPM, or a PGM for grey pixels, built from the specification."""
    height, width = pixels.shape[:2]
    number = (3 if as_text else 6) if pixels.ndim == 3 else (2 if as_text else 5)
    header = f"P{number}\n# by hand\n{width} {height}\n{largest}\n".encode()
    return header + (" ".join(map(str, pixels.ravel())).encode() if as_text else pixels.tobytes())


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("largest", [65535, 4095, 256])
@pytest.mark.parametrize("channels", [(3,), ()])
def test_ppm16_is_scaled_to_16_bits(tmp_path, channels, largest, as_text):
    stored = np.random.default_rng(0).integers(0, largest, (5, 7, *channels), endpoint=True).astype(">u2")
    stored[0, 0] = largest
    (tmp_path / "a.ppm").write_bytes(plain_ppm(stored, largest, as_text=as_text))
    pixels = read_picture(tmp_path / "a.ppm").pixels
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, np.rint(stored / largest * 65535))


@pytest.mark.parametrize("channels", [(3,), ()])
def test_incomplete_ppm16_is_refused(tmp_path, channels):
    pixels = random_pixels(channels, np.uint16)
    (tmp_path / "a.ppm").write_bytes(plain_ppm(pixels, 65535, as_text=False)[:-20])
    with pytest.raises(PictureError, match=r"a\.ppm: is damaged"):
        read_picture(tmp_path / "a.ppm")


@pytest.mark.parametrize("largest", [100, 255])
def test_ppm_of_8_bits_is_scaled_to_8_bits(tmp_path, largest):
    pixels = np.full((5, 7, 3), largest, np.uint8)
    (tmp_path / "a.ppm").write_bytes(plain_ppm(pixels, largest, as_text=False))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.ppm").pixels, np.full((5, 7, 3), 255, np.uint8))


def test_palette_one_bit_and_cmyk_are_converted(tmp_path):
    rgb = Image.fromarray(random_pixels((3,), np.uint8, (16, 16)))
    palette = rgb.quantize(8)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(
        read_picture(tmp_path / "palette.png").pixels, np.asarray(palette.convert("RGB"))
    )
    palette.save(tmp_path / "clear.png", transparency=0)
    alpha = read_picture(tmp_path / "clear.png").pixels[..., 3]
    np.testing.assert_array_equal(alpha == 0, np.asarray(palette) == 0)

    bits = np.indices((5, 7)).sum(axis=0) % 2 == 0
    Image.fromarray(bits).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "bits.png").pixels, bits * np.uint8(255))

    Image.new("CMYK", (7, 5), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    red = read_picture(tmp_path / "cmyk.tif")
    assert red.icc_profile is None
    np.testing.assert_array_equal(red.pixels, np.broadcast_to([255, 0, 0], (5, 7, 3)))


def test_lab_is_converted_by_its_profile(tmp_path):
    lab = Image.new("LAB", (4, 3), (128, 128, 128))  # CIE L* = 50, neutral
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    lab.save(tmp_path / "lab.tif", icc_profile=profile)
    back = read_picture(tmp_path / "lab.tif")
    assert back.icc_profile is None
    assert np.abs(back.pixels.astype(int) - 119).max() <= 2  # sRGB of L* = 50


def test_only_the_first_frame_is_read_and_noted(tmp_path):
    frames = [Image.fromarray(np.full((4, 6), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    picture = read_picture(tmp_path / "a.gif")
    assert picture.pixels.shape[:2] == (4, 6)
    assert (picture.pixels == 10).all()
    assert picture.note == "has 2 frames; only the first is used"


def bad_files(folder):
    good = io.BytesIO()
    Image.fromarray(random_pixels((3,), np.uint8, (64, 64))).save(good, "PNG")
    write_picture(folder / "deep.png", Picture(random_pixels((3,), np.uint16, (64, 64))))
    write_picture(folder / "deep.tif", Picture(random_pixels((3,), np.uint16, (64, 64))))
    Image.fromarray(np.zeros((3, 4), np.float32)).save(folder / "float.tif")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("this is no picture")
    (folder / "cut.png").write_bytes(good.getvalue()[:1000])
    (folder / "folder.png").mkdir()
    for name in ("deep.png", "deep.tif"):
        (folder / f"cut_{name}").write_bytes((folder / name).read_bytes()[:-5000])
    return {
        "missing.png": "no such file",
        "empty.png": "empty",
        "text.png": "not a picture",
        "cut.png": "damaged",
        "cut_deep.png": "damaged",
        "cut_deep.tif": "damaged",
        "folder.png": "folder",
        "float.tif": "convert",
    }


def test_bad_files_are_refused_with_one_line(tmp_path):
    for name, reason in bad_files(tmp_path).items():
        with pytest.raises(PictureError) as caught:
            read_picture(tmp_path / name)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / name}: "), message
        assert reason in message, message
        assert "\n" not in message


def test_pillow_without_avif_reads_other_formats(tmp_path, monkeypatch):
    Image.init()  # a later call would register AVIF again
    monkeypatch.delitem(Image.OPEN, "AVIF")
    pixels = random_pixels((3,), np.uint8, (16, 16))
    Image.fromarray(pixels).save(tmp_path / "a.jp2", irreversible=False)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jp2").pixels, pixels)
    (tmp_path / "text.jpg").write_text("this is no picture")
    with pytest.raises(PictureError, match="is not a picture"):
        read_picture(tmp_path / "text.jpg")


def test_jpeg2000_whose_channels_have_different_depths_is_refused(tmp_path):
    Image.fromarray(random_pixels((3,), np.uint8, (16, 16))).save(tmp_path / "a.jp2")
    content = bytearray((tmp_path / "a.jp2").read_bytes())
    content[content.index(b"\xff\x4f\xff\x51") + 42] = 15  # 16 bits, stored minus one
    (tmp_path / "a.jp2").write_bytes(content)
    with pytest.raises(PictureError, match=r"a\.jp2: is JPEG 2000 with samples of unusual depths; convert"):
        read_picture(tmp_path / "a.jp2")


def test_tifffile_prints_nothing_for_a_damaged_file(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(logging.root, "handlers", [])  # as in a program without logging
    write_picture(tmp_path / "a.tif", Picture(random_pixels((3,), np.uint16, (16, 16))))
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[12:14] = b"\xff\xff"  # the type of the first tag
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(PictureError):
        read_picture(tmp_path / "a.tif")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "dtype"), [("a.png", "u1"), ("a.png", "u2"), ("a.tif", "u1"), ("a.tif", "u2")]
)
def test_max_pixels_applies_to_every_reader(tmp_path, name, dtype):
    write_picture(tmp_path / name, Picture(random_pixels((3,), np.dtype(dtype), (10, 12))))
    assert read_picture(tmp_path / name, max_pixels=120).pixels.shape == (10, 12, 3)
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(PictureError, match=r"12x10 is more than the limit of 119 pixels.*--max-pixels"):
        read_picture(tmp_path / name, max_pixels=119)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("name", "layout", "dtype", "remedy"),
    [
        ("a.jpg", (4,), "u1", r"transparency; choose \.png"),
        ("a.bmp", (2,), "u1", r"transparency; choose \.png"),
        ("a.webp", (3,), "u2", r"16 bits per sample; choose \.png or \.tiff"),
        ("a.gif", (3,), "u1", r"end the name in \.png, "),
    ],
)
def test_unsuitable_formats_are_refused(tmp_path, name, layout, dtype, remedy):
    with pytest.raises(PictureError, match=remedy):
        write_picture(tmp_path / name, Picture(random_pixels(layout, np.dtype(dtype))))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_writing_keeps_the_old_file(tmp_path, monkeypatch, error):
    old = Picture(random_pixels((3,), np.uint8))
    write_picture(tmp_path / "a.webp", old)

    def fail(image, file, *args, **kwargs):
        file.write(b"half a picture")
        raise error

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(PictureError if error is OSError else error):
        write_picture(tmp_path / "a.webp", Picture(random_pixels((3,), np.uint8, seed=1)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.webp"]
    np.testing.assert_array_equal(read_picture(tmp_path / "a.webp").pixels, old.pixels)


@pytest.mark.parametrize(("name", "longest"), [("a.jpg", 65500), ("a.webp", 16383), ("a.png", 1_000_000)])
def test_limits_on_the_longest_side(tmp_path, name, longest):
    line = Picture(np.zeros((1, longest + 1), np.uint8))
    with pytest.raises(PictureError, match=rf"a side of {longest + 1} pixels is more than.*choose a smaller"):
        write_picture(tmp_path / name, line)
    assert not list(tmp_path.iterdir())
    write_picture(tmp_path / name, Picture(line.pixels[:, 1:]))
    assert read_picture(tmp_path / name).pixels.shape[:2] == (1, longest)


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(PictureError, match=r"missing.*cannot be written"):
        write_picture(tmp_path / "missing" / "a.png", Picture(random_pixels((3,), np.uint8)))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_exception_of_the_band_iterator_is_passed_through(tmp_path, name):
    def bands():
        yield random_pixels((3,), np.uint8)
        raise ValueError("no numbers")

    with pytest.raises(ValueError, match=r"^no numbers$"):
        pictures.write_bands(
            tmp_path / name, bands(), like=Picture(np.zeros((5, 7, 3), np.uint8)), size=(10, 7)
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_written_files_have_default_permissions(tmp_path):
    (tmp_path / "default").touch()
    write_picture(tmp_path / "a.png", Picture(random_pixels((3,), np.uint8)))
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "default").stat().st_mode


def twice(colours):
    """Enlarge ×2 bicubically, with overshoot at edges like a network."""
    height, width = colours.shape[:2]
    return cv2.resize(colours, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("layout", [(), (1,), (2,), (3,), (4,)])
def test_unit_planes_round_trip(dtype, layout):
    if np.issubdtype(dtype, np.floating):
        pixels = np.random.default_rng(0).random((5, 7, *layout), dtype=np.float32).astype(dtype)
    else:
        pixels = random_pixels(layout, dtype)
    colour, alpha, was_grey = pictures.to_unit_planes(pixels)
    assert colour.shape == (5, 7, 3)
    assert colour.dtype == np.float32
    assert colour.min() >= 0
    assert colour.max() <= 1
    assert was_grey == (layout in [(), (1,), (2,)])
    assert (alpha is not None) == (layout in [(2,), (4,)])
    back = pictures.from_unit_planes(colour, alpha, was_grey, pixels.dtype)
    assert back.dtype == pixels.dtype
    np.testing.assert_allclose(back.reshape(pixels.shape), pixels, rtol=1e-7, atol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("layout", [(), (1,), (2,), (3,), (4,)])
def test_enlarging_keeps_layout_and_dtype(dtype, layout):
    pixels = np.ones((5, 7, *layout), dtype) * (1 if dtype is np.float32 else np.iinfo(dtype).max)
    pixels[2, 3] = 0
    enlarged = upscale_pixels(pixels.astype(dtype), twice)
    assert enlarged.shape == (10, 14, *layout)
    assert enlarged.dtype == dtype
    assert enlarged.max() == pixels.max()


def test_opaque_picture_equals_enlarged_colour():
    pixels = random_pixels((3,), np.uint8)
    expected = np.clip(np.rint(twice(pixels / np.float32(255)) * np.float32(255)), 0, 255)
    np.testing.assert_array_equal(upscale_pixels(pixels, twice), expected)
    opaque = np.dstack([pixels, np.full((5, 7), 255, np.uint8)])
    np.testing.assert_array_equal(upscale_pixels(opaque, twice)[..., :3], expected)
    assert (upscale_pixels(opaque, twice)[..., 3] == 255).all()


@pytest.mark.parametrize("layout", [(), (1,), (2,), (3,), (4,)])
def test_from_layers_accepts_any_rows(layout):
    pixels = random_pixels(layout, np.uint16, (6, 5))
    layers = [twice(layer) for layer in pictures.to_layers(pixels)]
    parts = [
        pictures.from_layers([layer[start : start + 5] for layer in layers], like=pixels)
        for start in range(0, 12, 5)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), pictures.from_layers(layers, like=pixels))


def test_layers_of_different_sizes_are_refused():
    pixels = random_pixels((4,), np.uint8)
    colour, alpha = pictures.to_layers(pixels)
    with pytest.raises(ValueError, match="layers have different shapes"):
        pictures.from_layers([colour, alpha[:1]], like=pixels)


@pytest.mark.parametrize("faint", [0, 1 / 255, 0.05])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_invisible_colour_gives_no_halo(dtype, faint):
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    y, x = np.indices((24, 24)) - 11.5
    inside = np.hypot(y, x) < 8
    disc = np.zeros((24, 24, 4), dtype)
    disc[inside] = (white, 0, 0, white)
    disc[~inside] = (0, white, 0, 0)
    disc[(np.hypot(y, x) < 10) & ~inside, 3] = faint * white
    enlarged = upscale_pixels(disc, twice)
    visible = enlarged[..., 3] > (0.5 / 65535 if dtype is np.float32 else 0)
    assert (enlarged[visible][:, 0] == white).all()
    assert (enlarged[..., 1:3] == 0).all()
    assert (enlarged[~visible][:, :3] == 0).all()
    assert ((enlarged[..., 3] > 0) & (enlarged[..., 3] < white)).any()


def test_edge_keeps_its_colour_under_nonlinear_enlargement():
    """A network is nonlinear, so enlarging colour times alpha differs from enlarging both."""

    def sharpened(colours):
        enlarged = twice(colours)
        detail = enlarged - cv2.blur(enlarged, (3, 3))
        return enlarged + 5 * detail * abs(detail)

    y, x = np.indices((24, 24)) - 11.5
    disc = np.full((24, 24, 4), (200, 30, 30, 255), np.uint8)
    disc[..., 3] = np.rint(255 * np.clip(8 - np.hypot(y, x), 0, 1))
    disc[disc[..., 3] == 0, :3] = (0, 255, 0)
    enlarged = upscale_pixels(disc, sharpened)
    visible = enlarged[..., 3] > 0
    assert len(np.unique(enlarged[..., 3])) > 20
    assert (enlarged[visible][:, :3] == (200, 30, 30)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_uniformly_faint_colour_is_kept(dtype):
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    faint = np.full((5, 7, 4), np.array([0.8, 0.4, 0.2, 0.1]) * white).astype(dtype)
    np.testing.assert_allclose(upscale_pixels(faint, twice)[3, 4], faint[0, 0], rtol=1e-6)


def test_fully_transparent_picture_becomes_black():
    transparent = np.full((5, 7, 4), (9, 9, 9, 0), np.uint8)
    assert not upscale_pixels(transparent, twice).any()


def test_byte_order_does_not_change_the_result():
    pixels = random_pixels((4,), np.uint16)
    big_endian = upscale_pixels(pixels.astype(">u2"), twice)
    assert big_endian.dtype == ">u2"
    np.testing.assert_array_equal(big_endian, upscale_pixels(pixels, twice))


@pytest.mark.parametrize(
    "pixels",
    [
        *(np.zeros(4), np.zeros((3, 4, 5)), np.zeros((0, 4, 3)), np.zeros((3, 4), int)),
        *(np.full((3, 4), 255.0), np.full((3, 4, 3), -1.0), np.full((3, 4), np.nan), np.full((3, 4), np.inf)),
    ],
)
def test_unsuitable_arrays_are_refused(pixels):
    with pytest.raises(ValueError, match="give"):
        pictures.to_unit_planes(pixels)


def test_overshoot_of_floating_point_is_accepted():
    colour, _, _ = pictures.to_unit_planes(np.array([[-0.1, 1.2]]))
    np.testing.assert_allclose(colour[..., 0], [[-0.1, 1.2]], rtol=1e-6)
