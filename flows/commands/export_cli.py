"""`halter export` copies the catalog or a model for other tools; `halter import` brings a run from another store."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from data_store.closest import did_you_mean
from data_store.errors import InputError
from data_store.figures import figure, size
from data_store.files import atomic_write
from data_store.identity import CONFIG_FILE, check_identity, check_run_name
from data_store.layout import MARKER
from data_store.names import AssetName
from data_store.records import Head
from data_store.store import Store
from data_store.upkeep.export import export_openlineage, export_parquet, new_folder
from data_store.upkeep.foreign_files import read_inside
from data_store.upkeep.transfer import import_store
from flows.commands.command import JsonOption, RunOption, console, guarded, print_json
from flows.live import base_of
from flows.recipe.config import dump_config, parse_config
from flows.session import home, opened, outside_home, store_root
from flows.shown.card_parts import UNKNOWN, stated
from flows.shown.data_card import KINDS, data_card, rows_by_split
from flows.shown.model_card import model_card

LicenceOption = Annotated[str, typer.Option("--license", help="For the card, such as apache-2.0.")]
SourceLicences = Annotated[
    list[str] | None,
    typer.Option("--source-license", metavar="NAME=LICENSE", help="Of a source that the card names; any number."),
]
LanguagesOption = Annotated[list[str] | None, typer.Option("--language", help="For the card, such as en; any number.")]

exports = typer.Typer(help="Copy a run's catalog, or one of its models, for other tools.", no_args_is_help=True)


@exports.command("parquet")
@guarded
def parquet(
    target: Annotated[Path, typer.Argument(help="A folder that is absent or empty.")],
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every table of the catalog and the rows of all current data sets as Parquet files."""
    _, store = opened(name)
    outside_home(target)
    written = export_parquet(store, target)
    if as_json:
        print_json({"target": str(target.absolute()), "files": [str(path) for path in written]})
    else:
        console.print(f"{len(written)} Parquet files in {target}", highlight=False)


