"""Some texts of many, drawn by chance as they come by."""

from data_store.encoding import text_hash


class DrawnTexts:
    """Of all texts that are added those whose hashes with the seed are the lowest, each once, in the order of these
    hashes: every text is as likely, whatever their order, and few are held at once."""

    def __init__(self, most: int, seed: int) -> None:
        self._most, self._seed = most, seed
        self._texts: dict[str, str] = {}

    def add(self, text: str) -> None:
        self._texts[text_hash(f"{self._seed} {text}")] = text
        if len(self._texts) > 2 * self._most:
            self._texts = self._lowest()

    def texts(self) -> list[str]:
        return list(self._lowest().values())

    def _lowest(self) -> dict[str, str]:
        return dict(sorted(self._texts.items())[: self._most])
