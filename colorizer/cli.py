"""``colorize``: colour a sketch, a folder of sketches, or standard input.

colorize sketch.png -o coloured.png
colorize sketch.png -o layers.ora             lines and colours as layers, for Krita and GIMP
colorize frames/ -o coloured/ --workers 4     a folder; to resume, run the same command again
colorize - -o - < sketch.png > coloured.png
colorize studio                               the web page; its options: colorize studio --help

exit codes: 0 all coloured; 1 error; 2 wrong usage; 3 some files of a folder failed; 130 interrupted
"""

import argparse
import json
import os
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from colorizer.base.errors import ColorizerError, ModelFolderError

if TYPE_CHECKING:
    from PIL.Image import Image

    from colorizer.runtime import ColorizeOptions

EXIT_SOME_FAILED = 3
MODEL = Path("models/colorizer")


def main() -> int:
    """Run the command; return its exit code."""
    if sys.argv[1:2] == ["studio"]:
        from colorizer.studio.server import main as serve

        return serve(sys.argv[2:])
    parser = make_parser()
    arguments = parser.parse_args()
    try:
        return run(arguments, parser)
    except KeyboardInterrupt:
        print("interrupted; to resume, run the same command again", file=sys.stderr)
        return 130
    except (ColorizerError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def make_parser() -> argparse.ArgumentParser:
    """The parser, for the command and for shell completion."""
    parser = argparse.ArgumentParser(
        prog="colorize", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", help="a sketch, a folder of sketches, or - for standard input")
    parser.add_argument(
        "-o", "--output", required=True, help=".png, .webp or .ora file, a folder, or - (PNG)"
    )
    parser.add_argument(
        "--model",
        help="an exported folder, models:/NAME@ALIAS or models:/NAME/NUMBER"
        f" (default: $COLORIZER_MODEL, or {MODEL})",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    look = parser.add_argument_group("look")
    look.add_argument(
        "--clean", action="store_true", help="turn a photo or scan into line art first"
    )
    look.add_argument(
        "--opaque", action="store_true", help="composite transparent sketches on white"
    )
    look.add_argument("--seed", type=int, help="a variation for each number ≥ 0 (default: none)")
    look.add_argument("--palette", help="replace the main colours by these: #ff8800,#2244aa")
    look.add_argument("--reference", type=Path, help="take hues and saturation from this picture")
    look.add_argument(
        "--line-strength",
        type=float,
        default=1.0,
        metavar="0..2",
        help="0: no lines, 2: twice as dark (default: 1)",
    )
    look.add_argument(
        "--only",
        choices=("colour", "lines"),
        default="picture",
        help="the colours without lines, or the lines alone, as --clean made them",
    )
    many = parser.add_argument_group("folders")
    many.add_argument("--layers", action="store_true", help="write .ora files instead of .png")
    many.add_argument("--format", choices=("png", "webp", "ora"), default="png")
    many.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="threads (default: one per core)",
    )
    many.add_argument(
        "--shard", type=parse_shard, default=(1, 1), metavar="I/N", help="only part I of N"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    try:
        import shtab
    except ModuleNotFoundError:
        pass
    else:
        shtab.add_argument_to(parser, "--print-completion", help="a completion script for a shell")
    return parser


def parse_shard(text: str) -> tuple[int, int]:
    """``"2/8"`` → (2, 8)."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"must be I/N with 1 ≤ I ≤ N, got {text}")
    return int(match[1]), int(match[2])


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Colour a file or a folder; return the exit code.

    Raises :class:`ColorizerError`, :class:`OSError` and :class:`ValueError`.
    """
    if arguments.workers < 1:
        parser.error("--workers must be ≥ 1")
    if arguments.input != "-" and Path(arguments.input).is_dir():
        if arguments.output == "-":
            parser.error("an input folder needs an output folder: -o coloured/")
        return colour_folder(arguments)
    return colour_one(arguments)


def colour_one(arguments: argparse.Namespace) -> int:
    """Colour one sketch; return the exit code."""
    from colorizer.base.files import write_bytes
    from colorizer.pictures.decoder_process import DecoderProcess
    from colorizer.pictures.decoding import MAX_SKETCH_PIXELS
    from colorizer.runtime import Colorizer

    suffix = ".png" if arguments.output == "-" else Path(arguments.output).suffix.lower()
    # the decoder's child process starts while the model is loaded
    with DecoderProcess(max_pixels=MAX_SKETCH_PIXELS) as decoder:
        model = choose_model(arguments)
        colorizer = Colorizer.load(model, decoder=decoder, device=arguments.device)
        reference = decoder.open(arguments.reference) if arguments.reference else None
        options = make_options(arguments, reference)
        source = sys.stdin.buffer.read() if arguments.input == "-" else Path(arguments.input)
        artwork = colorizer.draw(source, options)
    data = artwork.encode(suffix, arguments.only)
    if artwork.hides_its_colours:
        print(
            "note: the sketch's paper is transparent, and so are the colours on it; --opaque"
            " composites it on white",
            file=sys.stderr,
        )
    if arguments.output == "-":
        sys.stdout.buffer.write(data)
        return 0
    write_bytes(Path(arguments.output), data)
    width, height = artwork.colour.size
    if arguments.json:
        print(json.dumps({"target": arguments.output, "width": width, "height": height}))
    else:
        print(f"{arguments.output}: {width}×{height}")
    return 0


def colour_folder(arguments: argparse.Namespace) -> int:
    """Colour a folder; return the exit code."""
    from tqdm import tqdm

    from colorizer.batch import (
        Batch,
        Journal,
        Shard,
        choose_shard,
        find_jobs,
        options_key,
        write_report,
    )
    from colorizer.pictures.decoder_process import DecoderProcess
    from colorizer.runtime import Colorizer

    sources, targets = Path(arguments.input), Path(arguments.output)
    shard = Shard(number=arguments.shard[0], count=arguments.shard[1])
    suffix = ".ora" if arguments.layers else f".{arguments.format}"
    jobs = choose_shard(find_jobs(sources, suffix), shard)
    threads = max(1, len(os.sched_getaffinity(0)) // arguments.workers)
    colorizer = Colorizer.load(choose_model(arguments), threads=threads, device=arguments.device)
    reference = None
    if arguments.reference:
        with DecoderProcess() as decoder:
            reference = decoder.open(arguments.reference)
    options = make_options(arguments, reference)
    targets.mkdir(parents=True, exist_ok=True)
    key = options_key(str(colorizer.model.onnx_sha256), options, arguments.only)
    batch = Batch(colorizer, sources, targets, options, arguments.only)
    with tqdm(total=len(jobs), unit="picture", disable=arguments.json) as bar:
        done = batch.run(
            jobs,
            Journal(targets, shard, key),
            workers=arguments.workers,
            on_result=lambda _: bar.update(),
        )
    report = write_report(targets, shard, done.results)
    if arguments.json:
        print(json.dumps([asdict(result) for result in done.results], ensure_ascii=False))
    else:
        for result in done.results:
            if result.status == "failed":
                print(f"{result.source}: {result.reason}", file=sys.stderr)
        print(
            f"{done.num_coloured} coloured, {done.num_skipped} skipped (done before),"
            f" {done.num_failed} failed; {report}"
        )
    return EXIT_SOME_FAILED if done.num_failed else 0


def choose_model(arguments: argparse.Namespace) -> str:
    """The requested or default model. Raises :class:`ModelFolderError` if there is neither."""
    wanted = arguments.model or os.environ.get("COLORIZER_MODEL")
    if wanted:
        return str(wanted)
    if not MODEL.is_dir():
        raise ModelFolderError(
            f"no model: {MODEL} doesn't exist. `make repro` makes one, or set --model or"
            " COLORIZER_MODEL to a folder or models:/sketch-colorizer@champion"
        )
    return str(MODEL)


def make_options(arguments: argparse.Namespace, reference: "Image | None") -> "ColorizeOptions":
    """The options from the arguments. Raises :class:`PictureError` for an invalid palette."""
    from colorizer.look.palette import parse_colours
    from colorizer.runtime import ColorizeOptions

    if arguments.palette:
        parse_colours(arguments.palette)  # report an error before any work
    return ColorizeOptions(
        clean=arguments.clean,
        opaque=arguments.opaque,
        seed=arguments.seed,
        palette=arguments.palette,
        reference=reference,
        line_strength=arguments.line_strength,
    )


if __name__ == "__main__":
    sys.exit(main())
