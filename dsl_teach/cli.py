"""The ``dsl-teach`` command: look at the machine, train a run from its settings, show what came of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from dsl_teach.config import Settings

DONE, FAILED, MISUSED = 0, 1, 2
"""Exit codes; a run stopped by a signal ends with 128 and the signal's number: 130 for Ctrl-C, 143 for SIGTERM."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = make_parser().parse_args(arguments)
    with plain_warnings():
        return options.command(options)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="dsl-teach", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="{doctor,train,show}")

    doctor_ = commands.add_parser("doctor", help="versions, accelerator, memory, disk, data folders, and what to do")
    doctor_.add_argument("--data", type=Path, default=Path("data"), help="folder of the data sets (default: data)")
    doctor_.set_defaults(command=doctor)

    train_ = commands.add_parser("train", help="train a run, or continue one that broke off")
    train_.add_argument("config", type=Path, help="a YAML file of settings; what it does not name keeps its default")
    train_.add_argument("--folder", type=Path, default=Path("runs"), help="where run folders are made (default: runs)")
    train_.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one setting")
    train_.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    train_.add_argument("--minutes", type=float, default=10.0, help="between checkpoints in an epoch (default: 10)")
    train_.add_argument("--workers", type=int, default=0, help="processes that read images from disk (default: 0)")
    train_.set_defaults(command=train)

    show_ = commands.add_parser("show", help="the table of a run, and its curves as a picture")
    show_.add_argument("run", type=Path, help="a run folder")
    show_.set_defaults(command=show)
    return parser


def train(options: argparse.Namespace) -> int:
    """``dsl-teach train``."""
    try:
        settings = change(Settings.from_yaml(options.config), options.set)
    except (OSError, ValueError, TypeError) as error:
        return complain(error, MISUSED)
    from dsl_teach.training.hardware import best_device
    from dsl_teach.training.keeper import Interrupted
    from dsl_teach.training.memory import OutOfMemory
    from dsl_teach.training.runs import run, run_folder

    folder = run_folder(options.folder, settings)
    device = best_device() if options.device == "auto" else options.device
    say(f"Run folder {folder}" + (", continued" if any(folder.glob("checkpoints/*.pt")) else ""))
    try:
        with progress(settings) as (on_epoch, on_step):
            how = {"device": device, "minutes": options.minutes, "workers": options.workers}
            finished = run(settings, folder=folder, on_epoch=on_epoch, on_step=on_step, **how)
    except Interrupted as error:
        return complain(error, 128 + error.number)
    except KeyboardInterrupt as error:
        return complain(error, 130)
    except (OSError, ValueError, FloatingPointError, OutOfMemory) as error:
        return complain(error, FAILED)
    say(f"Finished: {in_one_line(vars(finished.result.history[-1]), settings.epochs)}")
    say(f"Look at it with: dsl-teach show {folder}")
    return DONE


def change(settings: Settings, changes: Sequence[str]) -> Settings:
    """Apply ``name=value`` from the command line.

    Raises:
        ValueError: if one has no equals sign, names no setting, or is out of range.
    """
    kinds = {field.name: type(field.default) for field in fields(Settings)}
    found: dict[str, Any] = {}
    for text in changes:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE, but it got {text!r}.")
        found[name] = value if kinds.get(name) is str else number_or_word(value)
    return settings.replace(**found)


def number_or_word(text: str) -> Any:
    """The value of a setting as YAML reads it; 1e-3 counts as a number too."""
    try:
        return float(text) if "e" in text.lower() else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return yaml.safe_load(text) if text.lower() in ("true", "false") else text


@contextmanager
def progress(settings: Settings) -> Iterator[tuple[Callable[[Any], None], Callable[[float], None] | None]]:
    """One line an epoch, and in a terminal a bar below it.

    Yields:
        What to call with each record, and what to call with the number of epochs trained so far (None: nothing).
    """
    if not sys.stderr.isatty() or not leads():
        yield lambda record: say(in_one_line(vars(record), settings.epochs)), None
        return
    shape = "{percentage:3.0f}%|{bar}| epoch {n:.2f} of {total} [{elapsed}, {remaining} to go]"
    with tqdm(total=settings.epochs, bar_format=shape, file=sys.stderr) as bar:

        def on_step(done: float) -> None:
            bar.update(done - bar.n)

        yield lambda record: bar.write(in_one_line(vars(record), settings.epochs)), on_step


