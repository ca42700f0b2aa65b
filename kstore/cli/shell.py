"""`kstore completion`: what a shell has to read so that it completes `kstore`."""

import argparse
import sys

from kstore.cli.arguments import Commands, add_command
from kstore.cli.errors import CommandError

EXAMPLES = """
eval "$(kstore completion bash)"                               in ~/.bashrc
eval "$(kstore completion zsh)"                                in ~/.zshrc, behind compinit
kstore completion fish > ~/.config/fish/completions/kstore.fish
"""


def add_commands(commands: Commands) -> None:
    parser = add_command(
        commands, "completion", run, summary="print the completion script of a shell", examples=EXAMPLES
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(options: argparse.Namespace) -> int:
    try:
        import argcomplete
    except ImportError:
        raise CommandError("completion needs argcomplete: pip install 'kstore[cli]'") from None
    sys.stdout.write(argcomplete.shellcode(["kstore"], shell=options.shell))
    return 0
