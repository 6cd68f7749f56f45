"""``faltung completion SHELL``: a script by which a shell completes commands and options.

The script holds every word, so a Tab starts no Python. Files are completed by the shell.
"""

import argparse

HELP = """\
examples:
  faltung completion bash >> ~/.bash_completion
  faltung completion zsh > ~/.zfunc/_faltung       (with ~/.zfunc in fpath)
  faltung completion fish > ~/.config/fish/completions/faltung.fish
"""

BASH = """\
# Completion of faltung.
_faltung() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    if [ "$COMP_CWORD" -eq 1 ] || [[ "$word" == -* ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    else
        COMPREPLY=()
    fi
}}
complete -o default -o bashdefault -F _faltung faltung
"""
ZSH = """\
#compdef faltung
_faltung() {{
    if (( CURRENT == 2 )); then
        compadd -- {commands}
    elif [[ "$words[CURRENT]" == -* ]]; then
        case "$words[2]" in
{cases}
        esac
    else
        _files
    fi
}}
compdef _faltung faltung
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``completion``."""
    parser.epilog = HELP
    parser.add_argument("shell", choices=tuple(SHELLS), metavar="SHELL", help="bash, zsh or fish")


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    print(SHELLS[arguments.shell](_options()), end="")
    return 0


def _options() -> dict[str, list[str]]:
    """The options of every command."""
    from faltung.cli.commands import parsers
    from faltung.cli.main import COMMANDS

    found = {}
    for name in COMMANDS:
        _, own = parsers(COMMANDS, name)
        found[name] = [option for action in own._actions for option in action.option_strings]
    return found


def _bash(options: dict[str, list[str]]) -> str:
    cases = "\n".join(f'            {n}) words="{" ".join(o)}" ;;' for n, o in options.items())
    return BASH.format(commands=" ".join(options), cases=cases)


def _zsh(options: dict[str, list[str]]) -> str:
    cases = "\n".join(f"            {n}) compadd -- {' '.join(o)} ;;" for n, o in options.items())
    return ZSH.format(commands=" ".join(options), cases=cases)


def _fish(options: dict[str, list[str]]) -> str:
    lines = [
        "# Completion of faltung.",
        f"complete -c faltung -f -n __fish_use_subcommand -a '{' '.join(options)}'",
    ]
    for name, words in options.items():
        within = f"-n '__fish_seen_subcommand_from {name}'"
        lines += [
            f"complete -c faltung {within} -{'l' if word.startswith('--') else 's'} "
            f"{word.lstrip('-')}"
            for word in words
        ]
    return "\n".join(lines) + "\n"


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