def in_one_line(record: dict[str, Any], epochs: int) -> str:
    """One epoch's figures in one line."""
    parts = [f"epoch {record['epoch'] + 1} of {epochs}", f"loss {record['loss']:.4f}"]
    named = {"test accuracy": "test_accuracy", "labels changed": "changed", "labels right": "label_accuracy"}
    parts += [f"{words} {100 * record[name]:.1f} %" for words, name in named.items() if record.get(name) is not None]
    parts += [f"{record['seconds_training']:.1f} s + {record['seconds_correction']:.1f} s"]
    return ", ".join(parts)


def show(options: argparse.Namespace) -> int:
    """``dsl-teach show``."""
    try:
        settings = Settings.from_yaml(options.run / "settings.yaml")
        history = [json.loads(line) for line in (options.run / "history.jsonl").read_text("utf-8").splitlines()]
    except FileNotFoundError as error:
        where = error.filename or options.run
        return complain(ValueError(f"{options.run} is no run folder, or has no epoch yet: {where} is missing."), FAILED)
    except (OSError, ValueError, TypeError) as error:
        return complain(error, FAILED)
    print(table(history))
    state = "finished" if (options.run / "result.json").exists() else "not finished: train it again to continue"
    print(f"\n{len(history)} of {settings.epochs} epochs, {state}")
    picture = options.run / "curves.png"
    if draw(history, picture):
        print(f"Curves: {picture}")
    else:
        print("For a picture of the curves, install the lab extra: pip install 'dsl-teach[lab]'")
    return DONE


COLUMNS = {
    "epoch": ("epoch", "{:.0f}", 1.0),
    "learning rate": ("learning_rate", "{:.2g}", 1.0),
    "loss": ("loss", "{:.4f}", 1.0),
    "test %": ("test_accuracy", "{:.2f}", 100.0),
    "train %": ("train_accuracy", "{:.2f}", 100.0),
    "memorised %": ("memorised", "{:.2f}", 100.0),
    "changed %": ("changed", "{:.2f}", 100.0),
    "labels right %": ("label_accuracy", "{:.2f}", 100.0),
    "training s": ("seconds_training", "{:.1f}", 1.0),
    "correction s": ("seconds_correction", "{:.1f}", 1.0),
}


