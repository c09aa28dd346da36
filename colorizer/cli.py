"""``colorize``: colour sketches, folders of sketches, or standard input.

colorize sketch.png -o coloured.png           or .jpg, .webp, or a folder: -o coloured/
colorize a.png b.png more/ -o coloured/       several files and folders
colorize sketch.png -o coloured.png --hint 120,80,#e8b090 --hint 40,200,#2244aa
                                              colours at places; or --hints dots.png|dots.json|.ora
colorize sketch.png -o layers.ora             lines and colours as layers, for Krita and GIMP
colorize frames/ -o coloured/ --workers 4     a folder; to resume, run the same command again
colorize s3://b/frames -o s3://b/coloured --engine ray
                                              in an object store, on a cluster; or one of them
colorize comic.cbz -o coloured/               its pages; -o coloured.cbz packs them as well
colorize pages.tif -o coloured.png            coloured_01.png, coloured_02.png … for its pages
colorize - -o - < sketch.png > coloured.png
colorize studio                               the web page; its options: colorize studio --help

exit codes: 0 all coloured; 1 error; 2 wrong usage; 3 some files or pages failed; 130 interrupted
"""

import argparse
import io
import json
import os
import re
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from colorizer.base.arguments import whole_number
from colorizer.base.cores import count_cores, limit_thread_pools
from colorizer.base.errors import (
    AlreadyColouredError,
    ColorizerError,
    ModelFolderError,
    PictureError,
)
from colorizer.base.names import british, printable
from colorizer.base.redaction import redact_output
from colorizer.completion import add_completion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

    from colorizer.batch import Engine, Painter, Result
    from colorizer.hints.hint import Hint
    from colorizer.jobs import Found
    from colorizer.look.artwork import Artwork
    from colorizer.model.folder import ModelFolder
    from colorizer.pictures.decoder_process import DecoderProcess
    from colorizer.pictures.decoding import Decoded
    from colorizer.runtime import ColorizeOptions
    from colorizer.sources import Sketches
    from colorizer.targets import Targets

EXIT_SOME_FAILED = 3
MODEL = Path("models/colorizer")


