#!/bin/bash
# A function that is given to a chat template as a variable arrives there as a text, so that a template cannot be handed
# a clock of one's own: `strftime_now`, which transformers itself provides, can be hidden by an argument of that name,
# but the argument cannot be called.
#
# transformers 5.23.0 with tokenizers 0.23.3 and jinja2 3.1.6, Python 3.11, no torch. Numbers, lists and mappings arrive
# as they are. Source: `render_jinja_template` makes its variables plain before the template sees them, and what it does
# not know becomes a text; the environment's own functions (`raise_exception`, `strftime_now`) are not among them.
# What avoids it: a text in place of the call in the template's source, or a date as a text where a template asks for one.
#
# Ends with 0 while it is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3 jinja2==3.1.6
"$folder/venv/bin/python" - <<'PYTHON'
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

logging.set_verbosity_error()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
asked = [{"role": "user", "content": "x"}]


def written(template, **variables):
    tokenizer.chat_template = template
    try:
        return tokenizer.apply_chat_template(asked, tokenize=False, **variables)
    except TypeError as error:
        return f"TypeError: {error}"


def clock(form):
    return "2024"


found = {
    "the environment's own function": written("{{ strftime_now is callable }}"),
    "a function as a variable": written("{{ year is callable }} {{ year is string }} {{ year }}", year=clock),
    "it is called": written("{{ year('%Y') }}", year=clock),
    "in place of strftime_now": written("{{ strftime_now('%Y') }}", strftime_now=clock),
    "a mapping as a variable": written("{{ days is mapping }} {{ days }}", days={"a": 1}),
}
for name, text in found.items():
    print(f"{name}: {text}")
assert list(found.values()) == [
    "True",
    "False True <function>",
    "TypeError: 'str' object is not callable",
    "TypeError: 'str' object is not callable",
    "True {'a': 1}",
], "this has changed"
PYTHON
