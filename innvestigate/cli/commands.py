"""The commands: methods, plan, explain, evaluate. They start without Keras."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innvestigate import __version__
from innvestigate.cli.console import FAILED, WRONG, Commands, Stopped, ends_with, print_table, quiet
from innvestigate.cli.options import (
    BatchSize,
    ClassNames,
    Fit,
    Inputs,
    Methods,
    ModelFile,
    Neuron,
    Offset,
    Pixels,
    Reference,
    Resize,
    Resizing,
    Scale,
)

if TYPE_CHECKING:
    from innvestigate.cli.session import Session

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Explain the predictions of a saved Keras model.

    `innvestigate explain model.keras cat.png --method lrp.epsilon --out cat_lrp.png`

    Exit codes: 0 done, 1 the analysis failed, 2 the command line is wrong.
    """
    if version:
        typer.echo(f"innvestigate {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def methods(
    text: Annotated[str, typer.Argument(help="Only methods whose name contains this.")] = "",
    details: Annotated[
        bool, typer.Option("--details", help="Print arguments and papers in full.")
    ] = False,
) -> None:
    """List the methods: name, one line, papers.

    `innvestigate methods lrp`

    `innvestigate methods smoothgrad --details`
    """
    with quiet():
        from innvestigate.analyzer.catalogue import catalogue
    entries = catalogue(text)
    if not entries:
        raise Stopped(
            f"No method's name contains {text!r}. `innvestigate methods` lists all.", WRONG
        )
    if details:
        typer.echo(
            "\n\n".join(f"{e.name}\n{'-' * len(e.name)}\n{e.documentation}" for e in entries)
        )
        return
    print_table(["name", "summary", "papers"], [vars(entry) for entry in entries])


@app.command()
def plan(
    model: ModelFile,
    method: Annotated[str, typer.Argument(help="A method, with its arguments if need be.")],
) -> None:
    """Show which rule each layer of a model gets, and why.

    `innvestigate plan model.keras lrp.epsilon_plus_flat`
    """
    with quiet():
        from innvestigate.cli.session import create, load_model
    with ends_with(WRONG):
        analyzer = create(method, load_model(model))
    planned = analyzer if hasattr(analyzer, "plan") else getattr(analyzer, "analyzer", None)
    if planned is None:
        raise Stopped(f"{method} has no plan: it only runs the model forward.", WRONG)
    planned.plan()


@app.command()
def explain(
    model: ModelFile,
    inputs: Inputs,
    method: Methods,
    out: Annotated[
        list[Path],
        typer.Option(
            *("--out", "-o"),
            metavar="FILE|FOLDER",
            help="What to write, by its extension: a picture (.png, .pdf, .svg, ...), numbers "
            "(.npy, .npz; .csv for features), or a folder with a picture of each input and the "
            "numbers. Can be given several times. Folders are made.",
            show_default=False,
        ),
    ],
    neuron: Neuron = None,
    class_names: ClassNames = None,
    preprocessing: Pixels = None,
    scale: Scale = 1.0,
    offset: Offset = 0.0,
    resize: Resizing = Resize.crop,
    reference: Reference = None,
    fit: Fit = None,
    batch_size: BatchSize = 32,
) -> None:
    """Explain predictions: heatmaps of images, bars of features, or their numbers.

    One image and one method give a heatmap over the image, several a grid. A final softmax
    or sigmoid is taken off: the logit is explained.

    `innvestigate explain model.keras cat.png -m lrp.epsilon -o cat.png --preprocessing tf`

    `innvestigate explain model.keras *.jpg -m gradient -m deeplift -o grid.png --class-names c.txt`

    `innvestigate explain model.keras patients.csv -m deeplift --reference mean.npy -o why.csv`
    """
    with ends_with(WRONG):
        session = _session(model, class_names, preprocessing, scale, offset, resize, batch_size)
        from innvestigate.cli.writing import Explanations, check_destination, sums_in_words

        samples = session.read(inputs)
        for path in out:
            check_destination(path, method, samples)
        neurons, captions = session.choose(samples, neuron)
        analyzers = session.create(method, reference, fit)
    typer.echo("\n".join(captions))
    with ends_with(FAILED):
        options: dict[str, Any] = {"batch_size": batch_size, "verbose": sys.stdout.isatty()}
        relevances, accounted = {}, {}
        for name, analyzer in analyzers.items():
            if analyzer.adds_up_to is None:
                relevances[name] = analyzer.analyze(samples.x, neurons, **options)
                continue
            ledger = analyzer.audit(samples.x, neurons, in_detail=False, **options)
            relevances[name], accounted[name] = ledger.results, ledger.accounted
            typer.echo(f"{name}: {sums_in_words(samples.names, ledger.accounted)}")
        explained = Explanations(samples, captions, relevances, accounted)
        for path in [file for place in out for file in explained.save(place)]:
            typer.echo(f"wrote {path}")


@app.command()
def evaluate(
    model: ModelFile,
    inputs: Inputs,
    method: Methods,
    metric: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="region_perturbation, randomization, sensitivity_n, infidelity or "
            "max_sensitivity; several can be given, with arguments as in Python: "
            "`'region_perturbation(region_shape=8, steps=20)'`.",
        ),
    ] = ["region_perturbation"],  # noqa: B006
    out: Annotated[
        list[Path] | None,
        typer.Option(
            *("--out", "-o"),
            metavar="FILE",
            help="The scores as .csv, or the curves of region_perturbation as a picture. Can be "
            "given several times.",
            show_default=False,
        ),
    ] = None,
    neuron: Neuron = None,
    class_names: ClassNames = None,
    preprocessing: Pixels = None,
    scale: Scale = 1.0,
    offset: Offset = 0.0,
    resize: Resizing = Resize.crop,
    reference: Reference = None,
    fit: Fit = None,
    batch_size: BatchSize = 32,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of all that is random.")] = 0,
) -> None:
    """Compare methods on data: how much the output falls when what is relevant is replaced.

    `innvestigate evaluate model.keras digits.npy -m gradient -m lrp.epsilon -o curves.png`
    """
    with ends_with(WRONG):
        session = _session(model, class_names, preprocessing, scale, offset, resize, batch_size)
        from innvestigate.cli.session import create_metric
        from innvestigate.cli.writing import check_scores, save_scores
        from innvestigate.evaluation import evaluate

        samples = session.read(inputs)
        metrics = [create_metric(text) for text in metric]
        for path in out or []:
            check_scores(path, metric)
        neurons, _ = session.choose(samples, neuron)
        analyzers = session.create(method, reference, fit)
    with ends_with(FAILED):
        found = evaluate(
            session.model,
            analyzers,
            samples.x,
            neurons,
            metrics=metrics,
            batch_size=batch_size,
            seed=seed,
            verbose=sys.stdout.isatty(),
        )
        print_table(list(found.scores.columns), found.scores.to_dict("records"))
        for path in out or []:
            save_scores(found, path)
            typer.echo(f"wrote {path}")


def _session(model, class_names, preprocessing, scale, offset, resize, batch_size) -> Session:
    """The model and how its inputs are read. Keras starts here."""
    with quiet():
        from innvestigate.cli.reading import Reader
        from innvestigate.cli.session import Session
    reader = Reader((), preprocessing, scale, offset, resize)
    return Session(model, class_names, reader, batch_size)
