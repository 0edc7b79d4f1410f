"""The ``dsl-teach`` command: train a run or a sweep of runs, show what came of it, look at the machine."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsl_teach.errors import FAILED, MISUSED, boundary, complain, listening

if TYPE_CHECKING:
    from dsl_teach.training.records import Callback

WHO, DONE = "dsl-teach", 0


class Commands(typer.core.TyperGroup):
    """All commands: what one returns, None is DONE, or raises becomes an exit code and a sentence."""

    def invoke(self, ctx: Any) -> None:
        """Run the one that was named."""
        with boundary(WHO):
            code = super().invoke(ctx)
        raise typer.Exit(code or DONE)


app = typer.Typer(
    cls=Commands, help=__doc__, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)

Set = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change one setting.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
LoaderWorkers = Annotated[int, typer.Option(min=0, help="Processes that read images from disk, for each that trains.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with what stands after ``dsl-teach``, None: of this process; returns its exit code."""
    ends = arguments is None  # the process, with the command: then signals change nothing once all is done
    with listening(_end, ignored_afterwards=ends), warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"Note: {message}", file=sys.stderr)
        try:
            app(arguments, prog_name=WHO)
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else FAILED
    return DONE


class WithSettings(typer.core.TyperCommand):
    """A command whose help ends with the settings, by group."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the settings."""
        from dsl_teach.config import help_text

        for title, group in help_text().items():
            with formatter.section(title):
                formatter.write_dl(list(group.items()))


@app.command(cls=WithSettings)
def train(
    config: Annotated[Path, typer.Argument(help="A YAML file of settings; what it does not name keeps its default.")],
    output: Annotated[Path, typer.Option(help="Where the run folder is made.")] = Path("runs"),
    set: Set = None,
    device: Device = "auto",
    minutes: Annotated[float, typer.Option(help="Between two checkpoints within an epoch.")] = 10.0,
    loader_workers: LoaderWorkers = 0,
) -> None:
    """Train a run, or continue one that broke off."""
    with boundary(WHO, MISUSED):
        from dsl_teach.config import Settings, require_kind, require_use
        from dsl_teach.files import read_yaml
        from dsl_teach.training.distributed import find_device

        require_kind(config, said := read_yaml(config), Settings.model_fields)
        settings = Settings(**(said | changes(set or ())))
        require_use(settings)
        device = find_device(device)
    from dsl_teach.training.checkpoint import run_folder
    from dsl_teach.training.runs import run

    folder = run_folder(output, settings)
    say(f"Run folder {folder}" + (", continued" if any(folder.glob("checkpoints/*.pt")) else ""))
    shown = [progress(settings.epochs)]
    finished = run(
        settings, folder=folder, callbacks=shown, device=device, minutes=minutes, loader_workers=loader_workers
    )
    say(f"Finished: {in_one_line(vars(finished.result.history[-1]), settings.epochs)}")
    say(f"Look at it with: dsl-teach show {folder}")


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="A YAML file: base_from, base, cases, methods, grid, seeds, rows.")],
    output: Annotated[Path | None, typer.Option(help="Folder of the trials; by default runs/FILE's name.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials at a time.")] = 1,
    set: Set = None,
    device: Device = "auto",
    processes: Annotated[int, typer.Option(min=1, help="That train one trial together.")] = 1,
    loader_workers: LoaderWorkers = 0,
    rows: Annotated[Path | None, typer.Option(help="Where the rows go; by default where the file says.")] = None,
    part: Annotated[str, typer.Option(metavar="I/N", help="Do only the I-th of N parts, and write no rows.")] = "1/1",
    trial_minutes: Annotated[
        float, typer.Option(min=0, help="End a trial that wrote nothing for so long; runs save every 10. 0: never.")
    ] = 0.0,
    executor: Annotated[str | None, typer.Option(help="Make each trial a job: slurm, local or debug.")] = None,
    ask: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of it; timeout_min=60 say.")] = None,
) -> int:
    """Train every trial of a sweep; done again, what is left of it."""
    with boundary(WHO, MISUSED):
        from dsl_teach.storage import open_folder
        from dsl_teach.sweep import WHOLE, SweepError, finished_row, read_sweep, run_sweep, sweep_table
        from dsl_teach.training.distributed import find_device

        plan = read_sweep(file).changed(changes(set or ()))
        plan = plan.model_copy(update={"part": part, "rows": rows or plan.rows})
        trials, asked = plan.trials(), changes(ask or (), "--ask")
        device = device if executor == "slurm" else find_device(device)
        output = open_folder(output or Path("runs") / file.stem)
    left = sum(finished_row(output / trial.name) is None for trial in trials)
    say(f"{len(trials)} trials, {len(trials) - left} of them finished before; {workers} at a time")
    ended = iter(range(1, left + 1))

    def tell(trial: Any, row: dict[str, Any] | None, problem: str) -> None:
        figures = f"test accuracy {100 * row['test_accuracy']:.1f} %, {row['seconds']:.0f} s" if row else ""
        say(f"{next(ended)} of {left}: {trial}: {figures or 'FAILED, ' + problem}")

    how: dict[str, Any] = {"workers": workers, "processes": processes, "loader_workers": loader_workers}
    how |= {"device": device, "trial_minutes": trial_minutes, "executor": executor, "asked": asked}
    try:
        made, code = run_sweep(plan, output, on_trial=tell, **how), DONE
    except SweepError as error:
        made, code = error.rows, FAILED
        complain(WHO, str(error))
    if made:
        say(f"\n{sweep_table(made, list(plan.grid)).to_string()}")
    if part == WHOLE:
        say(f"\n{len(made)} rows in {plan.rows or output / 'rows.json'}")
    return code


