"""Check sections whose `type` names a registered class or function. Their other keys are its parameters."""

import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin

from moeisr_plugin.options.rules import (
    FAULTY,
    Report,
    Rule,
    Value,
    apply_to_keys,
    json_cases,
    json_object,
    nearest,
    needed,
    or_empty,
    shown,
)
from moeisr_plugin.options.values import (
    anything,
    flag,
    like,
    list_of,
    mapping,
    number,
    one_of,
    text,
    whole,
)

OWN_PACKAGES = ("moeisr_plugin", "basicsr", "torch")
IMPORTABLE = ("network", "loss", "metric", "data set", "model")
"""What modules of other packages can register."""
SUFFIX = "_basicsr"
"""The toolbox adds it to the name of a class of its own if another class is registered under that name."""
PLAIN = {bool: flag(), int: whole(), float: number(), str: text()}


@dataclass(frozen=True, kw_only=True)
class Registered(Rule):
    """A section whose `type` names a class or function, and whose other keys are its parameters.

    Attributes:
        registry: returns the registered classes by name; called at each check, as users register their own.
        rules: rules of parameters by name; they precede those from the signature.
        extra: keys that are read elsewhere.
        supplied: parameters that are passed elsewhere.
    """

    words: str = "a section with a type"
    noun: str
    registry: Callable[[], Mapping[str, Callable]]
    rules: Mapping[str, Rule] = field(default_factory=dict)
    extra: Mapping[str, Rule] = field(default_factory=dict)
    supplied: frozenset[str] = frozenset()

    def _apply(self, value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, Mapping):
            report(path, f"is {shown(value)}; give {self.words}")
            return FAULTY
        name = needed(named(self.noun, self.registry))
        target = find(self.registry(), value.get("type"))
        if target is None:
            apply_to_keys({"type": name}, value, path, report, open=True)
            return FAULTY
        rules = {"type": name, **self.keys_of(target)}
        return apply_to_keys(rules, value, path, report, open=takes_any(target))

    def keys_of(self, target: Callable) -> dict[str, Rule]:
        """Return the rules of the keys beside `type` for a class or function."""
        return {**self.extra, **parameter_rules(target, self.rules, self.supplied)}

    def _json_schema(self) -> dict[str, Any]:
        registry = self.registry()
        common = {"type": named(self.noun, self.registry), **self.extra}
        sections = {
            name: json_object(
                {"type": one_of(name), **self.keys_of(target)},
                open=takes_any(target),
                defaults=defaults(target),
            )
            for name, target in registry.items()
        }
        return {
            "type": "object",
            "properties": {key: rule.json_schema() for key, rule in common.items()},
            "allOf": json_cases(sections),
        }


@dataclass(frozen=True, kw_only=True)
class Named(Rule):
    """The name of a registered class or function."""

    noun: str
    names: Callable[[], Mapping[str, Any]]

    def _apply(self, value: Any, path: str, report: Report) -> Any:
        if find(self.names(), value) is None:
            remedy = nearest(value, self.names())
            if self.noun in IMPORTABLE and not remedy.startswith("did you mean"):
                remedy += "; for one of your own, add import: [ITS_MODULE]"
            report(path, f"there is no {self.noun} {str(value)[:80]}; {remedy}")
            return FAULTY
        return value

    def _json_schema(self) -> dict[str, Any]:
        names = list(self.names())
        return {"enum": names + [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]}


def named(noun: str, names: Callable[[], Mapping[str, Any]]) -> Named:
    """Return the rule of a name; `names` is called at each check."""
    article = "an" if noun[0] in "aeiou" else "a"
    return Named(words=f"the name of {article} {noun}", noun=noun, names=names)


def find(registry: Mapping[str, Any], name: Any) -> Any:
    """Return the entry that the toolbox finds under a name, or None; its own may carry a suffix."""
    names = (name, f"{name}{SUFFIX}") if isinstance(name, str) else ()
    return next((registry[key] for key in names if key in registry), None)


def parameter_rules(
    target: Callable, known: Mapping[str, Rule], supplied: Collection[str] = ()
) -> dict[str, Rule]:
    """Return a rule for each parameter, from the known rules, its annotation or its default."""
    rules = {}
    # Elsewhere a parameter of the same name may mean something else.
    known = known if target.__module__.split(".")[0] in OWN_PACKAGES else {}
    for parameter in named_parameters(target):
        if parameter.name not in supplied:
            rule = (
                choice(parameter.annotation)
                or known.get(parameter.name)
                or annotated(parameter.annotation)
                or like(parameter.default)
            )
            rules[parameter.name] = needed(rule) if parameter.default is parameter.empty else rule
    return rules


def named_parameters(target: Callable) -> list[inspect.Parameter]:
    """Return the parameters that can be passed by name, with evaluated annotations where possible."""
    try:
        signature = inspect.signature(target, eval_str=True)
    except NameError:  # an annotation that exists for type checkers alone
        signature = inspect.signature(target)
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter for parameter in signature.parameters.values() if parameter.kind in by_name]


def defaults(target: Callable) -> dict[str, Any]:
    """Return the defaults of the parameters that have one."""
    return {p.name: p.default for p in named_parameters(target) if p.default is not p.empty}


def takes_any(target: Callable) -> bool:
    """Return whether a section may hold keys beyond the named parameters.

    Metrics of this package accept any keyword only because the model passes them arguments of other metrics.
    """
    if target.__module__.startswith("moeisr_plugin."):
        return False
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(target).parameters.values())


def choice(annotation: Any) -> Value | None:
    """Return the rule of a Literal, None for another type."""
    return one_of(*get_args(annotation)) if get_origin(annotation) is Literal else None


def annotated(annotation: Any) -> Value | None:
    """Return the rule of a type, None for a type without one."""
    if annotation in PLAIN:
        return PLAIN[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        rules = [annotated(argument) for argument in arguments if argument is not type(None)]
        known = [rule for rule in rules if rule is not None]
        rule = known[0] if len(known) == 1 else anything()
        return or_empty(rule) if type(None) in arguments else rule
    if origin is Mapping:
        return mapping()
    if origin in (Sequence, Iterable, list):
        return list_of(annotated(arguments[0]) or anything())
    if origin is tuple and Ellipsis not in arguments:
        return list_of(annotated(arguments[0]) or anything(), length=len(arguments))
    return None