@exports.command("openlineage")
@guarded
def openlineage(
    file: Annotated[Path, typer.Argument(help="A file for JSON lines; one that is there is replaced.")],
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every run of every step as OpenLineage run events, one JSON text a line."""
    config, store = opened(name)
    outside_home(file)
    count = export_openlineage(store, file, name=config.name)
    if as_json:
        print_json({"file": str(file.absolute()), "events": count})
    else:
        console.print(f"{count} events in {file}", highlight=False)


@exports.command("model")
@guarded
def model(
    asset: Annotated[str, typer.Argument(metavar="NAME", help="For example model/policy@V2.")],
    target: Annotated[Path, typer.Argument(help="A folder that is absent or empty.")],
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None, typer.Option(help="Of the weights; the checkpoint's own if not given.")
    ] = None,
    licence: LicenceOption = UNKNOWN,
    of_sources: SourceLicences = None,
    languages: LanguagesOption = None,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """A model as one folder that transformers and others open: adapters merged, tokenizer, generation config, card."""
    config, store = opened(name)
    outside_home(target)
    head = model_head(store, asset)
    known = stated(licence, of_sources or (), languages or ())
    folder, base = store.checkout(head.version_id), base_of(config, store, head.version_id)
    if not (folder / "tokenizer_config.json").exists():
        raise InputError(f"{asset} holds no model with its tokenizer: give one, such as model/policy@V1")
    merged = (folder / "adapter_config.json").exists()
    if merged and base is None:
        raise InputError(f"{asset} is an adapter, and its base is not known here: set base_model in the config")
    with new_folder(store, target) as draft:
        from models.export import is_reward_model, write_whole_model

        held = write_whole_model(folder, base, draft, dtype=dtype)
        reward = is_reward_model(folder)
        card = model_card(store, head, run=config.name, reward=reward, dtype=held, merged=merged, known=known)
        (draft / "README.md").write_text(card)
    files = sorted(path.name for path in target.iterdir())
    if as_json:
        print_json({"target": str(target.absolute()), "version": head.version_id, "dtype": held, "files": files})
    else:
        console.print(f"{asset} ({head.version_id[:12]}) in {held}, {len(files)} files in {target}", highlight=False)


@exports.command("dataset")
@guarded
def dataset(
    asset: Annotated[str, typer.Argument(metavar="NAME", help="For example dataset/preferences@V2.")],
    target: Annotated[Path, typer.Argument(help="A folder that is absent or empty.")],
    licence: LicenceOption = UNKNOWN,
    of_sources: SourceLicences = None,
    languages: LanguagesOption = None,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Preferences or demonstrations as one folder that `datasets` and the hub open: a file a split, and a data card."""
    config, store = opened(name)
    outside_home(target)
    head = _data_head(store, asset)
    kind = store.version(head.version_id).row_kind or ""
    if kind not in KINDS:
        raise InputError(f"{asset} holds neither preferences nor demonstrations: give one of these")
    known = stated(licence, of_sources or (), languages or ())
    rows = rows_by_split(store.rows(head.version_id).to_pylist(), kind)
    with new_folder(store, target) as draft:
        for split, each in rows.items():
            lines = [json.dumps(row, ensure_ascii=False) for row in each]
            (draft / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        card = data_card(store, head, rows, run=config.name, kind=kind, known=known)
        (draft / "README.md").write_text(card, encoding="utf-8")
    counts = {split: len(each) for split, each in rows.items()}
    if as_json:
        print_json({"target": str(target.absolute()), "version": head.version_id, "rows": counts})
    else:
        told = ", ".join(f"{figure(count)} {split}" for split, count in counts.items())
        console.print(f"{asset} ({head.version_id[:12]}): {told} in {target}", highlight=False)


def _data_head(store: Store, name: str) -> Head:
    asset = AssetName.parse(name)
    heads = store.heads()
    if asset.kind != "dataset" or asset not in heads:
        there = sorted(str(each) for each in heads if each.kind == "dataset")
        raise InputError(f"there is no {name}; there are: {', '.join(there) or 'none'}{did_you_mean(name, there)}")
    return heads[asset]


def model_head(store: Store, name: str) -> Head:
    """Where a model's name points now. Raises InputError for what is no model, or not made yet."""
    asset = AssetName.parse(name)
    if asset.kind != "model":
        raise InputError(f"{name} is no model: give one, for example model/policy@V1")
    head = store.head(asset)
    if head is None:
        models = sorted(str(one) for one in store.heads() if one.kind == "model")
        near = did_you_mean(name, models)
        raise InputError(f"there is no {name} yet; there are: {', '.join(models) or 'none'}{near}")
    return head


@guarded
def import_run(
    store: Annotated[Path, typer.Argument(help="The store of a run, or a folder with the stores of several.")],
    name: Annotated[str | None, typer.Option("--run", help="Which run; needed where STORE holds several.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a run's current versions and their lineage from another store into the run of the same name here."""
    root = _chosen(store.absolute(), name)
    if root.parent.resolve() in (home().resolve(), store.resolve()):  # elsewhere a store's folder may have any name
        check_identity(root)
    try:
        config = parse_config(read_inside(root, CONFIG_FILE), str(root / CONFIG_FILE))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{root} holds no {CONFIG_FILE}: it is not the store of a run of the recipe") from None
    run = check_run_name(config.name)
    if name not in (None, run):
        raise InputError(f"{root} is the store of run {run!r}, not of {name!r}")
    target = store_root(run)
    if target.resolve() == root.resolve():
        raise InputError(f"{root} is the store of run {run} here; give a store elsewhere")
    added = import_store(Store.open(target), root)
    if not (target / CONFIG_FILE).exists():
        atomic_write(target / CONFIG_FILE, dump_config(config))
    if as_json:
        print_json({"run": run, "steps": added.steps, "heads": added.heads, "objects": added.objects})
        return
    console.print(
        f"{run}: {added.steps} steps and {added.heads} current versions imported, {added.objects} objects "
        f"({size(added.bytes)}) copied and verified",
        highlight=False,
    )


def _chosen(folder: Path, name: str | None) -> Path:
    """The store that is meant."""
    if (folder / MARKER).is_file():
        return folder
    known = sorted(path.parent.name for path in folder.glob(f"*/{MARKER}"))
    listed = ", ".join(known) or "none"
    if name is None and len(known) != 1:
        raise InputError(f"{folder}: say with --run which run; there are: {listed}")
    if name is not None and name not in known:
        raise InputError(f"{folder}: there is no run {name!r}; there are: {listed}{did_you_mean(name, known)}")
    return folder / (name or known[0])