@app.command()
def correct(
    folder: Annotated[Path, typer.Argument(help="One folder a class, with or without splits above; or see --labels.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where labels.csv, report.html and the rest go.")],
    labels: Annotated[Path | None, typer.Option(help="A CSV file with the columns file_name and label.")] = None,
    network: Annotated[str, typer.Option(help="Whose features count.")] = "timm:tf_efficientnet_lite0",
    embeddings: Annotated[Path | None, typer.Option(help="Features of your own: .npy, by sorted path.")] = None,
    fine_tune: Annotated[bool, typer.Option(help="Then train a network on corrected_label, in DIR/network.")] = False,
) -> None:
    """Find doubtful labels in a folder of images, correct those that are surely wrong, and write a report."""
    from dsl_teach.own_data.correct import correct_folder

    say(correct_folder(folder, output, labels=labels, network=network, embeddings=embeddings))
    if fine_tune:
        from dsl_teach.own_data import network as tuning
        from dsl_teach.training.distributed import find_device

        settings = tuning.settings_for(output)
        say(tuning.fine_tune(output, settings, device=find_device(), callbacks=[progress(settings.epochs)]))


@app.command()
def apply(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output of dsl-teach correct.")],
    decisions: Annotated[Path | None, typer.Option(help="What the report saved; by default DIR/decisions.csv.")] = None,
    all_proposed: Annotated[bool, typer.Option(help="Where nobody decided, take corrected_label.")] = False,
    to: Annotated[Path | None, typer.Option(help="A new folder: make a tree of label/old path in it.")] = None,
    made_of: Annotated[str, typer.Option("--as", help="copies, or links: those train and correct refuse.")] = "copies",
) -> None:
    """Make of what you decided on the report a file of labels, DIR/reviewed.csv, and a tree of folders if you like."""
    from dsl_teach.own_data.apply import apply_decisions

    say(apply_decisions(folder, decisions, all_proposed=all_proposed, to=to, made_of=made_of))


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    folder: Annotated[Path, typer.Argument(help="A folder of images; those in its folders count too.")],
    output: Annotated[Path, typer.Option(help="A CSV file: file_name, predicted_label, probability.")],
    device: Device = "auto",
    loader_workers: LoaderWorkers = 0,
) -> None:
    """Say what the network of a run takes images for."""
    from dsl_teach.own_data.network import predict_folder
    from dsl_teach.training.distributed import find_device

    say(predict_folder(run, folder, output, device=find_device(device), loader_workers=loader_workers))


