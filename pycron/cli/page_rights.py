"""The rights that the daemon gives its page."""

import argparse

from pycron.cli.daemon_choice import client_for
from pycron.control.client import ControlError
from pycron.protocol.web_messages import WebAnswer, WebRequest
from pycron.system import paths
from pycron.system.accounts import own_account


def rights_of_page(options: argparse.Namespace, patience: float) -> WebAnswer:
    """The rights of a page that the user of this process starts.

    Raises ControlError if the daemon does not answer. A daemon of an earlier version refuses the
    question: it gives a page the rights of its user.
    """
    client = client_for(options, patience)
    try:
        return client.request(WebRequest())
    except ControlError as error:
        if not error.answer:
            raise
        own = own_account().name
        account = paths.WEB_ACCOUNT
        return {"acts_for_others": False, "account": account, "passwords": False, "user": own}
    finally:
        client.close()