def table(history: list[dict[str, Any]]) -> str:
    """A run's history, one line an epoch; a dash where there is nothing to say."""
    rows = [list(COLUMNS)]
    for record in history:
        values = [(record.get(name), shape, factor) for name, shape, factor in COLUMNS.values()]
        rows.append([shape.format(value * factor) if value is not None else "-" for value, shape, factor in values])
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def draw(history: list[dict[str, Any]], path: Path) -> bool:
    """Write the curves as a picture; False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in history]
    left.plot(epochs, [record["loss"] for record in history], label="loss")
    for words, name in (("test accuracy", "test_accuracy"), ("corrected labels right", "label_accuracy")):
        right.plot(epochs, [100 * x if (x := record.get(name)) is not None else float("nan") for record in history],
                   label=words)  # fmt: skip
    left.set(xlabel="epoch", ylabel="training loss")
    right.set(xlabel="epoch", ylabel="%")
    right.legend()
    figure.savefig(path, dpi=120)
    return True


def doctor(options: argparse.Namespace) -> int:
    """``dsl-teach doctor``."""
    from dsl_teach.environment import environment

    facts = environment() | {"allocator": allocator(), "bfloat16": bfloat16()}
    for name, value in facts.items():
        print(f"{name:14} {value}")
    print(f"\nData sets in {options.data}")
    for name, (mark, way) in DATA_SETS.items():
        print(f"{name:14} {'there' if find(options.data, mark) else f'not there; {way}'}")
    print("\nWhat to do")
    for number, sentence in enumerate(advice(facts) or ["Nothing: this machine is ready."], start=1):
        print(f"{number}. {sentence}")
    return DONE if all(facts.get(name) != "missing" for name in ("torch", "torchvision", "numpy")) else FAILED


DATA_SETS = {
    "digits": ("", "they come with scikit-learn"),
    "CIFAR-10": ("cifar-10-batches-py", "python data_scripts/download_cifar.py cifar10"),
    "CIFAR-100": ("cifar-100-python", "python data_scripts/download_cifar.py cifar100"),
    "CIFAR-10N": ("CIFAR-10_human.pt", "python data_scripts/download_cifar_n.py cifar10n"),
    "CIFAR-100N": ("CIFAR-100_human.pt", "python data_scripts/download_cifar_n.py cifar100n"),
    "Clothing1M": ("noisy_train_key_list.txt", "ask its authors; then python data_scripts/verify.py clothing1m FOLDER"),
    "Food-101N": ("meta/imagelist.tsv", "unpack it; then python data_scripts/verify.py food101n FOLDER"),
    "Food-101": ("food-101/meta/test.txt", "unpack it; then python data_scripts/verify.py food101 FOLDER"),
}
"""For each data set a file that tells it, and the way to it."""


def find(folder: Path, mark: str) -> bool:
    """Whether a data set lies in a folder, in one of its folders, or one deeper."""
    return not mark or any(True for depth in ("", "*/", "*/*/") for _ in folder.glob(depth + mark))


def allocator() -> str:
    """The allocator that is preloaded, as far as the environment tells."""
    preloaded = os.environ.get("LD_PRELOAD", "") + os.environ.get("DYLD_INSERT_LIBRARIES", "")
    return next((name for name in ("tcmalloc", "jemalloc", "mimalloc") if name in preloaded), "the system's")


def bfloat16() -> str:
    """Whether the device that training would take multiplies in bfloat16."""
    from dsl_teach.training.hardware import best_device, has_bfloat16

    return "yes" if has_bfloat16(best_device()) else "no: networks compute in float32"


def advice(facts: dict[str, str]) -> list[str]:
    """What would help on this machine, most useful first."""
    said = []
    if "missing" in (facts.get("torch"), facts.get("torchvision")):
        said.append("Install torch and torchvision: make setup.")
    if facts["accelerator"].startswith("none"):
        said.append("Lessons and digits run on this CPU; for full runs of ResNet-50 take a machine with a GPU.")
    if facts["allocator"] == "the system's" and sys.platform == "linux" and facts["accelerator"].startswith("none"):
        said.append(
            "Training on a CPU is often faster with tcmalloc: install it (Debian: libtcmalloc-minimal4) and put "
            "LD_PRELOAD=libtcmalloc_minimal.so.4 before the command."
        )
    threads = int(facts["threads"].split()[0])
    if threads > 1 and hasattr(os, "getloadavg") and os.getloadavg()[0] > threads / 2:
        said.append("Other programs use this CPU: OMP_NUM_THREADS=1 before the command keeps threads out of their way.")
    if float(facts["free disk"].split()[0]) < 10:
        said.append("Less than 10 GiB of disk are free: make room before a full run, or name a folder elsewhere.")
    return said


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings as sentences, without the line of code that gave them."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"Note: {message}", file=sys.stderr)
        yield


def leads() -> bool:
    """Whether this process speaks for all: under torchrun the first one does."""
    return os.environ.get("RANK", "0") == "0"


def say(sentence: str) -> None:
    """Print at once, in the first process only."""
    if leads():
        print(sentence, flush=True)


def complain(error: BaseException, code: int) -> int:
    """Say on stderr what went wrong; returns the exit code."""
    who = "" if leads() else f" (process {os.environ['RANK']})"
    print(f"dsl-teach{who}: {str(error) or type(error).__name__}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
