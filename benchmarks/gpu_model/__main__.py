"""What the CUDA kernels of an encoder should take by the data sheet of a GPU; nothing is measured.

python -m benchmarks.gpu_model l0
python -m benchmarks.gpu_model xl1 --device orin --batch 4 --json numbers.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.gpu_model.budgets import load, registers_of
from benchmarks.gpu_model.launches import launches
from benchmarks.gpu_model.model import as_json, as_text, model_encoder
from evsam.cli.arguments import whole
from evsam.selftest.devices import DEVICES, get_device
from evsam.zoo import VARIANTS


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_model", description=str(__doc__).split("\n")[0])
    parser.add_argument("variant", nargs="?", default="nano", choices=list(VARIANTS), help="default: nano")
    parser.add_argument("--device", choices=list(DEVICES), help="default: all of them")
    parser.add_argument("--batch", type=whole(1), default=1, metavar="N", help="images at once (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers")
    options = parser.parse_args(arguments)
    devices = [get_device(options.device)] if options.device else list(DEVICES.values())
    registers = registers_of(load())
    try:
        models = [
            model_encoder(VARIANTS[options.variant], device, options.batch, registers, launches) for device in devices
        ]
    except ValueError as error:
        parser.error(str(error))
    print("\n\n".join(map(as_text, models)))
    if options.json:
        options.json.write_text(json.dumps(as_json(models), indent=1) + "\n", encoding="utf-8")
        print(f"\nwrote {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
