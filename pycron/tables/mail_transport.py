"""Whether mail can be sent from this machine: a table that sets MAILTO is told so."""

import os

from pycron.config import Config
from pycron.system.accounts import Accounts


def why_no_mail(config: Config, account: str | None, accounts: Accounts) -> str | None:
    """Why no mail can be sent; None if it can be, as far as is known, or is not wanted.

    `account`: the user that a program with a secret needs; None if it needs no other user.
    """
    if config.mail_transport == "sendmail":
        program = config.sendmail[0] if config.sendmail else ""
        if not os.access(program, os.X_OK):
            return f"there is no sendmail program ({program})"
    if config.mail_transport == "smtp" and account is not None and not accounts.exists(account):
        return f"there is no user {account}, who speaks to the mail server (pycron setup makes it)"
    return None
