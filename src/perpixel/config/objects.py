"""The only door from config to object: ``build(cfg, expected=Base)``.

A config names what it wants with ``_target_``. Before anything is imported the target's package must be one we admit;
after the import the target must be a subclass of the expected base. A package alone would admit too much
(``torch.load`` runs code), and an alias (``logging.os.system``) would hide what is called. Users admit packages of
their own through the environment, ``PERPIXEL_PLUGINS=mylab,other``: a config can never do so.
"""

from __future__ import annotations

import importlib
import inspect
import os
import shlex
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf

from perpixel.config.errors import ConfigError, nearest, together
from perpixel.config.quoting import typed

PACKAGES = frozenset({"perpixel", "perpixel_scenes", "torch", "torchmetrics", "lightning", "albumentations"})
# Read once, at import: a config that sets the variable later (hydra.job.env_set) changes nothing.
PLUGINS = frozenset(name.strip() for name in os.environ.get("PERPIXEL_PLUGINS", "").split(",") if name.strip())

T = TypeVar("T")


def check_prefix(target: object, where: str) -> None:
    """Refuse a target outside the admitted packages. Imports nothing.

    Raises:
        ConfigError: names the key, the target and the environment variable that admits packages.
    """
    package = str(target).partition(".")[0]
    if not isinstance(target, str) or package not in PACKAGES | PLUGINS:
        raise ConfigError(
            f"{where}._target_={target}: package '{package}' is not admitted. Configs may name objects of "
            f"{', '.join(sorted(PACKAGES | PLUGINS))}; to admit one of your own, set the environment variable "
            f"PERPIXEL_PLUGINS={package} before you start."
        )


def locate(target: str, where: str) -> Any:
    """Import what a target names; its prefix is checked first.

    Raises:
        ConfigError: the package is not admitted, or has no such object; the nearest name is suggested.
    """
    check_prefix(target, where)
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            owner: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError as error:
            if error.name is None or not target.startswith(error.name):
                raise  # the module is there, but something it imports is not
            continue
        for part in parts[length:]:
            if not hasattr(owner, part):
                near = nearest(part, (name for name in dir(owner) if not name.startswith("_")))
                raise ConfigError(f"{where}._target_={target}: '{owner.__name__}' has no '{part}'.{near}")
            owner = getattr(owner, part)
        return owner
    raise ConfigError(f"{where}._target_={target}: there is no such module.")


def admit(target: str, expected: type, where: str) -> type:
    """The class a target names, if it is a concrete subclass of ``expected``.

    Raises:
        ConfigError: it is anything else (a function, another class, an abstract base).
    """
    found = locate(target, where)
    if not (inspect.isclass(found) and issubclass(found, expected)):
        raise ConfigError(
            f"{where}._target_={target}: this place takes a subclass of {expected.__module__}.{expected.__qualname__}, "
            f"and that is not one."
        )
    if inspect.isabstract(found):
        raise ConfigError(f"{where}._target_={target}: {_unfinished(found, expected)}")
    return found


def _unfinished(found: type, expected: type) -> str:
    """Why an abstract class makes no objects: it is a base, or its author left out what its base asks for."""
    own_package, base_package = (kind.__module__.partition(".")[0] for kind in (found, expected))
    if found is expected or own_package == base_package:
        return "this is a base class; name one of its subclasses."
    missing = [_outline(getattr(found, name)) for name in sorted(found.__abstractmethods__)]  # type: ignore[attr-defined]
    return (
        f"the class lacks what {expected.__module__}.{expected.__qualname__} asks its subclasses for: "
        f"{'; '.join(missing)}. Define it in {found.__qualname__}."
    )


