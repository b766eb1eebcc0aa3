"""TIFF files of every layout give the pixels that were stored."""

import io
import itertools
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from moeisr_plugin.pictures import PictureError, decode_header, decode_picture

HEIGHT, WIDTH = 19, 37
ORIENTATION = 274
COMPRESSIONS = ("none", "lzw", "packbits", "zlib", "zstd", "lzma")
LAYOUTS = {"strips": {"rowsperstrip": 7}, "tiles": {"tile": (16, 32)}}
KINDS = {  # by name: channels, further arguments of the writer
    "grey": (1, {"photometric": "minisblack"}),
    "grey and alpha": (2, {"photometric": "minisblack", "extrasamples": ["unassalpha"]}),
    "rgb": (3, {"photometric": "rgb"}),
    "rgba": (4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
}


def stored(channels, dtype):
    """Return random pixels (H, W) or (H, W, C) of the full range."""
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    return np.random.default_rng(channels).integers(np.iinfo(dtype).max + 1, size=shape, dtype=dtype)


def written(pixels, *, planar=False, **options):
    """Return the bytes of a TIFF file."""
    file = io.BytesIO()
    if planar:
        pixels, options = np.moveaxis(pixels, -1, 0), {**options, "planarconfig": "separate"}
    tifffile.imwrite(file, pixels, **options)
    return file


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_come_as_stored(kind, layout, dtype, byteorder):
    channels, options = KINDS[kind]
    pixels = stored(channels, dtype)
    planes = (False, True) if channels > 1 else (False,)
    for planar, compression, bigtiff in itertools.product(planes, COMPRESSIONS, (False, True)):
        file = written(
            pixels,
            planar=planar,
            compression=None if compression == "none" else compression,
            byteorder=byteorder,
            bigtiff=bigtiff,
            **options,
            **LAYOUTS[layout],
        )
        picture = decode_picture(file)
        assert picture.note is None
        np.testing.assert_array_equal(
            picture.pixels, pixels, str((planar, compression, bigtiff)), strict=True
        )
        assert decode_header(file) == (HEIGHT, WIDTH, channels in (2, 4), channels < 3)


@pytest.mark.parametrize("tag_type", ["H", "B"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_either_type_is_applied(orientation, tag_type):
    pixels = stored(3, np.uint8)
    file = written(
        pixels,
        photometric="rgb",
        compression="lzw",
        extratags=[(ORIENTATION, tag_type, 1, orientation, True)],
    )
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}[orientation]
    expected = np.rot90(pixels, turns)
    if orientation in (2, 4, 5, 7):
        expected = expected[:, ::-1]
    np.testing.assert_array_equal(decode_picture(file).pixels, expected)
    assert decode_header(file)[:2] == expected.shape[:2]


@pytest.mark.parametrize("bits", [1, 2, 4, 9, 10, 12, 14])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_other_depths_fill_the_range(bits, photometric):
    values = np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) % 2**bits
    dtype = np.uint8 if bits <= 8 else np.uint16
    file = packed(values, bits, 0 if photometric == "miniswhite" else 1)
    white = np.iinfo(dtype).max
    expected = np.rint(values * (white / (2**bits - 1)))
    expected = (white - expected if photometric == "miniswhite" else expected).astype(dtype)
    np.testing.assert_array_equal(decode_picture(file).pixels, expected, strict=True)


def packed(values, bits, photometric):
    """Return an uncompressed TIFF of values (H, W) packed into `bits` each, written byte by byte."""
    rows = ["".join(f"{value:0{bits}b}" for value in row) for row in values]
    data = b"".join(int(row + "0" * (-len(row) % 8), 2).to_bytes(-(-len(row) // 8), "big") for row in rows)
    height, width = values.shape
    entries = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8)]
    entries += [(277, 1), (278, height), (279, len(data))]
    data += b"\0" * (len(data) % 2)
    directory = len(entries).to_bytes(2, "little")
    for tag, value in entries:
        directory += tag.to_bytes(2, "little") + (4).to_bytes(2, "little")
        directory += (1).to_bytes(4, "little") + value.to_bytes(4, "little")
    start = (8 + len(data)).to_bytes(4, "little")
    return io.BytesIO(b"II*\0" + start + data + directory + b"\0\0\0\0")


@pytest.mark.parametrize("highest", [255, 65535])
@pytest.mark.parametrize("compression", [None, "lzw", "packbits"])
def test_palettes_of_8_and_16_bits_become_their_colours(highest, compression):
    colours = np.random.default_rng(0).integers(256, size=(256, 3))
    indices = stored(1, np.uint8)
    file = written(
        indices,
        photometric="palette",
        colormap=(colours.T * (highest // 255)).astype(np.uint16),
        compression=compression,
    )
    np.testing.assert_array_equal(decode_picture(file).pixels, colours[indices].astype(np.uint8), strict=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_sample_is_alpha_unless_the_file_denies_it(dtype):
    pixels = stored(4, dtype)
    encoded = cv2.imencode(".tif", pixels[..., [2, 1, 0, 3]])[1].tobytes()  # without the tag ExtraSamples
    np.testing.assert_array_equal(decode_picture(io.BytesIO(encoded)).pixels, pixels, strict=True)
    denied = decode_picture(written(pixels, photometric="rgb", extrasamples=["unspecified"]))
    np.testing.assert_array_equal(denied.pixels, pixels[..., :3], strict=True)
    assert denied.note == "has 1 further samples of unknown meaning, which are left out"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_associated_alpha_is_divided_out(dtype):
    white = np.iinfo(dtype).max
    alpha = np.full((HEIGHT, WIDTH, 1), white // 3, dtype)
    straight = stored(3, dtype) // 2
    multiplied = np.rint(straight * (white // 3 / white)).astype(dtype)
    file = written(np.dstack([multiplied, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    back = decode_picture(file).pixels
    assert np.abs(back[..., :3].astype(int) - straight).max() <= 2
    np.testing.assert_array_equal(back[..., 3:], alpha)


@pytest.mark.parametrize("alpha", [False, True])
def test_cmyk_of_8_and_16_bits_gives_the_same_colours_and_a_note(alpha):
    inks = stored(5 if alpha else 4, np.uint8)
    extra = {"extrasamples": ["unassalpha"]} if alpha else {}
    options: dict[str, Any] = {"photometric": "separated", "compression": "lzw", **extra}
    plain = decode_picture(written(inks, **options))
    expected = np.asarray(Image.frombytes("CMYK", (WIDTH, HEIGHT), inks[..., :4].tobytes()).convert("RGB"))
    np.testing.assert_array_equal(plain.pixels[..., :3], expected)
    if alpha:
        np.testing.assert_array_equal(plain.pixels[..., 3], inks[..., 4])
    assert plain.note == "is CMYK without a colour profile; its colours are approximate"
    deep = decode_picture(written(inks * np.uint16(257), **options))
    np.testing.assert_array_equal(deep.pixels, plain.pixels)
    assert deep.note == f"is a 16-bit SEPARATED TIFF; it becomes 8-bit sRGB; {plain.note}"


def srgb_of_lab(lightness, a, b):
    """Return 8-bit sRGB by the formulas of CIE L*a*b* under D50."""
    y = (lightness + 16) / 116
    xyz = [t**3 if t > 6 / 29 else (t - 4 / 29) * 3 * (6 / 29) ** 2 for t in (y + a / 500, y, y - b / 200)]
    xyz = np.array(xyz) * (0.9642, 1, 0.8249)  # white of D50
    to_linear = [[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]]
    linear = np.clip(to_linear @ xyz, 0, 1)
    encoded = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return np.rint(encoded * 255)


def test_lab_of_8_and_16_bits_becomes_srgb():
    lab = np.zeros((HEIGHT, WIDTH, 3))
    lab[..., 0], lab[..., 1], lab[..., 2] = 50, 60, -40
    eight = np.stack([np.rint(lab[..., 0] * 2.55), lab[..., 1], lab[..., 2]], axis=-1)
    eight_bytes = eight.astype(np.int16).astype(np.uint8)
    sixteen = np.stack([lab[..., 0] * 655.35, lab[..., 1] * 256, lab[..., 2] * 256], axis=-1)
    sixteen_bytes = np.rint(sixteen).astype(np.int32).astype(np.uint16)
    expected = srgb_of_lab(50, 60, -40)
    for pixels in (eight_bytes, sixteen_bytes):
        back = decode_picture(written(pixels, photometric="cielab")).pixels
        assert np.abs(back.astype(int) - expected).max() <= 4


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (
            np.zeros((4, 5, 3), np.float32),
            {"photometric": "rgb"},
            "32-bit floating-point samples, .*tone-map",
        ),
        (np.zeros((4, 5), np.int16), {}, "16-bit signed samples; convert"),
        (np.zeros((4, 5), np.uint64), {}, "64-bit samples; convert"),
        (np.zeros((4, 5, 3), np.uint8), {"photometric": "itulab"}, "is a ITULAB TIFF; convert"),
    ],
)
def test_what_is_not_read_is_refused_in_one_line(pixels, options, message):
    with pytest.raises(PictureError, match=message):
        decode_picture(written(pixels, **options))


def test_32_bits_become_16_with_a_note():
    pixels = stored(3, np.uint16)
    picture = decode_picture(written(pixels * np.uint32(65537), photometric="rgb", compression="lzw"))
    np.testing.assert_array_equal(picture.pixels, pixels, strict=True)
    assert picture.note == "has 32 bits a sample; 16 are used"


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 2)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_ycbcr_of_any_subsampling_gives_the_colours_of_the_formula(subsampling, layout):
    """A unit holds the luma of h x v pixels and one pair of chroma, which is constant here within a unit."""
    h, v = subsampling
    rng = np.random.default_rng(h + v)
    ycbcr = rng.integers(16, 236, size=(32, 48, 3)).astype(np.uint8)
    ycbcr[..., 1:] = ycbcr[::v, ::h, 1:].repeat(v, axis=0).repeat(h, axis=1)
    tile = (16, 16) if layout == "tiles" else (8, 48)

    def units(block):
        rows, columns = block.shape[0] // v, block.shape[1] // h
        luma = block[..., 0].reshape(rows, v, columns, h).swapaxes(1, 2).reshape(rows, columns, h * v)
        return np.dstack([luma, block[::v, ::h, 1:]]).tobytes()

    blocks = [
        zlib.compress(units(ycbcr[y : y + tile[0], x : x + tile[1]]))
        for y in range(0, 32, tile[0])
        for x in range(0, 48, tile[1])
    ]
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        iter(blocks),
        shape=ycbcr.shape,
        dtype=np.uint8,
        photometric="ycbcr",
        compression="zlib",
        tile=tile if layout == "tiles" else None,
        rowsperstrip=tile[0] if layout == "strips" else None,
    )
    # The writer allows no other subsampling without JPEG, so its tag is overwritten.
    tag = struct.pack("<HHI", 530, 3, 2)
    assert tag + struct.pack("<HH", 1, 1) in file.getvalue()
    data = file.getvalue().replace(tag + struct.pack("<HH", 1, 1), tag + struct.pack("<HH", h, v))
    y, cb, cr = np.moveaxis(ycbcr.astype(float), -1, 0)
    expected = [
        y + 1.402 * (cr - 128),
        y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128),
        y + 1.772 * (cb - 128),
    ]
    difference = decode_picture(io.BytesIO(data)).pixels - np.clip(np.stack(expected, axis=-1), 0, 255)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("options", [0, 1, 4, 5])
@pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4"])
def test_fax_is_read_if_sound_and_refused_if_damaged(compression, options, capfd):
    rng = np.random.default_rng(options)
    runs = rng.choice([1, 2, 3, 17, 63, 64, 65, 700, 1790, 2600], size=(HEIGHT, 3000))
    pixels = np.stack([np.repeat(np.arange(3000) % 2, row)[:3001] for row in runs]).astype(bool)
    file = io.BytesIO()
    tags = {292: options} if compression == "group3" else {}
    Image.fromarray(pixels).save(file, "TIFF", compression=compression, tiffinfo=tags)
    whole = file.getvalue()
    np.testing.assert_array_equal(decode_picture(io.BytesIO(whole)).pixels, pixels * np.uint8(255))
    with tifffile.TiffFile(io.BytesIO(whole)) as tiff:
        start, count = tiff.pages.first.dataoffsets[0], tiff.pages.first.databytecounts[0]
    refused = 0
    for position in rng.integers(start, start + count, size=40):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(8)
        try:
            decode_picture(io.BytesIO(bytes(damaged)))
        except PictureError as error:
            refused += "is damaged or incomplete" in str(error)
    assert refused >= 30  # a code may turn into others of the same length
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"])
def test_damaged_data_is_refused_on_a_clean_terminal(compression, capfd):
    file = io.BytesIO()
    Image.fromarray(stored(3, np.uint8)).save(file, "TIFF", compression=compression)
    whole = file.getvalue()
    decode_picture(io.BytesIO(whole))
    with tifffile.TiffFile(io.BytesIO(whole)) as tiff:
        offset, count = tiff.pages.first.dataoffsets[0], tiff.pages.first.databytecounts[0]
    damaged = bytearray(whole)
    start, stop = offset + count // 4, offset + count // 2
    damaged[start:stop] = np.random.default_rng(3).bytes(stop - start)
    with pytest.raises(PictureError, match="is damaged or incomplete"):
        decode_picture(io.BytesIO(bytes(damaged)))
    assert capfd.readouterr() == ("", "")


def test_a_tiff_without_photometric_interpretation_is_refused():
    data = written(stored(3, np.uint8), photometric="rgb").getvalue()
    tag = struct.pack("<HHI", 262, 3, 1)
    assert tag in data
    with pytest.raises(PictureError, match="does not say what its samples mean"):
        decode_picture(io.BytesIO(data.replace(tag, struct.pack("<HHI", 65001, 3, 1))))


@pytest.mark.parametrize(
    ("tag", "kind", "value"),
    [(258, 3, None), (259, 3, None), (284, 3, 178), (279, 4, 0), (279, 4, 100), (257, 4, "two values")],
    ids=["no depth", "no compression", "odd planes", "no data", "too little data", "two heights"],
)
def test_a_tiff_with_damaged_tags_is_refused(tag, kind, value):
    compressed = tag in (258, 259)
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    data = written(pixels, photometric="rgb", compression="packbits" if compressed else None)
    with tifffile.TiffFile(io.BytesIO(data.getvalue())) as tiff:
        entry = tiff.pages.first.tags[tag].offset
    damaged = bytearray(data.getvalue())
    if value is None:
        damaged[entry : entry + 2] = struct.pack("<H", 65001)
    elif value == "two values":
        damaged[entry : entry + 12] = struct.pack("<HHIHH", tag, 3, 2, HEIGHT, HEIGHT)
    else:
        assert struct.unpack_from("<HH", damaged, entry) == (tag, kind)
        damaged[entry + 8 : entry + 12] = struct.pack("<I", value)
    with pytest.raises(PictureError):
        decode_picture(io.BytesIO(bytes(damaged)))
