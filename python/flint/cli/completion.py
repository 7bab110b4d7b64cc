"""Completion of commands, options and keys in bash, zsh and fish.

The script of a shell calls `flint` with two variables: `_FLINT_COMPLETE=complete` and `_FLINT_COMPLETE_LINE`, the
command line up to the cursor. The answer has one completion a line, with a tab and a description behind it where there
is one. Where there is none, the shell completes file names.

Scripts that earlier releases installed call with `complete_bash`, `complete_zsh` or `complete_fish`, and are answered
in the form that they read.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

import click
from click.shell_completion import CompletionItem, ShellComplete

from flint.cli import output
from flint.cli.errors import USAGE, CommandError
from flint.cli.session import Session

_BASH = r"""_flint_completion() {
    local line="${COMP_LINE:0:$COMP_POINT}" word prefix="" value quoted
    word="${line##*[[:space:]]}"
    # bash takes a colon or an equals sign for the end of a word, and replaces only what is behind the last of them.
    case "$word" in
        \"*|\'*) ;;
        *[:=]*) prefix="${word%"${word##*[:=]}"}" ;;
    esac
    COMPREPLY=()
    while IFS=$'\t' read -r value _; do
        case "$word" in
            \"*|\'*) quoted="$value" ;;
            *) printf -v quoted '%q' "$value" ;;
        esac
        COMPREPLY+=("${quoted#"$prefix"}")
    done < <(env _FLINT_COMPLETE=complete _FLINT_COMPLETE_LINE="$line" "$1" 2>/dev/null)
}
complete -o default -F _flint_completion flint
"""

_ZSH = r"""#compdef flint

_flint_completion() {
    local item
    local -a values shown
    while IFS= read -r item; do
        values+=("${item%%$'\t'*}")
        shown+=("${item/$'\t'/  -- }")
    done < <(env _FLINT_COMPLETE=complete _FLINT_COMPLETE_LINE="${words[1,$CURRENT]}" flint 2>/dev/null)
    if (( ${#values} )); then
        compadd -l -d shown -a values
    else
        _files
    fi
}

if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _flint_completion "$@"
else
    compdef _flint_completion flint
fi
"""

_FISH = r"""function __flint_completion
    set -l line (commandline --cut-at-cursor)
    set -l found (env _FLINT_COMPLETE=complete _FLINT_COMPLETE_LINE="$line" flint 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline --current-token)
    end
end

complete --command flint --no-files --arguments '(__flint_completion)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str) -> str:
    """The completion script of a shell; empty is the shell in use."""
    return _SCRIPTS[_known(shell)]


def install(shell: str) -> str:
    """Writes the script where the shell finds it, and returns a message for the user."""
    name = _known(shell)
    home = Path.home()
    places = {
        "bash": home / ".bash_completions" / "flint.sh",
        "zsh": home / ".zfunc" / "_flint",
        "fish": home / ".config" / "fish" / "completions" / "flint.fish",
    }
    place = places[name]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(_SCRIPTS[name], encoding="utf-8")
    if name == "bash":
        _append(home / ".bashrc", f"source {shlex.quote(str(place))}")
    elif name == "zsh":
        _append(home / ".zshrc", "fpath+=~/.zfunc; autoload -Uz compinit; compinit")
    return f"completion for {name} is in {output.printable(str(place))}; it works in the next shell that you start"


def _append(file: Path, line: str) -> None:
    """Adds a line to a file of settings, unless it is there."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if line not in text.splitlines():
        with file.open("a", encoding="utf-8") as opened:
            opened.write(f"{'' if not text or text.endswith(chr(10)) else chr(10)}{line}\n")


def _known(shell: str) -> str:
    name = shell or _shell_in_use()
    if name not in _SCRIPTS:
        found = f"the shell is {name!r}" if name else "the shell in use is not known"
        raise CommandError(
            f"{found}; completion exists for bash, zsh and fish: `flint --show-completion bash`", USAGE, "UsageError"
        )
    return name


def _shell_in_use() -> str:
    """The name of the process that started this one, or else of the login shell."""
    try:
        parent = Path(f"/proc/{os.getppid()}/comm").read_text(encoding="utf-8").strip().lstrip("-")
    except OSError:
        parent = ""
    return parent if parent in _SCRIPTS else os.path.basename(os.environ.get("SHELL", ""))


def run(root: click.Command, session: Session, instruction: str) -> int:
    """Answers a completion script; `source_bash` and the like print the script. Returns the exit status."""
    action, _, shell = instruction.partition("_")
    if action == "source":
        output.write(script(shell or "unknown"))
        return 0
    answer = _ANSWERS.get(instruction)
    if answer is None:
        raise CommandError(
            f"_FLINT_COMPLETE={instruction!r} is not accepted; use complete, source_bash, source_zsh or source_fish",
            USAGE,
            "UsageError",
        )
    answer(root, session, os.environ)
    return session.status


def _items(root: click.Command, session: Session, words: list[str], incomplete: str) -> list[CompletionItem]:
    """Everything that may be in place of the word `incomplete`, behind `words`."""
    return ShellComplete(root, {"obj": session}, "flint", "_FLINT_COMPLETE").get_completions(words, incomplete)


def _split(line: str) -> tuple[list[str], str]:
    """The words before the cursor without the command's name, and the word at the cursor."""
    # With one more character, the word at the cursor is the last one, even where it is empty or ends in a quoted space.
    words = click.shell_completion.split_arg_string(f"{line}.")
    return words[1:-1], words[-1][:-1] if len(words) > 1 else ""


def _answer(root: click.Command, session: Session, variables: Mapping[str, str]) -> None:
    for item in _items(root, session, *_split(variables.get("_FLINT_COMPLETE_LINE", ""))):
        output.line(f"{item.value}\t{item.help}" if item.help else item.value)


def _answer_bash(root: click.Command, session: Session, variables: Mapping[str, str]) -> None:
    words = click.shell_completion.split_arg_string(variables.get("COMP_WORDS", ""))
    position = int(variables.get("COMP_CWORD") or len(words))
    incomplete = words[position] if position < len(words) else ""
    for item in _items(root, session, words[1:position], incomplete):
        output.line(item.value)


def _answer_zsh(root: click.Command, session: Session, variables: Mapping[str, str]) -> None:
    """Text that zsh evaluates, so that each completion is quoted."""
    found = _items(root, session, *_split(variables.get("_TYPER_COMPLETE_ARGS", "")))
    quoted = " ".join(shlex.quote(item.value) for item in found)
    output.line(f"compadd -- {quoted}" if quoted else "_files")


def _answer_fish(root: click.Command, session: Session, variables: Mapping[str, str]) -> None:
    """Completions, or an exit status that shows whether there are any."""
    found = _items(root, session, *_split(variables.get("_TYPER_COMPLETE_ARGS", "")))
    if variables.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        session.status = 0 if found else 1
        return
    for item in found:
        output.line(f"{item.value}\t{item.help}" if item.help else item.value)


_ANSWERS: dict[str, Callable[[click.Command, Session, Mapping[str, str]], None]] = {
    "complete": _answer,
    "complete_bash": _answer_bash,
    "complete_zsh": _answer_zsh,
    "complete_fish": _answer_fish,
}