def _outline(method: Any) -> str:
    """``def name(self, …)`` and the first line of what it is to do."""
    function = inspect.unwrap(method) if callable(method) else getattr(method, "fget", method)
    told = (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")
    return f"def {function.__name__}{inspect.signature(function)}" + (f" ({told})" if told else "")


def faults(node: Any, expected: type, where: str, given: Iterable[str] = ()) -> list[str]:
    """Everything wrong with a node and its nested nodes, without building anything.

    Args:
        node: a mapping with ``_target_``.
        expected: base class of the object, and of nested ones whose argument is not annotated with a class of its own.
        where: config path of the node, for messages.
        given: names of arguments that the caller adds when it builds.
    """
    node = _plain(node)
    if not isinstance(node, Mapping) or "_target_" not in node:
        return [f"{where}: a node with _target_ belongs here, not {node!r}."]
    try:
        target = admit(node["_target_"], expected, where)
    except ConfigError as error:
        return [str(error)]
    nested = [
        fault
        for key, value in node.items()
        for path, child in _nested(value, f"{where}.{key}")
        for fault in faults(child, _expected_in(target, key, expected), path, given)
    ]
    return _argument_faults(target, node, where, set(given)) + nested


def build(node: Any, expected: type[T], where: str = "config", **given: Any) -> T:
    """Make the object that a node describes.

    Args:
        node: a mapping with ``_target_`` and keyword arguments; nested nodes with ``_target_`` are built first; they
            must be of the class that their argument is annotated with, or else of ``expected``.
        expected: the object will be an instance of this class.
        where: config path of the node, for messages.
        given: further arguments; a nested node receives those its signature takes.

    Raises:
        ConfigError: the target is not admitted, or its arguments do not fit its signature; all faults in one message.
    """
    found = faults(node, expected, where, given)
    if found:
        raise together(found)
    return typing.cast(T, _make(_plain(node), expected, where, given))


def _make(node: Any, expected: type, where: str, given: Mapping[str, Any]) -> Any:
    if isinstance(node, Mapping) and "_target_" in node:
        target = admit(node["_target_"], expected, where)
        accepted = inspect.signature(target).parameters
        arguments = {
            key: _make(value, _expected_in(target, key, expected), f"{where}.{key}", given)
            for key, value in node.items()
            if key != "_target_"
        }
        try:
            return target(**arguments, **{key: value for key, value in given.items() if key in accepted})
        except ValueError as error:
            raise _placed(error, where) from None
    if isinstance(node, Mapping):
        return {key: _make(value, expected, f"{where}.{key}", given) for key, value in node.items()}
    if isinstance(node, list):
        return [_make(value, expected, f"{where}[{index}]", given) for index, value in enumerate(node)]
    return node


def _placed(error: ValueError, where: str) -> ValueError:
    """A class names its arguments by the key of its group; within another object they stand deeper."""
    group, told = f"{where.partition('.')[0]}.", str(error)
    nested = "." in where and not where.startswith("data.") and told.startswith(group) and not told.startswith(where)
    return ConfigError(f"{where}.{told.removeprefix(group)}") if nested else error


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig | ListConfig) else node