def main() -> int:
    """Run the command; return its exit code."""
    limit_thread_pools()
    redact_output()
    # names and messages are printed also where the terminal's encoding doesn't have them
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return run_command(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted; to resume, run the same command again", file=sys.stderr)
        return 130
    except BrokenPipeError:  # what reads standard output, such as head, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ColorizerError, OSError, ValueError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 1


def run_command(words: list[str]) -> int:
    """Run ``colorize`` or ``colorize studio``; return the exit code."""
    if words[:1] == ["studio"]:
        from colorizer.studio.server import main as serve

        return serve(words[1:])
    parser = make_parser()
    return run(parser.parse_args(words), parser)


def make_parser() -> argparse.ArgumentParser:
    """The parser, for the command and for shell completion."""
    parser = argparse.ArgumentParser(
        prog="colorize", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    inputs = parser.add_argument(
        "inputs",
        metavar="input",
        nargs="+",
        help="sketches, folders and .cbz archives of sketches, or - for standard input",
    )
    output = parser.add_argument(
        "-o",
        "--output",
        required=True,
        help="a .png, .jpg, .webp or .ora file, a folder, or - for standard output; a .cbz, of what"
        " goes to a folder of its name",
    )
    model = parser.add_argument(
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
    look.add_argument(
        "--seed",
        type=whole_number(0),
        help="a slight variation for each number ≥ 0 (default: none)",
    )
    look.add_argument(
        "--hint",
        type=parse_hint,
        action="append",
        metavar="X,Y,COLOUR[,RADIUS]",
        help="a dot of a colour on the sketch, in its pixels: 120,80,#e8b090; can be repeated",
    )
    hints = look.add_argument(
        "--hints",
        type=Path,
        metavar="FILE",
        help="a painted picture of the sketch's size, JSON, or an .ora with a layer named hints; of"
        " several sketches, each has its own beside it: page.hints.png or page.hints.json",
    )
    look.add_argument(
        "--palette", type=parse_palette, help="replace the main colours by these: #ff8800,#2244aa"
    )
    reference = look.add_argument(
        "--reference", type=Path, help="take hues and saturation from this picture"
    )
    look.add_argument(
        "--keep-skin", action="store_true", help="--palette and --reference leave skin as it is"
    )
    look.add_argument(
        "--line-strength",
        type=parse_strength,
        default=1.0,
        metavar="0..2",
        help="0: no lines, 2: twice as dark (default: 1)",
    )
    look.add_argument(
        "--only",
        type=british,
        choices=("colour", "lines"),
        default="picture",
        help="the colours without lines, or the lines alone, as --clean made them",
    )
    look.add_argument(
        "--coloured",
        "--colored",
        type=british,
        choices=("skip", "copy", "colour"),
        default="copy",
        help="what to do with pictures that are coloured already: leave them alone, copy them as"
        " they are, or colour them (default: copy)",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--format",
        choices=("png", "jpg", "webp", "ora"),
        help="of a folder or standard output (default: png); a file's name says its own",
    )
    kind.add_argument(
        "--layers",
        action="store_const",
        dest="format",
        const="ora",
        help="lines and colours as layers: the same as --format ora",
    )
    many = parser.add_argument_group("folders and several inputs")
    many.add_argument(
        "--workers",
        type=whole_number(1),
        help="threads, or Ray's actors (default: one per core)",
    )
    many.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray: on the Ray cluster of $RAY_ADDRESS, or on one of this machine (default: local)",
    )
    many.add_argument(
        "--shard", type=parse_shard, default=(1, 1), metavar="I/N", help="only part I of N"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the results as JSON: a line for each page, or a list for a folder",
    )
    parser.add_argument("--version", action=PrintVersion, nargs=0, help="print the version")
    add_completion(
        parser, files=[inputs, output, model, hints, reference], studio=make_studio_parser
    )
    return parser


class PrintVersion(argparse.Action):
    """Print the installed version and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it; it is looked up only then."""
        from importlib.metadata import version

        print(f"{parser.prog} {version('image-colorizer')}")
        parser.exit()


def make_studio_parser() -> argparse.ArgumentParser:
    """The parser of ``colorize studio``."""
    from colorizer.studio.server import make_parser

    return make_parser()


def parse_palette(text: str) -> str:
    """The palette as it is. Raises :class:`argparse.ArgumentTypeError` if it is invalid."""
    from colorizer.look.palette import parse_colours

    try:
        parse_colours(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, got {text}") from None
    return text


def parse_hint(text: str) -> "Hint":
    """A hint. Raises :class:`argparse.ArgumentTypeError` if it is invalid."""
    from colorizer.hints.hint import parse_hint

    try:
        return parse_hint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_strength(text: str) -> float:
    """``"0.5"`` → 0.5. Raises :class:`argparse.ArgumentTypeError` unless it is 0 to 2."""
    from colorizer.runtime import MAX_LINE_STRENGTH

    with suppress(ValueError):
        if 0 <= float(text) <= MAX_LINE_STRENGTH:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be 0 to {MAX_LINE_STRENGTH:g}, got {text}")


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
    from colorizer.base.object_store import is_address
    from colorizer.look.artwork import check_kind
    from colorizer.pictures.comic_book import BOOK_SUFFIX, is_book

    names = arguments.inputs
    if len(names) > 1 and "-" in names:
        parser.error("argument input: - (standard input) can't be one of several")
    if len(names) > 1 and any(map(is_address, names)):
        parser.error("argument input: an s3:// address can't be one of several")
    is_stored = is_address(arguments.output)
    holds_many = is_stored or is_address(names[0])
    holds_many |= names[0] != "-" and (Path(names[0]).is_dir() or is_book(Path(names[0])))
    if arguments.hint and arguments.hints:
        parser.error("arguments --hint and --hints: give one of them")
    if len(names) == 1 and not holds_many:
        if arguments.shard != (1, 1):
            parser.error("argument --shard: needs a folder or several inputs")
        if arguments.engine != "local":
            parser.error("argument --engine: needs a folder or several inputs")
        refuse_other_books(names[0])
        output = choose_output(arguments, parser)
        try:
            check_kind(choose_kind(arguments, output), arguments.only)
        except PictureError as error:
            folder = "" if output is None or output.suffix else f"; a new folder is {output}/"
            raise PictureError(f"-o {arguments.output}: {error}{folder}") from None
        return colour_one(arguments, output)
    if arguments.hint or arguments.hints:
        parser.error(
            "arguments --hint, --hints: are for one sketch; of several, each has its own beside it,"
            " page.hints.png or page.hints.json"
        )
    output = Path(arguments.output)
    if is_stored:
        refuse_stored_file(arguments.output, parser)
    elif arguments.output == "-" or (names_a_file(output) and not is_folder(arguments.output)):
        parser.error(f"argument -o/--output: must be a folder here, -o coloured/, got {output}")
    if arguments.format == "ora" and arguments.only != "picture":
        parser.error("argument --only: an .ora file holds lines and colours both, as layers")
    book = None
    if output.suffix.lower() == BOOK_SUFFIX and not (is_stored or is_folder(arguments.output)):
        if arguments.shard != (1, 1):
            parser.error("argument --shard: parts can't be packed into one .cbz; give a folder")
        refuse_overwriting_inputs(arguments, output)
        book, output = output, output.with_suffix("")
    return colour_many(arguments, output, book)


def refuse_stored_file(address: str, parser: argparse.ArgumentParser) -> None:
    """An address that names a picture's or book's file is wrong usage."""
    from colorizer.look.artwork import FORMATS
    from colorizer.pictures.comic_book import BOOK_SUFFIX

    if Path(address).suffix.lower() in (*FORMATS, BOOK_SUFFIX):
        parser.error(f"argument -o/--output: must be a folder's address here, got {address}")


def is_folder(name: str) -> bool:
    """Whether ``-o`` names a folder: one that exists, or by a slash at its end."""
    return Path(name).is_dir() or name.endswith(("/", os.sep))


def names_a_file(path: Path) -> bool:
    """Whether it is a picture's file, or would be one by its suffix; a .cbz isn't."""
    from colorizer.look.artwork import FORMATS
    from colorizer.pictures.comic_book import BOOK_SUFFIX

    if path.suffix.lower() == BOOK_SUFFIX:
        return False
    return path.is_file() or path.suffix.lower() in FORMATS


def choose_output(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> Path | None:
    """The file for one sketch; None: standard output. A wrong ``--format`` is wrong usage."""
    from colorizer.look.artwork import FORMATS

    if arguments.output == "-":
        return None
    output = Path(arguments.output)
    (name,) = arguments.inputs
    if is_folder(arguments.output):
        stem = "coloured" if name == "-" else Path(name).stem
        return output / f"{stem}.{arguments.format or 'png'}"
    kind = FORMATS.get(output.suffix.lower())
    if arguments.format and kind and kind != FORMATS[f".{arguments.format}"]:
        parser.error(
            f"argument --format/--layers: says {arguments.format}, but -o {output} says"
            f" {kind.lower()}; leave one out"
        )
    return output


def choose_kind(arguments: argparse.Namespace, output: Path | None) -> str:
    """The suffix by which one sketch's picture is encoded."""
    return output.suffix.lower() if output else f".{arguments.format or 'png'}"


def colour_one(arguments: argparse.Namespace, output: Path | None) -> int:
    """Colour one sketch, with all its pages; return the exit code.

    ``output``: its file; None: standard output.
    """
    from colorizer.pictures.decoder_process import DecoderProcess
    from colorizer.pictures.decoding import MAX_SKETCH_PIXELS
    from colorizer.pictures.pages import MAX_PAGES
    from colorizer.runtime import Colorizer

    (name,) = arguments.inputs
    refuse_overwriting_inputs(arguments, output)
    # the decoder's child process starts while the model is loaded
    with DecoderProcess(max_pixels=MAX_SKETCH_PIXELS) as decoder:
        model = choose_model(arguments)
        colorizer = Colorizer.load(model, decoder=decoder, device=arguments.device)
        reference = open_reference(arguments, decoder)
        options = make_options(arguments, reference)
        source = choose_source(name)
        decoded = colorizer.decode(source)
        tell_of_model(colorizer.model)
        tell_of_pages(decoded, is_piped=output is None)
        pages = 1 if output is None else decoded.pages.num_pages
        if pages > MAX_PAGES:
            raise ColorizerError(f"{name}: more than {MAX_PAGES} pages; split the file")
        prints_rows = arguments.json and output is not None
        failed = 0
        for page in range(1, pages + 1):
            try:
                decoded = decoded if page == 1 else colorizer.decode(source, page=page - 1)
                hints = choose_hints(arguments) if page == 1 else None
                artwork = colorizer.draw_decoded(decoded, options, hints)
                write_coloured(artwork, output, arguments, page, pages)
            except AlreadyColouredError as error:
                tell_of_colours(arguments, page, pages, str(error))
                if prints_rows:
                    print_row(page, pages, "ignored", reason=str(error))
            except ColorizerError as error:
                if pages == 1:
                    raise
                failed += 1
                print(f"page {page}: {printable(str(error))}", file=sys.stderr)
                if prints_rows:
                    print_row(page, pages, "failed", reason=str(error))
    return EXIT_SOME_FAILED if failed else 0


def print_row(
    page: int,
    pages: int,
    status: str,
    *,
    target: str = "",
    reason: str = "",
    size: tuple[int, int] = (0, 0),
) -> None:
    """Print a page's JSON line, whose keys mean what they do in a folder's report."""
    row = {"target": target, "status": status, "page": page, "pages": pages}
    row |= {"reason": printable(reason), "width": size[0], "height": size[1]}
    print(json.dumps(row))


def refuse_other_books(name: str) -> None:
    """Raise :class:`PictureError` for a file that is a book or archive, with what to do."""
    from colorizer.pictures.comic_book import refuse_other_book
    from colorizer.pictures.decoding import SUFFIXES

    path = Path(name)
    if name == "-" or path.suffix.lower() in SUFFIXES or not path.is_file():
        return
    try:
        refuse_other_book(path)
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from None


def choose_hints(arguments: argparse.Namespace) -> "Path | list[Hint] | None":
    """The hints of one sketch: those given, or else the file beside it."""
    from colorizer.hints.files import find_hints

    (name,) = arguments.inputs
    given: Path | list[Hint] | None = arguments.hint or arguments.hints
    if given or name == "-":
        return given
    return find_hints(Path(name))


def choose_source(name: str) -> Path | bytes:
    """A sketch's path, or the bytes of standard input or another pipe, which only we can read."""
    if name == "-":
        return sys.stdin.buffer.read()
    path = Path(name)
    return path.read_bytes() if path.is_fifo() else path


def refuse_overwriting_inputs(arguments: argparse.Namespace, output: Path | None) -> None:
    """Raise :class:`ColorizerError` if the output is the sketch, the reference or the hints."""
    from colorizer.hints.files import find_hints
    from colorizer.jobs import refuse_overwriting

    if output is not None:
        beside = [find_hints(Path(name)) for name in arguments.inputs]
        for given in (*arguments.inputs, arguments.reference, arguments.hints, *beside):
            if given and given != "-":
                refuse_overwriting(Path(given), output)


def tell_of_colours(arguments: argparse.Namespace, page: int, pages: int, what: str) -> None:
    """Print that a page isn't coloured, and how it would be."""
    name = arguments.inputs[0] if pages == 1 else f"page {page}"
    print(f"note: {printable(name)}: {what}; --coloured colour colours it", file=sys.stderr)


def tell_of_model(model: "ModelFolder") -> None:
    """Print what the model's user should know."""
    if model.note:
        print(f"note: this model is {model.note}", file=sys.stderr)


def tell_of_pages(decoded: "Decoded", *, is_piped: bool) -> None:
    """Print which picture of a file with several is coloured."""
    num_pages, num_frames = decoded.pages
    if num_frames > 1:
        print(f"note: only frame 1 of {num_frames} is coloured", file=sys.stderr)
    if num_pages > 1 and is_piped:
        print(
            f"note: only page 1 of {num_pages} is coloured; with -o FILE, each gets a file of its"
            " own",
            file=sys.stderr,
        )


def write_coloured(
    artwork: "Artwork",
    output: Path | None,
    arguments: argparse.Namespace,
    page: int,
    pages: int,
) -> None:
    """Write a picture to its file (None: standard output), and print its name and size."""
    from colorizer.base.files import write_bytes
    from colorizer.jobs import name_page

    data = artwork.encode(choose_kind(arguments, output), arguments.only)
    reason = "coloured already, so it was copied as it is" if artwork.is_copy else ""
    if reason:
        tell_of_colours(arguments, page, pages, reason)
    if artwork.hides_its_colours:
        print(
            "note: the sketch's paper is transparent, and so are the colours on it; --opaque"
            " composites it on white",
            file=sys.stderr,
        )
    if output is None:
        sys.stdout.buffer.write(data)
        return
    if pages > 1:
        output = output.with_name(name_page(output.stem, page, pages) + output.suffix)
        refuse_overwriting_inputs(arguments, output)
    try:
        write_bytes(output, data)
    except OSError as error:
        raise ColorizerError(f"-o {output}: can't be written ({error.strerror})") from None
    width, height = artwork.colour.size
    name = printable(output)
    if arguments.json:
        status = "copied" if artwork.is_copy else "done"
        print_row(page, pages, status, target=name, reason=reason, size=(width, height))
    else:
        print(f"{name}: {width}×{height}")


def colour_many(arguments: argparse.Namespace, output: Path, book: Path | None) -> int:
    """Colour a folder, .cbz or address, or several inputs, into a folder; return the exit code.

    ``book``: a .cbz to pack the pictures into afterwards.
    """
    from tqdm import tqdm

    from colorizer.batch import (
        Journal,
        Painter,
        Result,
        Shard,
        choose_shard,
        make_rows,
        options_key,
        run_batch,
        write_report,
    )
    from colorizer.jobs import summarize
    from colorizer.pictures.comic_book import write_book
    from colorizer.pictures.decoder_process import DecoderProcess
    from colorizer.runtime import Colorizer

    shard = Shard(number=arguments.shard[0], count=arguments.shard[1])
    sketches, found = find_sketches(arguments, output)
    jobs, ignored = choose_shard(found.jobs, shard), choose_shard(found.ignored, shard)
    workers = arguments.workers or count_cores()
    threads = max(1, count_cores() // workers)
    colorizer = Colorizer.load(choose_model(arguments), threads=threads, device=arguments.device)
    reference = None
    if arguments.reference:
        with DecoderProcess() as decoder:
            reference = open_reference(arguments, decoder)
    options = make_options(arguments, reference)
    targets = open_targets(arguments, output, sketches, found)
    key = options_key(str(colorizer.model.onnx_sha256), options, arguments.only)
    painter = Painter(colorizer, sketches, targets, options, arguments.only)
    total = len(jobs)
    tell_of_model(colorizer.model)
    with (
        Journal(targets, shard, key) as journal,
        opened_engine(arguments, painter) as engine,
        tqdm(total=total, unit="picture", disable=arguments.json) as bar,
    ):

        def advance(result: Result) -> None:
            nonlocal total
            total += result.pages - 1 if result.page == 1 else 0
            bar.total = total
            bar.update()

        done = run_batch(jobs, journal, sketches, targets, engine, on_result=advance)
    rows = make_rows(done.results, ignored)
    report = write_report(targets, shard, rows)
    if book is not None:
        pictures = [result.target for result in done.results if result.has_picture]
        write_book(book, ((target, output / target) for target in pictures))
    if arguments.json:
        print(json.dumps(rows))
    else:
        for line in summarize_results(done.results) + summarize(ignored):
            print(line, file=sys.stderr)
        print(
            f"{done.num_coloured} coloured, {done.num_skipped} skipped (done before),"
            f" {tell_copied(arguments.coloured, done.num_coloured_before)}"
            f"{done.num_failed} failed; {printable(report)}{f', {printable(book)}' if book else ''}"
        )
    return EXIT_SOME_FAILED if done.num_failed else 0


def find_sketches(arguments: argparse.Namespace, output: Path) -> "tuple[Sketches, Found]":
    """The sketches of a batch and their jobs. Raises :class:`ColorizerError`."""
    from colorizer.base.object_store import is_address, join
    from colorizer.jobs import find_all_jobs, find_jobs
    from colorizer.pictures.comic_book import is_book, open_book
    from colorizer.sources import LocalSketches, StoredSketches

    suffix = f".{arguments.format or 'png'}"
    if is_address(arguments.inputs[0]):
        stored = StoredSketches.list(arguments.inputs[0])
        address = join(arguments.output, "") if is_address(arguments.output) else ""
        return stored, stored.find_jobs(suffix, address)
    folder = None if is_address(arguments.output) else output
    paths = [Path(name) for name in arguments.inputs]
    if len(paths) > 1:
        return LocalSketches(Path()), find_all_jobs(paths, suffix, folder)
    if is_book(paths[0]):
        try:
            open_book(paths[0])
        except PictureError as error:
            raise PictureError(f"{paths[0]}: {error}") from None
    if folder is None and paths[0].is_file() and not is_book(paths[0]):
        return LocalSketches(Path()), find_all_jobs(paths, suffix, folder)
    return LocalSketches(paths[0]), find_jobs(paths[0], suffix, folder)


def open_targets(
    arguments: argparse.Namespace, output: Path, sketches: "Sketches", found: "Found"
) -> "Targets":
    """Where a batch's pictures go. Raises :class:`ColorizerError` if that can't be written."""
    from colorizer.base.object_store import is_address, join, require_bucket
    from colorizer.jobs import list_inputs
    from colorizer.sources import LocalSketches
    from colorizer.targets import LocalTargets, StoredTargets

    if is_address(arguments.output):
        require_bucket(arguments.output)
        return StoredTargets(join(arguments.output, ""))
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ColorizerError(f"-o {output}: can't be a folder ({error.strerror})") from None
    protected = set(filter(None, [arguments.reference]))
    if isinstance(sketches, LocalSketches):
        protected |= list_inputs(sketches.path, found.jobs)
    return LocalTargets(output).protecting(protected, found.jobs)


@contextmanager
def opened_engine(arguments: argparse.Namespace, painter: "Painter") -> "Iterator[Engine]":
    """The engine that runs a batch, for a block. Raises :class:`RayClusterError`."""
    from colorizer.batch import colour_in_threads

    if arguments.engine == "local":
        workers = arguments.workers or count_cores()
        yield lambda jobs: colour_in_threads(painter, jobs, workers)
        return
    from colorizer.base.ray_cluster import ray_cluster
    from colorizer.ray_batch import colour_on_ray

    workers, device = arguments.workers, arguments.device
    with ray_cluster(workers) as cluster:
        yield lambda jobs: colour_on_ray(painter, cluster, jobs, workers, device)


def tell_copied(coloured: str, num_pictures: int) -> str:
    """How many pictures were coloured already, for the summary; empty for none."""
    if not num_pictures:
        return ""
    what = "copied" if coloured == "copy" else "left alone"
    return f"{num_pictures} {what} (coloured already; --coloured colour colours them), "


def summarize_results(results: "list[Result]") -> list[str]:
    """A line for each picture that failed, or of which else there is something to say."""
    lines = []
    for result in results:
        if result.pages > 1 and result.page == 1:
            lines.append(f"{result.source}: {result.pages} pages, each a picture of its own")
        if result.reason:
            page = f" (page {result.page})" if result.pages > 1 else ""
            lines.append(f"{result.source}{page}: {result.reason}")
    return [printable(line) for line in lines]


def choose_model(arguments: argparse.Namespace) -> str:
    """The requested or default model. Raises :class:`ModelFolderError` if there is neither."""
    wanted = arguments.model or os.environ.get("COLORIZER_MODEL")
    if wanted:
        return str(wanted)
    if not MODEL.is_dir():
        raise ModelFolderError(
            f"no model: {printable(MODEL.absolute())} doesn't exist ({MODEL} is looked for in the"
            " current folder). Set --model or COLORIZER_MODEL to a folder that is elsewhere, or to"
            " models:/sketch-colorizer@champion; `make repro` makes one"
        )
    return str(MODEL)


def open_reference(arguments: argparse.Namespace, decoder: "DecoderProcess") -> "Image | None":
    """The reference picture, if there is one, with its transparency.

    Raises :class:`PictureError` if it isn't a readable picture.
    """
    if not arguments.reference:
        return None
    try:
        return decoder.open_with_alpha(arguments.reference).with_alpha()
    except PictureError as error:
        raise PictureError(f"--reference {arguments.reference}: {error}") from None


def make_options(arguments: argparse.Namespace, reference: "Image | None") -> "ColorizeOptions":
    """The options from the arguments."""
    from colorizer.runtime import ColorizeOptions

    return ColorizeOptions(
        clean=arguments.clean,
        opaque=arguments.opaque,
        seed=arguments.seed,
        palette=arguments.palette,
        reference=reference,
        keep_skin=arguments.keep_skin,
        line_strength=arguments.line_strength,
        coloured=arguments.coloured,
    )


if __name__ == "__main__":
    sys.exit(main())
