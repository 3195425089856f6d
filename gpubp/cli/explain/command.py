"""``gpubp explain``: the equations with the numbers of one small network, on the screen or as a page.

Its texts say "cases" for samples, as the paper does.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from gpubp._core.text import excerpt, shortened
from gpubp.cli.explain.example import example_from_file, rain_example, select_sample
from gpubp.cli.explain.screen import framed
from gpubp.cli.output import console, print_facts, print_json
from gpubp.cli.paths import check_output
from gpubp.errors import DataError
from gpubp.explain import Passage, Term, html_page
from gpubp.explain import explain as walk
from gpubp.io.atomic_files import write_atomically


def explain(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL",
            help="A model file. The default is a small network that learns the chance of rain on three days.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A file or built-in data set with cases for MODEL and their targets. The default is the built-in data "
            "set that it was trained on.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="The same as DATA after MODEL.", show_default=False)
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Which case, counted from 1. The default is the first three.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a page for the browser instead, one step at a time.", show_default=False
        ),
    ] = None,
    learning_rate: Annotated[float, typer.Option(metavar="NUMBER", help="Learning rate: ε in the paper.")] = 0.5,
    precision: Annotated[int, typer.Option(min=1, max=12, metavar="N", help="Digits after the decimal point.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers in full precision as JSON.")] = False,
) -> None:
    """Walk through one forward and one backward pass, equation by equation, with the numbers in each matrix.

    The default network is small enough to follow by hand: 2-3-1 units that learn the chance of rain on three days. With
    --html the walk is one page that needs no internet connection, with a drawing next to each step.
    """
    if table is not None and data is not None:
        raise DataError(f"the cases are given twice, as {table} and as --data {data}; omit one")
    data = table if data is None else data
    if html is not None:
        check_output(html, (".html", ".htm"), inputs=[source for source in (model, data) if source is not None])
    named_example = rain_example() if model is None and data is None else example_from_file(model, data, sample)
    if sample is not None:
        named_example = select_sample(named_example, sample)
    example = named_example.example
    if html is not None:
        text = html_page(
            example,
            learning_rate=learning_rate,
            precision=precision,
            note=named_example.note,
            input_names=named_example.input_names,
            output_names=named_example.output_names,
            case_names=named_example.sample_names,
        )
        write_atomically(html, text.encode())
    passages = walk(*example, learning_rate=learning_rate)
    if as_json:
        network = {
            "sizes": example.network.sizes,
            "activations": example.network.activations,
            "loss": example.network.loss,
        }
        steps = [_as_json(passage) for passage in passages]
        print_json({"network": network, "learning_rate": learning_rate, "passages": steps})
    elif html is not None:
        print_facts([("written", f"{html} ({len(passages)} steps; open it in a browser)")], console)
    else:
        names = {"inputs": named_example.input_names, "outputs": named_example.output_names}
        print_facts(
            [(label, shortened([excerpt(name, 60) for name in each])) for label, each in names.items()], console
        )
        console.print()
        for passage in passages:
            console.print(framed(passage, precision))
        rounded = f"Numbers are rounded to {precision} digits after the point; --precision prints more."
        console.print(Text(rounded, "dim"))


def _as_json(passage: Passage) -> dict[str, Any]:
    def term_as_json(term: Term) -> dict[str, Any]:
        return {
            "sign": term.sign,
            "name": term.name,
            "shape": list(term.values.shape),
            "values": term.values.tolist(),
        }

    return passage._asdict() | {
        "terms": [term_as_json(term) for term in passage.terms],
        "result": term_as_json(passage.result),
    }
