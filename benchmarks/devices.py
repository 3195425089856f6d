"""``python -m benchmarks.devices cpu torch``: compare devices with NumPy, and write the deviations to a result file.

``--add FILE`` adds devices to a file, such as those of another machine. With JAX, set ``JAX_ENABLE_X64=1``.
"""

import argparse
import json
from pathlib import Path

from benchmarks.machine import provenance, write_result
from gpubp.testing import check_agreement


def main(arguments=None):
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__)
    parser.add_argument("devices", nargs="+")
    parser.add_argument("--add", type=Path, metavar="FILE", help="add to this result file")
    options = parser.parse_args(arguments)
    result = json.loads(options.add.read_text(encoding="utf-8")) if options.add else provenance()
    for device in options.devices:
        rows = [row._asdict() for row in check_agreement(device)]
        result.setdefault("agreement", {})[device] = provenance() | {"rows": rows}
    print(write_result(result, "agreement", options.add))


if __name__ == "__main__":
    main()
