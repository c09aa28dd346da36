"""``colorize --print-completion SHELL``: shtab's script, with what it doesn't know of this command.

Inputs are files or the word ``studio``, whose options are other ones. shtab takes a positional
argument for files or for subcommands, so each shell gets a function for the two.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import Any

SHELLS = ("bash", "fish", "zsh")
FILES = {
    "bash": "_colorize_files",
    "zsh": "_files",
    "fish": "(__fish_complete_path (commandline -ct | string unescape))",
}
INPUTS = FILES | {"bash": "_colorize_input_files"}
PREAMBLES = {
    "bash": r"""
_colorize_files() {
  compgen -f -- "$1"
}
_colorize_input_files() {
  compgen -f -- "$1"
  (( COMP_CWORD == 1 )) && compgen -W studio -- "$1"
}
""",
    "fish": "",
    "zsh": r"""
_shtab_colorize() {
  local context state state_descr line
  typeset -A opt_args
  if (( CURRENT > 2 )) && [[ $words[2] == studio ]]; then
    shift words
    (( CURRENT-- ))
    _arguments -s -S $_shtab_colorize_studio_options
  else
    _arguments -s -S ${_shtab_colorize_options:#\(\*\)*} '*:input:_colorize_inputs'
  fi
}
_colorize_inputs() {
  (( CURRENT == 2 )) && compadd studio
  _files
}
""",
}


def add_completion(
    parser: argparse.ArgumentParser,
    *,
    files: Iterable[argparse.Action],
    studio: Callable[[], argparse.ArgumentParser],
) -> None:
    """Add ``--print-completion``, which needs shtab only when it is used.

    ``files``: the arguments that take a file's name, the inputs first.
    """
    for action in files:
        action.complete = FILES if action.option_strings else INPUTS  # type: ignore[attr-defined]
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        action=_PrintCompletion,
        studio=studio,
        help="print a completion script for a shell",
    )


class _PrintCompletion(argparse.Action):
    def __init__(self, *, studio: Callable[[], argparse.ArgumentParser], **options: Any) -> None:
        super().__init__(**options)
        self.studio = studio

    def __call__(
        self, parser: argparse.ArgumentParser, _: Any, shell: Any, __: str | None = None
    ) -> None:
        try:
            import shtab
        except ModuleNotFoundError:
            print(
                "error: --print-completion needs shtab: pip install 'image-colorizer[serve]'",
                file=sys.stderr,
            )
            parser.exit(1)
        described = self.studio()
        for action in described._actions:
            if action.dest == "model":
                action.complete = FILES  # type: ignore[attr-defined]
        commands = parser.add_subparsers(help="more commands")
        commands.add_parser(
            "studio",
            parents=[described],
            add_help=False,
            help="serve the web page",
            description="serve the web page",
        )
        print(shtab.complete(parser, shell, preamble=PREAMBLES[shell]))
        parser.exit()