def _nested(node: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The outermost nodes with ``_target_`` in a value, each with its config path."""
    if isinstance(node, Mapping) and "_target_" in node:
        yield where, node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _nested(value, f"{where}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _nested(value, f"{where}[{index}]")


def _expected_in(target: type, key: str, otherwise: type) -> type:
    """Base class of the nodes in one argument: the class its annotation names (``list[A.BasicTransform]``), if any."""
    classes = [
        hint for hint in _leaves(_hints(target).get(key)) if inspect.isclass(hint) and hint.__module__ != "builtins"
    ]
    return classes[0] if len(classes) == 1 else otherwise


def _leaves(hint: Any) -> Iterator[Any]:
    if typing.get_args(hint):
        for argument in typing.get_args(hint):
            yield from _leaves(argument)
    else:
        yield hint


def _argument_faults(target: type, node: Mapping[str, Any], where: str, given: set[str]) -> list[str]:
    parameters = inspect.signature(target).parameters
    named = {key for key in node if key != "_target_"}
    found = []
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        found += [
            f"{where}.{key}: {target.__qualname__} has no such argument.{nearest(key, parameters)}"
            for key in sorted(named - set(parameters))
        ]
    found += [f"{where}.{key}: perpixel sets this argument itself; leave it out." for key in sorted(named & given)]
    found += [
        f"{where}.{name}: {target.__qualname__} needs this argument."
        for name, p in parameters.items()
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name not in named | given
    ]
    hints = _hints(target)
    found += [
        f"{where}.{key}={node[key]!r}: {target.__qualname__} takes {_show(hints[key])} here."
        f"{_how(hints[key], f'{where}.{key}', node[key])}"
        for key in sorted(named & set(hints))
        if not _fits(node[key], hints[key])
    ]
    return found


def _hints(target: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__)  # type: ignore[misc]  # a class, not an instance
    except (NameError, TypeError):  # names that exist for type checkers only: the types stay unchecked
        return {}


def _show(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "").replace("collections.abc.", "")


def _how(hint: Any, key: str, value: Any) -> str:
    """How what is expected is written: objects, lists, and texts that read as something else."""
    if str in _options(hint) and isinstance(value, int | float):
        return f" A text that looks like a number is quoted: {typed(key, str(value))}"
    if any(_is_our_base(leaf) for leaf in _leaves(hint)):
        return " Write an object as {_target_: <its class>, <argument>: <value>, …}."
    if isinstance(value, list) and _fits("", hint):
        return f" A text in brackets is quoted: {typed(key, '[' + ','.join(map(str, value)) + ']')}"
    if isinstance(value, list) and _fits(["", ""], hint):
        texts = ",".join(f'"{one}"' for one in value)
        return f" Texts that read as something else are quoted: {shlex.quote(f'{key}=[{texts}]')}"
    if not isinstance(value, list) and _fits(["a", "b"], hint):
        items = value.strip("[] ") if isinstance(value, str) else ",".join(value) if isinstance(value, dict) else "a,b"
        return f" A list is written {key}=[{items}]"
    return ""


def _is_our_base(hint: Any) -> bool:
    """An abstract class of an admitted package: no plain value can be one, unlike a Sequence."""
    return inspect.isabstract(hint) and hint.__module__.partition(".")[0] in PACKAGES | PLUGINS


def argument_takes_text(target: str, names: Sequence[str], where: str) -> bool:
    """Whether a class takes a text, and no number, for an argument (or for the values of one that is a mapping).

    Args:
        target: the class, as a config names it; it is imported.
        names: the argument, and the key within it.
        where: config path of the node, for messages.

    Raises:
        ConfigError: there is no such class, or its package is not admitted.
    """
    hint = _hints(locate(target, where)).get(names[0])
    mappings = [option for option in _options(hint) if isinstance(typing.get_origin(option), type)]
    if len(names) == 2 and len(mappings) == 1 and issubclass(typing.get_origin(mappings[0]), Mapping):
        return typing.get_args(mappings[0])[1] is str
    return len(names) == 1 and not mappings and str in (kinds := set(_leaves(hint))) and not kinds & {int, float, bool}


def _options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain config value can be meant by an annotation; where unsure, yes."""
    if isinstance(value, Mapping) and "_target_" in value:
        return True
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is typing.Literal:
        return value in arguments
    if isinstance(value, list) and arguments and isinstance(origin, type) and issubclass(origin, Iterable):
        return _list_fits(value, origin, arguments)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (str, bool, type(None)):
        return isinstance(value, hint)
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return isinstance(value, dict if issubclass(origin, Mapping) else list)
    return not _is_our_base(hint)


def _list_fits(values: list[Any], origin: type, arguments: tuple[Any, ...]) -> bool:
    if issubclass(origin, Mapping):
        return False
    if origin is tuple and Ellipsis not in arguments:
        return len(values) == len(arguments) and all(map(_fits, values, arguments))
    return all(_fits(value, arguments[0]) for value in values)


def complete(node: Any, expected: type, where: str, given: Iterable[str] = ()) -> dict[str, Any]:
    """A node with every constructor argument of its class and of nested nodes, defaults included.

    What is saved with a model must not change when a default does.

    Args:
        node: a mapping with ``_target_``.
        expected: base class of the object.
        where: config path of the node, for messages.
        given: names of arguments that the caller passes when it builds; they are left out.

    Returns:
        plain containers, ready for JSON; tuples become lists.

    Raises:
        ConfigError: the target is not admitted.
    """
    plain = _plain(node)
    target = admit(plain["_target_"], expected, where)
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.default is not parameter.empty and name not in set(given)
    }
    return {
        "_target_": plain["_target_"],
        **{
            key: _completed(value, _expected_in(target, key, expected), f"{where}.{key}", given)
            for key, value in (defaults | {key: value for key, value in plain.items() if key != "_target_"}).items()
        },
    }


def _completed(value: Any, expected: type, where: str, given: Iterable[str]) -> Any:
    if isinstance(value, Mapping) and "_target_" in value:
        return complete(value, expected, where, given)
    if isinstance(value, Mapping):
        return {key: _completed(one, expected, f"{where}.{key}", given) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_completed(one, expected, f"{where}[{index}]", given) for index, one in enumerate(value)]
    return value
