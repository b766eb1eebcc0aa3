"""`moeisr networks` against the model index and the files, and enlarging by them."""

import re

import yaml
from upscale_command import moeisr

from moeisr_plugin.checkpoints.bundled import DEFAULT, bundled_weights
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.cli import main
from moeisr_plugin.commands import networks


def rows(capsys):
    """Return the cells of the table by network."""
    assert main(["networks"]) == 0
    _, *lines = capsys.readouterr().out.split("\n\n")[0].splitlines()
    return {name: cells for name, *cells in (re.split(r"\s{2,}", line) for line in lines)}


def test_the_table_holds_every_bundled_network_and_says_when_to_take_it(capsys):
    table = rows(capsys)
    assert set(table) == set(bundled_weights())
    assert all(len(cells) == 6 and cells[-1] for cells in table.values())
    assert [name for name, cells in table.items() if cells[-1].endswith("(default)")] == [DEFAULT]
    assert set(bundled_weights()) <= set(networks.ADVICE)


def test_the_numbers_are_those_of_the_files_and_of_the_index(capsys):
    table = rows(capsys)
    files = bundled_weights()
    for name in ("tiny_LTE", DEFAULT):
        size, parameters, *_ = table[name]
        assert size == f"{files[name].stat().st_size / 1e6:.1f}"
        counted = sum(each.numel() for each in network_from(name).parameters())
        assert int(parameters.replace(",", "")) == counted
    index = yaml.safe_load((files[DEFAULT].parent / "metafile.yml").read_text(encoding="utf-8"))
    for model in index["Models"]:
        (metrics,) = (
            each["Metrics"]
            for each in model["Results"]
            if (each["Dataset"], each["Protocol"]) == ("Set14", "benchmark")
        )
        assert table[model["Name"]][2:5] == [f"{metrics[f'PSNR x{scale}']:.2f}" for scale in (2, 3, 4)]


def test_a_network_without_an_entry_in_the_index_has_empty_cells(tmp_path, monkeypatch, capsys):
    (tmp_path / "new-12345678.safetensors").write_bytes(b"0" * 1_230_000)
    files = {"new": tmp_path / "new-12345678.safetensors", DEFAULT: bundled_weights()[DEFAULT]}
    monkeypatch.setattr(networks, "bundled_weights", lambda: files)
    assert main(["networks"]) == 0
    assert re.search(r"^new +1\.2$", capsys.readouterr().out, re.MULTILINE)


def test_int8_that_the_machine_lacks_is_replaced_with_one_line(photo, capsys, monkeypatch):
    monkeypatch.setattr("moeisr_plugin.render.casting.obstacle", lambda: "this CPU lacks AVX-512 VNNI")
    monkeypatch.setattr("moeisr_plugin.render.casting.onednn_supports", lambda dtype: False)
    assert moeisr(photo, "--scale", 2, "-n", "tiny_LIIF", "--device", "cpu", "--precision", "int8", "-v") == 0
    lines = capsys.readouterr().err.splitlines()
    note = "moeisr upscale: precision int8: this CPU lacks AVX-512 VNNI; using float32"
    assert note in lines
    assert "network tiny_LIIF, device cpu, float32" in lines
