"""The one place that reads and writes YAML. A key that is given twice is refused; YAML would take the last one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data_store.closest import did_you_mean
from data_store.errors import InputError


class _TwiceError(Exception):
    """A key that is given twice, with the lines of both."""


class _Loader(yaml.SafeLoader):
    """Looks at the keys as they are written, before `<<` is resolved: there a key may take another's place."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in seen:
                    raise _TwiceError(key.value, seen[key.value], line)
                seen[key.value] = line
        return node


def read_yaml_file(path: Path) -> Any:
    """The plain values of a file. Raises InputError that names the file and the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        near = did_you_mean(str(path), map(str, path.parent.glob("*.y*ml")))
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give a YAML file, for example configs/smoke.yaml{near}"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None
    try:
        return _values(text)
    except _TwiceError as error:
        key, first, second = error.args
        raise InputError(
            f"{path}, line {second}: the key {key!r} is given twice, first in line {first}; keep one of them"
        ) from None
    except _FAULTS as error:
        raise InputError(f"{path}: not YAML: {error}") from None


def read_yaml_value(text: str, where: str) -> Any:
    """The plain values of a text of one line. Raises InputError that begins with `where`."""
    try:
        return _values(text)
    except _TwiceError as error:
        raise InputError(f"{where}: the key {error.args[0]!r} is given twice; keep one of them") from None
    except _FAULTS:
        raise InputError(f"{where}: the value is not YAML; put text with special characters in quotes") from None


_FAULTS = (yaml.YAMLError, ValueError, RecursionError)  # ValueError: a date that there is not


def yaml_of(values: Mapping[str, Any]) -> str:
    """As YAML, in the order given."""
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


def _values(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
