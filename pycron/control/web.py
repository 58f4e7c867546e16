"""`web`, `login` and `login-result`: what the page asks about itself, and checks of passwords."""

from pycron.control.access import Refusal, has_account, user_of
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.server import Peer
from pycron.protocol.web_messages import (
    LoginAnswer,
    LoginRequest,
    LoginResultAnswer,
    LoginResultRequest,
    WebAnswer,
    WebRequest,
)


@handles(WebRequest)
def web(context: Context, peer: Peer, _request: WebRequest) -> WebAnswer:
    return {
        "acts_for_others": context.access.is_page(peer),
        "account": context.config().web_user,
        "passwords": context.config().web_pam_service is not None,
        "user": user_of(peer),
    }


@handles(LoginRequest)
def login(context: Context, peer: Peer, request: LoginRequest) -> LoginAnswer:
    """Begin a check, which the page may ask for, and every user for their own name."""
    config = context.config()
    if config.web_pam_service is None:
        raise Refusal("passwords are not checked here (web.pam_service is not set)")
    if request.user != user_of(peer):
        _check_may_act_for(context, peer, request.user)
    number = context.passwords.begin(
        peer.uid, config.web_pam_service, request.user, request.password, config.pam_timeout
    )
    return {"check": number}


def _check_may_act_for(context: Context, peer: Peer, user: str) -> None:
    """Raises Refusal; not for an unknown user, of whom the page learns only what PAM says."""
    if has_account(user) or not context.access.is_page(peer):
        context.access.on_behalf(peer, user)


@handles(LoginResultRequest)
def login_result(context: Context, peer: Peer, request: LoginResultRequest) -> LoginResultAnswer:
    accepted = context.passwords.result(peer.uid, request.check)
    return {"done": accepted is not None, "accepted": accepted is True}
