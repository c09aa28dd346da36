"""``python -m colorizer sketch.png coloured.png``: colour one sketch with the exported model."""

import argparse
import sys
from pathlib import Path

from colorizer.errors import ColorizerError
from colorizer.guard import PictureGuard
from colorizer.runtime import Colorizer


def main() -> int:
    """Run the command; 0 when the picture was written, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m colorizer", description=__doc__)
    parser.add_argument("sketch", type=Path, help="line art: PNG, JPEG, WEBP, BMP, TIFF or GIF")
    parser.add_argument("output", type=Path, help="where to write the coloured picture")
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("models/colorizer"),
        help="an exported folder (default: %(default)s)",
    )
    arguments = parser.parse_args()
    try:
        # its child starts while the model is being loaded
        with PictureGuard() as guard:
            coloured = Colorizer.load(arguments.model, guard=guard)(arguments.sketch)
        coloured.save(arguments.output)
    except (ColorizerError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.output}: {coloured.width}×{coloured.height}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