@app.command()
def show(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Show the table of a run, and its curves as a picture."""
    from dsl_teach.config import Settings
    from dsl_teach.files import read_json

    try:
        settings, history = Settings.from_yaml(run / "settings.yaml"), read_json(run / "history.jsonl", lines=True)
    except FileNotFoundError as error:
        raise ValueError(f"{run} is no run folder, or has no epoch yet: {error.filename} is missing.") from error
    try:
        shown, drawn = table(history), draw(history, run / "curves.png")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{run / 'history.jsonl'} is not the history of a run: {error}.") from error
    say(shown)
    state = "finished" if (run / "result.json").exists() else "not finished: train it again to continue"
    say(f"\n{len(history)} of {settings.epochs} epochs, {state}")
    install = "For a picture of the curves, install the lab extra: pip install 'dsl-teach[lab]'"
    say(f"Curves: {run / 'curves.png'}" if drawn else install)


@app.command()
def check(
    run: Annotated[Path, typer.Argument(help="A run folder, or one that holds some: a trial's, a sweep's.")],
) -> int:
    """Compare every file of a run with its checksum; the exit code is 1 if one is damaged or missing."""
    from dsl_teach.storage import SUMS, checksums
    from dsl_teach.training.checkpoint import check as damages_of

    found = damages_of(run)
    files = sum(len(checksums(path.parent)) for path in run.rglob(SUMS))
    say("\n".join(found) if found else f"Nothing is damaged: {files} files.")
    return FAILED if found else DONE


@app.command()
def doctor(data: Annotated[Path, typer.Option(help="Folder of the data sets.")] = Path("data")) -> int:
    """Say which versions, accelerator, memory, disk and data sets are there, and what to do."""
    from dsl_teach.training.distributed import find_device
    from dsl_teach.training.networks import has_bfloat16
    from dsl_teach.training.runs import environment

    preloaded = os.environ.get("LD_PRELOAD", "") + os.environ.get("DYLD_INSERT_LIBRARIES", "")
    allocator = next((name for name in ("tcmalloc", "jemalloc", "mimalloc") if name in preloaded), "the system's")
    bfloat16 = "yes" if has_bfloat16(find_device()) else "no: networks compute in float32"
    facts = environment() | {"allocator": allocator, "bfloat16": bfloat16}
    for name, (mark, way) in DATA_SETS.items():
        there = any(next(data.glob(depth + mark), None) for depth in ("", "*/", "*/*/"))
        facts[name] = "there" if there else f"not in {data}; {way}"
    say("\n".join(f"{name:14} {value}" for name, value in facts.items()))
    hints = {
        "Install torchvision: make setup.": facts["torchvision"] == "missing",
        "For full runs of ResNet-50 take a machine with a GPU.": facts["accelerator"].startswith("none"),
        "Try LD_PRELOAD=libtcmalloc_minimal.so.4 before the command.": allocator == "the system's",
        "Make room before a full run: less than 10 GiB of disk are free.": float(facts["free disk"].split()[0]) < 10,
    }
    say("\n".join(["\nWhat to do", *(f"- {hint}" for hint, helps in hints.items() if helps)]))
    return FAILED if facts["torchvision"] == "missing" else DONE


FETCH, ASK = "python data_scripts/download.py", "get it from its authors, then python data_scripts/verify.py"
DATA_SETS = {
    "CIFAR-10": ("cifar-10-batches-py", f"{FETCH} cifar10"),
    "CIFAR-100": ("cifar-100-python", f"{FETCH} cifar100"),
    "CIFAR-10N": ("CIFAR-10_human.pt", f"{FETCH} cifar10n"),
    "CIFAR-100N": ("CIFAR-100_human.pt", f"{FETCH} cifar100n"),
    "clothes": ("clothing-dataset-small/images.csv", f"{FETCH} clothes"),
    "Clothing1M": ("noisy_train_key_list.txt", f"{ASK} clothing1m FOLDER"),
    "Food-101N": ("meta/imagelist.tsv", f"{ASK} food101n FOLDER"),
    "Food-101": ("food-101/meta/test.txt", f"{ASK} food101n FOLDER --test-root FOLDER"),
}
"""A file that tells each data set, and the way to it."""


def changes(said: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """``NAME=VALUE`` from the command line: as a YAML file would hold it."""
    from dsl_teach.files import read_value

    found: dict[str, Any] = {}
    for text in said:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{option} takes NAME=VALUE, but it got {text!r}.")
        found[name] = read_value(value)
    return found


def progress(epochs: int) -> Callback:
    """One line an epoch, and in a terminal a bar below it."""
    from tqdm import tqdm

    from dsl_teach.training.records import Callback, State

    shape = "{percentage:3.0f}%|{bar}| epoch {n:.2f} of {total} [{elapsed}, {remaining} to go]"

    class Progress(Callback):
        def on_train_begin(self, state: State) -> None:
            hidden = not sys.stderr.isatty()
            self.bar = tqdm(total=epochs, initial=state.progress, bar_format=shape, file=sys.stderr, disable=hidden)

        def on_batch_end(self, state: State, *_: Any) -> None:
            self.bar.update(state.progress - self.bar.n)

        def on_epoch_end(self, state: State) -> None:
            with self.bar.external_write_mode():
                say(in_one_line(vars(state.history[-1]), epochs))

        def on_train_end(self, state: State) -> None:
            self.bar.close()

    return Progress()


def in_one_line(record: dict[str, Any], epochs: int) -> str:
    """One epoch's figures in one line."""
    named = {"test accuracy": "test_accuracy", "labels changed": "changed", "labels right": "label_accuracy"}
    shares = [f"{words} {100 * record[name]:.1f} %" for words, name in named.items() if record.get(name) is not None]
    seconds = f"{record['seconds_training']:.1f} s + {record['seconds_correction']:.1f} s"
    return ", ".join([f"epoch {record['epoch'] + 1} of {epochs}", f"loss {record['loss']:.4f}", *shares, seconds])


def table(history: list[dict[str, Any]]) -> str:
    """A run's history, one line an epoch; a dash where there is nothing to say."""
    import pandas as pd

    titles = {"test_accuracy": "test %", "train_accuracy": "train %", "memorised": "memorised %"}
    titles |= {"changed": "changed %", "label_accuracy": "labels right %"}
    columns = ["epoch", "learning_rate", "loss", *titles, "seconds_training", "seconds_correction"]
    shown = pd.DataFrame(history, columns=columns)
    shown[list(titles)] = 100 * shown[list(titles)].astype(float)
    shown = shown.rename(columns=titles).rename(columns=lambda name: name.replace("_", " "))
    return shown.to_string(index=False, na_rep="-", float_format="{:.4g}".format)


def draw(history: list[dict[str, Any]], path: Path) -> bool:
    """Write the curves as a picture; False where matplotlib is not installed."""
    import pandas as pd

    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    curves = pd.DataFrame(history).astype(float).set_index("epoch")
    for axes, names in zip(figure.subplots(1, 2), (["loss"], ["test_accuracy", "label_accuracy"]), strict=True):
        axes.plot(curves[names], label=[name.replace("_", " ") for name in names])
        axes.set_xlabel("epoch")
        axes.legend()
    figure.savefig(path, dpi=120)
    return True


def _end(number: int, _: object) -> None:
    """Until a run listens by itself, a signal that asks to stop ends the command without a traceback."""
    os.write(2, f"dsl-teach: Stopped by {signal.Signals(number).name}.\n".encode())
    os._exit(128 + number)


def say(sentence: str) -> None:
    """Print at once, in the first process only."""
    if os.environ.get("RANK", "0") == "0":
        print(sentence, flush=True)


if __name__ == "__main__":
    sys.exit(main())
