"""The commands under one name."""

from typing import Annotated

import typer

from gpubp import __version__
from gpubp.cli.doctor import doctor
from gpubp.cli.explain import explain
from gpubp.cli.predict import predict
from gpubp.cli.show import show
from gpubp.cli.train import train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, predict, show, doctor, explain):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gpubp {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train multilayer perceptrons by back-propagation, on NVIDIA GPUs and on CPUs.

    Try it: gpubp train digits
    """
