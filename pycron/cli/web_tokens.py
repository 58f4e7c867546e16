"""`pycron web --tokens`: lists, makes and revokes the tokens of the page."""

import argparse
import os
import pwd
import sys
from pathlib import Path

from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import choice_for
from pycron.cli.errors import Failed, WrongUse
from pycron.cli.page_rights import rights_of_page
from pycron.cli.printing import print_json, print_table
from pycron.cli.table_layout import Column
from pycron.control.client import ControlError
from pycron.system import paths
from pycron.system.accounts import own_account
from pycron.web.access.tokens import BadTokens, Token, add_token, read_tokens, revoke_token

_PATIENCE = 10.0  # seconds for an answer of the daemon
ACTIONS = ("list", "add", "revoke")
_COLUMNS = (Column("token"), Column("user"), Column("may"), Column("made"))


def tokens_file(options: argparse.Namespace) -> Path:
    """The file of the tokens of a daemon's page."""
    return choice_for(options).paths.web_tokens


def manage_tokens(options: argparse.Namespace) -> None:
    """Raises WrongUse and Failed."""
    path = tokens_file(options)
    if (options.tokens == "list") == bool(options.name):
        raise WrongUse("--tokens add and --tokens revoke need --name, --tokens list has none")
    try:
        match options.tokens:
            case "list":
                _print(read_tokens(path), options)
            case "add":
                _add(path, options)
            case "revoke":
                revoke_token(path, options.name, _group_of_page(options, path))
    except BadTokens as error:
        raise Failed(str(error)) from None
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None


def _add(path: Path, options: argparse.Namespace) -> None:
    user = options.of or own_account().name
    text = add_token(
        path, options.name, user, may_change=options.operate, group=_group_of_page(options, path)
    )
    print(text)
    if sys.stdout.isatty():
        print("This is shown once. The file has only its hash.", file=sys.stderr)


def _group_of_page(options: argparse.Namespace, path: Path) -> int:
    """The gid that may read root's file: that of the account of the page; -1 if there is none."""
    if os.geteuid() != 0 or path.parent != paths.SYSTEM_STATE:
        return -1
    try:
        return pwd.getpwnam(_account_of_page(options)).pw_gid
    except KeyError:
        return -1


def _account_of_page(options: argparse.Namespace) -> str:
    """The daemon knows it; while none runs, it is the usual one."""
    try:
        return rights_of_page(options, _PATIENCE)["account"]
    except ControlError:
        return paths.WEB_ACCOUNT


def _print(tokens: list[Token], options: argparse.Namespace) -> None:
    if options.json:
        print_json(
            {"name": each.name, "user": each.user, "may_change": each.may_change, "made": each.made}
            for each in tokens
        )
        return
    clock = clock_for(options)
    rows = (
        [each.name, each.user, "operate" if each.may_change else "read", clock.at(each.made)]
        for each in tokens
    )
    print_table(_COLUMNS, rows, "no tokens", clock.title)
