"""Files and folders outside the store."""

from dataclasses import dataclass
from pathlib import Path

from data_store.content.publishing import describe_source
from data_store.errors import InputError
from data_store.incoming.sources import register_file
from data_store.names import AssetName, slug
from data_store.records import RunInput
from tasks.engine.reading import Incoming, Outside, Reading


@dataclass(frozen=True)
class File(Incoming):
    """A file or a folder outside the store. It is read where it lies, or from a copy of it that was hashed
    (tasks/engine/outside_files.py)."""

    path: Path

    def __str__(self) -> str:
        return f"file {self.path}"

    @property
    def file(self) -> Path:
        """Itself."""
        return self.path

    def resolve(self, at: Reading) -> RunInput:
        """The source that it is, by the hash of its bytes."""
        return at.of_source(register_file(at.store, self.path, name=self._name(at)))

    def look(self, at: Reading) -> Outside:
        """What lies there now."""
        asset = AssetName("source", self._name(at), "external")
        try:
            now = describe_source("source", self.path, at.store.source_hashes)
        except (InputError, OSError):
            return Outside(at.role, asset, None, str(self.path), self.path, absent="is gone")
        files = {ref.path: ref.sha256 for ref in now.objects}
        return Outside(at.role, asset, now.version_id, str(self.path), self.path, files)

    def _name(self, at: Reading) -> str:
        return slug(f"{at.role}-{at.number + 1}-{self.path.name}")
