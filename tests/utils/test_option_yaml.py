"""Option files hold plain data, read as users of the toolbox write it."""

from collections import OrderedDict

import pytest
import yaml

from moeisr_plugin.utils.option_yaml import OptionsDumper, OptionsLoader


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("!!float 2e-4", 2e-4),
        ("-3E5", -3e5),
        ("1.e4", 1e4),
        ("1.5e5", 1.5e5),
        ("1.0e-4", 1e-4),
        ("48", 48),
        ("0.5", 0.5),
        ("~", None),
        ("true", True),
        ("[1, 4]", [1, 4]),
        ("1e4x", "1e4x"),
        ("'1e4'", "1e4"),
        ("e4", "e4"),
        ("~/data", "~/data"),
    ],
)
def test_values_are_read_as_users_of_the_toolbox_write_them(text, value):
    read = yaml.load(f"key: {text}", Loader=OptionsLoader)["key"]
    assert (read, type(read)) == (value, type(value))


def test_what_is_dumped_is_read_back():
    opt = OrderedDict(b=1, a=OrderedDict(lr=1e-4, names=["x"]))
    assert yaml.load(yaml.dump(opt, Dumper=OptionsDumper, sort_keys=False), Loader=OptionsLoader) == opt


def test_yaml_itself_is_left_alone():
    assert type(yaml.safe_load("a: 1")) is dict
    assert yaml.safe_load("1e-4") == "1e-4"
