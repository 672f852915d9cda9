"""`factory doctor`: this machine, its libraries, what is missing for what, and whether training is correct here."""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import __version__

if TYPE_CHECKING:
    from ..train.selftest import Check

OWN = "dataset-factory"
SHOWN = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "datasets", "numpy", "pyarrow")
# What goes without a library; of the others all that the factory does needs them.
NEEDED_FOR = {
    "accelerate": "training",
    "bitsandbytes": "method: qlora, quantized bases, optimizers in 8 bits",
    "datasets": "sources of the form hf:OWNER/NAME",
    "gguf": "bundled:smollm2, and exports that end in .gguf",
    "openai": "models of the form openai:NAME",
    "peft": "every method but full and freeze",
    "presidio-analyzer": "mask_names",
    "ray": "--executor ray:ADDRESS",
    "sentencepiece": "tokenizers that come as SentencePiece models",
    "torch": "training, and models in this process",
    "transformers": "training, and models in this process",
}
LEFT_OUT = ("dev",)  # extras that only work on the factory itself asks for
REQUIREMENT = re.compile(
    r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:>=\s*([\d.]+))?[^;]*(?:;.*extra\s*==\s*['\"]([\w-]+)['\"])?"
)


@click.command()
@click.option("--quick", is_flag=True, help="Leave out the self-test, which takes up to a minute.")
def doctor(quick: bool) -> int:
    """Tell what this machine has, what is missing for what, and whether training is correct here.

    The self-test trains a tiny random model on the CPU, where results are exact: that packed examples do not see each
    other, accumulated gradients are those of one batch, losses are on completions alone, the end of a turn is learned
    where it is also the padding, adapters are float32, a killed run goes on to the bit, and PPO starts at ratio 1 and
    KL 0. The exit code is 1 when one of these fails.
    """
    _print_table(machine())
    click.echo()
    _print_table((name, found or "missing") for name, found in libraries(SHOWN))
    lacking = missing()
    if lacking:
        click.echo()
        _print_table(lacking)
    if quick:
        return 0
    click.echo()
    failed = 0
    for check in tested():
        failed += check.passed is False
        told = {True: "pass", False: "FAIL", None: "skip"}[check.passed]
        click.echo(f"{told}  {check.name:14}  {check.measured}")
    return 1 if failed else 0


def machine() -> Iterator[tuple[str, str]]:
    """What is here: (name, value)."""
    yield "factory", f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cores", f"{cores} of {os.cpu_count()}"
    page, total = os.sysconf("SC_PAGE_SIZE") / 2**30, os.sysconf("SC_PHYS_PAGES")
    there = os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else 0  # macOS does not say
    yield "memory", f"{page * total:.1f} GiB" + (f", {page * there:.1f} free" if there else "")
    try:
        import torch
    except ImportError:
        yield "GPU", "not known without torch"
        return
    if not torch.cuda.is_available():
        yield "GPU", f"none that torch {torch.__version__} can use"
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        capability = f"compute capability {found.major}.{found.minor}"
        yield (
            f"GPU {number}",
            f"{found.name}, {found.total_memory / 2**30:.1f} GiB, {capability}, CUDA {torch.version.cuda}",
        )


def libraries(names: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    """(name, version) of each; None where it is not installed."""
    for name in names:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, None


def missing() -> list[tuple[str, str]]:
    """(what is wrong, what it is needed for) of the libraries that are not there or too old."""
    found = []
    try:
        wanted = requires(OWN) or []
    except PackageNotFoundError:
        return [(f"{OWN} is not installed", "its libraries are not known; pip install -e '.[train]'")]
    for text in wanted:
        name, least, extra = REQUIREMENT.match(text).groups()  # type: ignore[union-attr]
        if extra in LEFT_OUT:
            continue
        ((_, installed),) = libraries((name,))
        how = f"pip install '{OWN}[{extra}]'" if extra else f"pip install '{name}>={least}'"
        purpose = f"for {NEEDED_FOR.get(name, 'most of what the factory does')}: {how}"
        if installed is None:
            found.append((f"{name} is missing", purpose))
        elif least and _numbers(installed) < _numbers(least):
            found.append((f"{name} {installed} is older than {least}", purpose))
    return found


def _numbers(told: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", told.partition("+")[0])[:3])


def tested() -> Iterator[Check]:
    """The checks of the self-test, as they come from a process of its own that sees no GPU."""
    here, there = multiprocessing.Pipe(duplex=False)
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    process = multiprocessing.get_context("spawn").Process(target=_test, args=(there,), daemon=True)
    process.start()
    os.environ.pop("CUDA_VISIBLE_DEVICES")
    if before is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = before
    there.close()
    try:
        while True:
            yield here.recv()
    except EOFError:
        process.join()
    if process.exitcode:
        from ..train.selftest import Check

        yield Check("self-test", False, f"its process ended with exit code {process.exitcode}")


def _test(there: Connection) -> None:
    """What libraries say on the way is left out: the checks tell what went wrong."""
    import logging
    import warnings

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (until this process ends)
    from ..train.selftest import Check, self_test

    with tempfile.TemporaryDirectory() as folder:
        try:
            for check in self_test(Path(folder)):
                there.send(check)
        except ImportError as error:
            there.send(Check("self-test", None, f"not without {error.name}: pip install '{OWN}[train]'"))


def _print_table(rows: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> None:
    told = list(rows)
    width = max(len(name) for name, _ in told)
    for name, value in told:
        click.echo(f"{name:{width}}  {value}")
