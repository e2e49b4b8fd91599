"""Which base the policies of the annotation page answer with."""

from pathlib import Path

import pytest

from data_store.errors import InputError
from data_store.incoming.sources import register_file
from data_store.names import AssetName
from data_store.records import RunInput, RunOutput, RunRecord
from data_store.store import Store
from flows.live import open_answerer
from tests.data_store.store_bench import Bench
from tests.flows.recipe.test_plan import on_base


def test_an_adapter_is_not_put_on_a_base_that_it_was_not_trained_on(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    config = on_base(base, lora={"rank": 4})
    bench = Bench(Store.open(tmp_path / "store"), tmp_path / "work")
    (base / "model.safetensors").write_text("first")
    head = register_file(bench.store, base, name="base-1-base")
    adapter = bench.files(**{"adapter_config.json": "{}"})
    record = RunRecord("sft", "V0", "fingerprint", "1", {}, 1)
    outputs = {"policy": RunOutput(AssetName("model", "policy", "V0"), bench.store.publish("model", adapter))}
    bench.store.commit_run(record, [RunInput("base", head.asset, head.version_id, None)], outputs)
    open_answerer(config, bench.store, ["model/policy@V0"], [], 60)
    (base / "model.safetensors").write_text("other")
    with pytest.raises(InputError, match=f"base_model: {base} is not what model .* was trained on"):
        open_answerer(config, bench.store, ["model/policy@V0"], [], 60)
