"""Read and write option files: YAML that holds plain data only."""

import re
from collections import OrderedDict

import yaml

_EXPONENT_WITHOUT_SIGN_OR_DOT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")


class OptionsLoader(yaml.SafeLoader):
    """A safe YAML loader that keeps keys in order, refuses repeated keys, and reads `1e-4` as a number."""

    def construct_ordered(self, node: yaml.MappingNode) -> OrderedDict:
        first: dict[str, int] = {}
        for key, _ in node.value:
            problem = None
            if not isinstance(key, yaml.ScalarNode):
                problem = "a key is a list or a mapping; give a word"
            elif key.value in first:
                problem = f"key {key.value} is there twice, first in line {first[key.value]}; remove one"
            if problem:
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            first[key.value] = key.start_mark.line + 1
        self.flatten_mapping(node)
        return OrderedDict(self.construct_pairs(node))


class OptionsDumper(yaml.SafeDumper):
    """A safe YAML dumper that writes an OrderedDict as a plain mapping."""

    def represent_ordered(self, data: OrderedDict) -> yaml.MappingNode:
        return self.represent_dict(data.items())


OptionsLoader.add_constructor(OptionsLoader.DEFAULT_MAPPING_TAG, OptionsLoader.construct_ordered)
for each in (OptionsLoader, OptionsDumper):  # the dumper quotes a text like '1e5'
    each.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT_WITHOUT_SIGN_OR_DOT, list("-+0123456789"))
OptionsDumper.add_representer(OrderedDict, OptionsDumper.represent_ordered)
