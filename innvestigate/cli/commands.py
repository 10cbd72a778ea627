"""The commands: methods, plan, explain, evaluate. They start without Keras."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innvestigate import __version__
from innvestigate.cli.calls import as_number, check_methods, parse_call, shortened
from innvestigate.cli.catalogue import catalogue
from innvestigate.cli.console import (
    FAILED,
    WRONG,
    Commands,
    Stopped,
    ends_with,
    print_table,
    progress,
    say,
    starting,
    watched,
)
from innvestigate.cli.listing import Files, Found, printable
from innvestigate.cli.options import (
    BatchSize,
    ClassNames,
    Cluster,
    Explained,
    Fit,
    Force,
    Inputs,
    Limit,
    Methods,
    ModelFile,
    Neuron,
    Offset,
    Pixels,
    Recursive,
    Reference,
    Resize,
    Resizing,
    Resume,
    Scale,
    Skip,
)
from innvestigate.cli.places import (
    NUMBERS,
    PAGES,
    PICTURES,
    STORES,
    Read,
    check_batchwise,
    check_clustered,
    check_methods_fit,
    check_model,
    check_outputs,
    existing,
    find_samples,
    goes_batchwise,
    refuse_inputs,
)

if TYPE_CHECKING:
    from innvestigate.cli.session import Session
    from innvestigate.visualization.samples import Samples

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
        say(f"innvestigate {__version__}")
    elif context.invoked_subcommand is None:
        say(context.get_help())


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
    entries = catalogue(text)
    if not entries:
        raise Stopped(
            f"No method's name contains {shortened(text)}. `innvestigate methods` lists all.", WRONG
        )
    if details:
        say("\n\n".join(f"{e.name}\n{'-' * len(e.name)}\n{e.documentation}" for e in entries))
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
    with ends_with(WRONG):
        check_methods([method])
        check_model(model)
    with starting():
        from innvestigate.cli.session import check_arguments, create, load_model
        from innvestigate.visualization.asking import plan_of
    with ends_with(WRONG):
        check_arguments([method])
        planned = plan_of(create(method, load_model(model)))
    if planned is None:
        raise Stopped(f"{method} has no plan: it only runs the model forward.", WRONG)
    say(str(planned))


@app.command()
def explain(
    model: ModelFile,
    inputs: Inputs,
    method: Methods,
    out: Explained,
    neuron: Neuron = None,
    class_names: ClassNames = None,
    preprocessing: Pixels = None,
    scale: Scale = 1.0,
    offset: Offset = 0.0,
    resize: Resizing = Resize.crop,
    reference: Reference = None,
    fit: Fit = None,
    batch_size: BatchSize = 32,
    recursive: Recursive = False,
    limit: Limit = None,
    force: Force = False,
    resume: Resume = False,
    skip_unreadable: Skip = False,
    ray: Cluster = None,
) -> None:
    """Explain predictions: heatmaps of images, bars of features, or their numbers.

    One image and one method give a heatmap over the image, several a grid. A final softmax
    or sigmoid is taken off: the logit is explained.

    `innvestigate explain model.keras cat.png -m lrp.epsilon -o why.png --preprocessing tf`

    `innvestigate explain model.keras *.jpg -m gradient -m deeplift -o grid.png --class-names c.txt`

    `innvestigate explain model.keras patients.csv -m deeplift --reference mean.npy -o why.csv`

    `innvestigate explain model.keras photos --recursive -m deeplift -o report.html`

    `innvestigate explain model.keras million_photos -m lrp.epsilon -o all.zarr --resume`
    """
    kinds = ("", *PICTURES, *NUMBERS, *STORES, *PAGES)
    with ends_with(WRONG):
        check_methods(method)
        files, read = _find(model, inputs, class_names, reference, fit, recursive)
        check_outputs(out, kinds, read, recursive, force or resume)
        check_methods_fit(out, method)
        count = min(len(files), limit or len(files))
        batchwise = goes_batchwise(out, count, resume or skip_unreadable or ray is not None)
        if batchwise:
            check_batchwise(out[0], read, force, resume)
        if ray is not None:
            check_clustered(method)
    session = _session(model, method, class_names, preprocessing, scale, offset, resize, batch_size)
    create = partial(session.create, method, reference, fit)
    if batchwise:
        queue = partial(session.queue, files, limit, skip_unreadable)
        _explain_batchwise(session, create, queue, neuron, out[0], force, resume, ray)
    else:
        _explain_at_once(session, create, files[:limit], limit, neuron, out, read)


@app.command()
def evaluate(
    model: ModelFile,
    inputs: Inputs,
    method: Methods,
    metric: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="region_perturbation, deletion, insertion, road, randomization, sensitivity_n, "
            "infidelity, max_sensitivity, sparseness or complexity; several can be given, with "
            "arguments as in Python: "
            "`'region_perturbation(region_shape=8, steps=20)'`.",
        ),
    ] = ["region_perturbation"],  # noqa: B006
    out: Annotated[
        list[Path] | None,
        typer.Option(
            *("--out", "-o"),
            metavar="FILE",
            help="The scores as .csv, or the curves of region_perturbation, deletion, insertion or "
            "road as a picture. Can be given several times.",
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
    recursive: Recursive = False,
    force: Force = False,
) -> None:
    """Compare methods on data: how much the output falls when what is relevant is replaced.

    `innvestigate evaluate model.keras digits.npy -m gradient -m lrp.epsilon -o curves.png`
    """
    out = out or []
    with ends_with(WRONG):
        check_methods(method)
        asked = [parse_call(text)[0] for text in metric]
        files, read = _find(model, inputs, class_names, reference, fit, recursive)
        check_outputs(out, (*PICTURES, ".csv"), read, recursive, force)
    session = _session(model, method, class_names, preprocessing, scale, offset, resize, batch_size)
    from innvestigate.cli.session import create_metric
    from innvestigate.cli.writing import check_scores, save_scores
    from innvestigate.evaluation import evaluate

    with ends_with(WRONG):
        metrics = [create_metric(text) for text in metric]
        for path in out:
            check_scores(path, asked)
        samples = session.read(files)
        neurons = session.choose(samples, neuron).indices
        analyzers = session.create(method, reference, fit)
    with ends_with(FAILED), progress(len(samples.x)) as done:
        x = watched(samples.x, batch_size, partial(done, "evaluating"))
        options: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "verbose": 0}
        found = evaluate(session.model, analyzers, x, neurons, metrics=metrics, **options)
    with ends_with(FAILED):
        print_table(list(found.scores.columns), found.scores.to_dict("records"))
        for path in out:
            save_scores(found, path)
            say(f"wrote {printable(path)}")


def _explain_batchwise(
    session, create, queue, neuron, path: Path, force: bool, resume: bool, cluster: str | None
) -> None:
    """Write explanations while samples are read, with the memory of one batch."""
    from innvestigate.cli.jobs import Job
    from innvestigate.distributed.workers import join

    with ends_with(WRONG):
        if cluster is not None:
            join(cluster)
        job = Job(session, create(), queue(), neuron, path, shared=cluster is not None)
        store = job.open(force, resume)
    job.run(store)
    say(f"wrote {printable(path)}: {store.written:,} samples")


def _explain_at_once(
    session, create, files: list[Found], limit, neuron, out: list[Path], read: Read
) -> None:
    """Write explanations of samples that are held in memory, and say what was explained."""
    from innvestigate.cli.writing import Explanations, check_destination, files_in
    from innvestigate.visualization.asking import facts, rows_of_plan

    with ends_with(WRONG):
        samples = session.read(files).part(slice(limit))
        for path in out:
            check_destination(path, samples)
            written = [] if path.suffix else files_in(path, samples.names)
            refuse_inputs(written, read)
        chosen = session.choose(samples, neuron)
        analyzers = create()
    say("\n".join(chosen.captions))
    with ends_with(FAILED):
        relevances, sums = _analysed(analyzers, samples, chosen.indices, session.batch_size)
        explained = Explanations(
            samples,
            chosen.predictions,
            relevances,
            sums,
            plans={name: rows_of_plan(analyzer) for name, analyzer in analyzers.items()},
            facts=facts(session.model),
        )
        for path in out:
            for file in explained.save(path):
                say(f"wrote {printable(file)}")


def _find(
    model: Path, inputs: Sequence[Path], class_names: Path | None, reference, fit, recursive: bool
) -> tuple[Files, Read]:
    """The files of samples, and all files and folders that are read; each of them is there."""
    check_model(model)
    files = find_samples(inputs, recursive)
    further = [] if fit is None else [fit]
    if reference is not None and as_number(reference) is None:
        further.append(Path(reference))
    more = find_samples(further)
    names = [] if class_names is None else [existing(class_names)]
    return files, Read([model, *inputs, *further, *names], [files, more])


def _analysed(analyzers: dict[str, Any], samples: Samples, indices: Any, batch_size: int) -> tuple:
    """By method the results, and what they add up to."""
    from innvestigate.visualization.asking import ask

    relevances, sums = {}, {}
    with progress(len(analyzers) * len(samples.x)) as done:
        for name, analyzer in analyzers.items():
            done(name, 0)
            x = watched(samples.x, batch_size, partial(done, name))
            relevances[name], found = ask(analyzer, x, indices, batch_size)
            if found is not None:
                sums[name] = found
    for name, found in sums.items():
        say(f"{name}: {found}")
    return relevances, sums


def _session(
    model, methods, class_names, preprocessing, scale, offset, resize, batch_size
) -> Session:
    """The model and how its inputs are read. Keras starts here."""
    with starting():
        from innvestigate.cli.reading import Reader
        from innvestigate.cli.session import Session, check_arguments
    with ends_with(WRONG):
        check_arguments(methods)
        reader = Reader((), preprocessing, scale, offset, resize)
        return Session(model, class_names, reader, batch_size)
