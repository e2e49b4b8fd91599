"""A model of this store, of a version that the config names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from data_store.errors import InputError
from data_store.incoming.stored_models import content_of, find_model, register_model
from data_store.names import AssetName, slug
from data_store.records import Head, RunInput
from data_store.store import Store
from tasks.engine.reading import Incoming, Outside, Reading


@dataclass(frozen=True)
class StoredModel(Incoming):
    """The policy that `wanted` names. `name` is what figures call it. It is no edge of the plan: a later version of the
    same asset makes nothing stale, unless it is the asset that is named."""

    wanted: str
    name: str

    def __str__(self) -> str:
        return f"stored model {self.wanted}"

    @property
    def _where(self) -> str:
        return f"evaluate.against: {self.name}: version"

    @property
    def _asset(self) -> AssetName:
        return AssetName("source", slug(f"compared-{self.name}"), "external")

    def resolve(self, at: Reading) -> RunInput:
        """The version, as a source that says what made it."""
        return at.of_source(register_model(at.store, find_model(at.store, self.wanted, self._where), self._asset))

    def look(self, at: Reading) -> Outside:
        """The same, writing nothing."""
        try:
            version = find_model(at.store, self.wanted, self._where).from_version
        except InputError:
            version = None
        return Outside(at.role, self._asset, version, f"version {self.wanted}", absent="is not in the store")

    def check(self, store: Store | None, heads: Mapping[AssetName, Head], part: str) -> None:
        """Raises InputError for what the store does not hold, and for a model that gives no text."""
        if store is None:
            raise InputError(f"{self._where}: the run has no store yet, so there is no {self.wanted} in it")
        found = find_model(store, self.wanted, self._where)
        adapter = content_of(store, found, "adapter_config.json")
        if adapter is not None:
            speaks = json.loads(adapter).get("task_type") != "SEQ_CLS"
        else:
            config = json.loads(content_of(store, found, "config.json") or "{}")
            names = config.get("architectures") or []
            speaks = not any(name.endswith("ForSequenceClassification") for name in names)
        if not speaks:
            raise InputError(
                f"{self._where}: {found.from_asset} is a reward model, which answers nothing: name a policy"
            )
