"""`factory export` and `factory new`: datasets and models out of the store, recipes out of the package."""

from __future__ import annotations

from pathlib import Path

import click

from ..engine.build import complete
from ..engine.model import Model
from ..engine.recipe import read_recipe
from ..engine.stage import Plan, Stage, opened
from ..engine.store import write_atomic
from ..errors import InputError, did_you_mean
from ..plugins import pm
from .card import CARD, dataset_card
from .handover import TOOLS, hand_over
from .looking import target_argument
from .model_card import model_card
from .planning import limit_option, planned, recipe_argument, set_option

FORMS = ("plain", "alpaca", "sharegpt", "chatml", "openai", "trl", "trl_margin")


@click.command()
@recipe_argument
@target_argument
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--form", type=click.Choice(FORMS), default="plain", show_default=True, help="The columns a trainer reads."
)
@click.option("--for", "tool", type=click.Choice(TOOLS), help="Hand the training of TARGET over to this trainer.")
@limit_option
@set_option
@click.pass_obj
def export(
    store: Path | None,
    recipe: Path,
    target: str,
    file: Path,
    form: str,
    tool: str | None,
    limit: int | None,
    overrides: tuple[str, ...],
) -> None:
    """Write the records of TARGET to FILE; its ending says how: .jsonl, .parquet or .csv, also .jsonl.gz and .zst.

    A dataset card is written beside it, as FILE.md. A FILE without such an ending is a folder, as the Hugging Face
    Hub has them: the records as TARGET.parquet, and the card as README.md.

    Of a TARGET that is a model, a folder gets weights and tokenizer, an adapter merged into its base, and the model's
    card; a FILE that ends in .gguf gets weights and vocabulary as llama.cpp reads them (.Q8_0.gguf or .f16.gguf in
    that form, .vocab.gguf without weights).

    With --for, FILE is a folder that gets what another trainer needs to train TARGET, made by sft, dpo, kto or
    reward_model, again: the records learned from and held out, with their masks, a script or configuration with its
    options, base, tokenizer.
    """
    plan = planned(store, recipe, (), limit, overrides)
    if tool is not None:
        click.echo(f"{file}: {hand_over(plan, target, tool, file)}")
        return
    stage = complete(plan, target)
    dataset = opened(stage)
    if isinstance(dataset, Model):
        _export_model(plan, stage, dataset, file)
        return
    folder = not file.suffix or file.is_dir()
    card = file / "README.md" if folder else file.with_name(f"{file.name}.md")
    file = file / f"{target}.parquet" if folder else file
    if card.exists() and CARD not in card.read_text(encoding="utf-8", errors="replace"):
        raise InputError(f"'{card}' is there already and no card of ours; it is left as it is, so name another folder")
    uri = str(file.resolve()) + ("" if form == "plain" else f"?form={form}")
    if not pm.hook.save_dataset(dataset=dataset, uri=uri):
        raise InputError(f"no plugin writes '{file.name}'; use .jsonl, .parquet or .csv, or a folder")
    write_atomic(card, dataset_card(plan, stage, dataset, file.name, form).encode())
    click.echo(f"{len(dataset):,} records in {file}, described in {card}")


def _export_model(plan: Plan, stage: Stage, model: Model, file: Path) -> None:
    """A folder with its card as README.md, or a file with the card beside it."""
    said = pm.hook.save_model(model=model, uri=str(file.resolve()))
    if not said:
        where = stage.folder / "model"
        raise InputError(
            f"'{stage.target}' is a model; name a folder, or a file that ends in .gguf; it lies in {where}"
        )
    card = file / "README.md" if file.is_dir() else file.with_name(f"{file.name}.md")
    write_atomic(card, model_card(plan, stage, said).encode())
    click.echo(f"{file}: {said}; described in {card}")


def shipped() -> Path:
    """The folder with recipes/ and seeds/: inside the wheel, or the checkout."""
    package = Path(__file__).parent.parent
    inside = package / "shipped"
    return inside if inside.is_dir() else package.parent


@click.command()
@click.argument("name", required=False)
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
def new(name: str | None, folder: Path) -> None:
    """Copy the recipe NAME, and the seed tasks it names, into FOLDER (here, when not given).

    Without NAME, list the recipes there are.
    """
    known = {path.stem: path for path in sorted((shipped() / "recipes").glob("*.yaml"))}
    if name is None:
        width = max(map(len, known))
        for stem, path in known.items():
            first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
            click.echo(f"{stem:{width}}  {first}")
        return
    if name not in known:
        raise InputError(f"no recipe '{name}' comes with the factory; {did_you_mean(name, known)}")
    recipe = read_recipe(known[name])
    copies = {folder / known[name].name: known[name]}
    for target in recipe.targets.values():
        for source in target.sources:
            if source.startswith("seeds/"):
                copies[folder / source] = shipped() / source
    for path in copies:
        if path.exists():
            raise InputError(f"'{path}' is there already; it is left as it is")
    for path, original in copies.items():
        write_atomic(path, original.read_bytes())
        click.echo(f"wrote {path}")
    own = [source for target in recipe.targets.values() for source in target.sources if source.startswith("documents")]
    first = f"put your files into {folder / own[0]}, then " if own else ""
    click.echo(f"Next: {first}factory build {folder / known[name].name}")
