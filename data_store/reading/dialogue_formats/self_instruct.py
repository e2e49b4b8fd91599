"""Self-Instruct's seed tasks: an instruction with instances, each of which becomes a dialogue.

https://github.com/yizhongw/self-instruct
"""

from collections.abc import Iterable, Mapping

from data_store.errors import InputError
from data_store.reading.dialogue_formats.format import DialogueFormat, Names, pair
from data_store.reading.messages import Messages
from data_store.reading.source_files import Record


def _read(record: Record, _: Names) -> Iterable[Messages]:
    instances = record.value("instances")
    if not isinstance(instances, list) or not all(isinstance(instance, Mapping) for instance in instances):
        raise InputError(f"{record.where}: field 'instances' must be a list of objects with input and output")
    named = (
        Record(f"{record.where} instance {n}", record.source, {"instruction": record.text("instruction"), **instance})
        for n, instance in enumerate(instances)
    )
    return [pair(each, "instruction", "output", "input") for each in named]


SELF_INSTRUCT = DialogueFormat(
    "self_instruct",
    "Self-Instruct: an instruction with `instances` of input and output",
    lambda fields, _: "instances" in fields,
    _read,
)
