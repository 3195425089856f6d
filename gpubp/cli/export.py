"""``gpubp export``: write a model file as ONNX."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gpubp.cli import options
from gpubp.cli.output import console, notes, print_facts, print_json, print_table
from gpubp.cli.paths import check_output
from gpubp.errors import DataError
from gpubp.io.model_file import load_model
from gpubp.io.onnx import PRODUCER, describe_values, producer_of, to_onnx

SUFFIX = ".onnx"


def export(
    model: options.Model,
    output: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT.onnx", help="The ONNX file. The default is the name of MODEL with .onnx.", show_default=False
        ),
    ] = None,
    named_output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The ONNX file, as OUT.onnx.", show_default=False),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a model file as ONNX, for onnxruntime and other programs without gpubp.

    If the model was trained on a table, the ONNX file takes the raw columns: it includes the encoding of numbers,
    categories, dates, words and missing values.
    """
    if output is not None and named_output is not None:
        raise DataError(f"the ONNX file is given twice, as {output} and as --output {named_output}; omit one")
    output = output or named_output or model.with_suffix(SUFFIX)
    check_output(output, (SUFFIX,), inputs=[model])
    replaces = output.exists()
    if replaces and producer_of(output) != PRODUCER:
        raise DataError(f"{output} exists and was not written by gpubp; delete it, or choose another path")
    exported = to_onnx(load_model(model), path=output)
    opset, ir = exported.opset_import[0].version, exported.ir_version
    values = {"inputs": describe_values(exported.graph.input), "outputs": describe_values(exported.graph.output)}
    if as_json:
        print_json({"output": str(output), "opset": opset, "ir_version": ir, **values})
        return
    if replaces:
        print_facts([("replaces", f"{output}, from an earlier export")], notes)
    print_facts([("written", f"{output} (opset {opset}, IR version {ir}, {output.stat().st_size:,} bytes)")], console)
    console.print()
    rows = [_row(kind.removesuffix("s"), value) for kind, listed in values.items() for value in listed]
    print_table(["", "name", "type", "shape"], rows, left=4)


def _row(kind: str, value: dict[str, Any]) -> list[str]:
    return [kind, value["name"], value["type"], " x ".join(map(str, value["shape"]))]
