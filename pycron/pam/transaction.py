"""One PAM transaction: pam_start(3) to pam_end(3), through the C functions that pamela declares.

pamela's own functions open and close a session with a transaction each, and authenticate before
they set credentials. A command needs account, credentials and session in one transaction, without
a password. The page needs a password checked, and no session.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

import pamela

_CONVERSATION_ERROR = 19  # PAM_CONV_ERR
_PROMPTS = (pamela.PAM_PROMPT_ECHO_OFF, pamela.PAM_PROMPT_ECHO_ON)
_TTY = "cron"  # as in Debian's cron: pam_access(8) and pam_time(8) look at it
_LONGEST_TEXT = 200  # characters of what modules say
# Of pam_acct_mgmt(3): the account may not be used, and the next attempt will find the same.
_REFUSALS = frozenset(
    {6, 7, 10, 12, 13}
)  # PERM_DENIED, AUTH_ERR, USER_UNKNOWN, NEW_AUTHTOK_REQD, ACCT_EXPIRED


class PamFailure(Exception):
    """PAM has not done what it was asked for. `final`: the account may not be used."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class Transaction:
    """A PAM handle; the methods are called in the order in which they stand here.

    Each raises PamFailure, and close() has to follow in any case.
    """

    def __init__(self, service: str, user: str, password: str | None = None) -> None:
        """`password`: the answer to every prompt; None: there is nobody who could answer."""
        self._service = service
        self._password = password
        self._said: list[str] = []
        self._has_credentials = self._has_session = False
        self._conversation = pamela.CONV_FUNC(self._converse)  # PAM keeps its address
        try:
            self._handle = pamela.pam_start(service, user, conv_func=self._conversation)
            self._handle.set_item(pamela.PAM_TTY, _TTY)
        except pamela.PAMError as error:
            raise PamFailure(self._text("start", error.message)) from None

    def check_password(self) -> None:
        """Ask whether the password is the user's."""
        self._do("password", pamela.PAM_AUTHENTICATE, 0)

    def check_account(self) -> None:
        """Ask whether the account may be used: it exists, has not expired, may log in now."""
        self._do("account check", pamela.PAM_ACCT_MGMT, 0, final=_REFUSALS)

    def open(self) -> None:
        """Establish credentials and open the session."""
        self._do("credentials", pamela.PAM_SETCRED, pamela.PAM_ESTABLISH_CRED)
        self._has_credentials = True
        self._do("session", pamela.PAM_OPEN_SESSION, 0)
        self._has_session = True

    def environment(self) -> dict[str, str]:
        """The variables that modules have set."""
        variables = pamela.PAM_GETENVLIST(self._handle)  # not freed: this process ends soon
        found = {}
        index = 0
        while variables and (text := variables[index]) is not None:
            name, _, value = os.fsdecode(text).partition("=")
            found[name] = value
            index += 1
        return found

    def close(self) -> None:
        """Close the session, delete the credentials, end the transaction: as far as they exist."""
        if self._has_session:
            self._try("session", pamela.PAM_CLOSE_SESSION, 0)
        if self._has_credentials:
            self._try("credentials", pamela.PAM_SETCRED, pamela.PAM_DELETE_CRED)
        pamela.PAM_END(self._handle, 0)

    def _do(
        self,
        step: str,
        function: Callable[..., int],
        flags: int,
        final: frozenset[int] = frozenset(),
    ) -> None:
        code = function(self._handle, flags)
        if code != pamela.PAM_SUCCESS:
            reason = pamela.pam_strerror(self._handle, code)
            raise PamFailure(self._text(step, reason), final=code in final)

    def _try(self, step: str, function: Callable[..., int], flags: int) -> None:
        try:
            self._do(step, function, flags)
        except PamFailure as failure:
            sys.stderr.write(f"pam: at the end of a session: {failure}\n")

    def _text(self, step: str, reason: str) -> str:
        """A line such as `PAM (service pycron): account check: User account has expired (…)`."""
        said = " ".join(self._said)
        printable = "".join(each if each.isprintable() else "?" for each in said)
        more = f" ({printable[:_LONGEST_TEXT]})" if said else ""
        return f"PAM (service {self._service}): {step}: {reason}{more}"

    def _converse(self, count: int, messages: Any, answers: Any, _data: Any) -> int:
        """Answer the prompts of PAM modules; PAM calls this for each of their messages."""
        # The caller frees the answers.
        memory = pamela.CALLOC(count, ctypes.sizeof(pamela.PamResponse))
        answers[0] = ctypes.cast(memory, ctypes.POINTER(pamela.PamResponse))
        for index in range(count):
            message = messages[index].contents
            if message.msg_style in _PROMPTS:
                if self._password is None:
                    return _CONVERSATION_ERROR
                # The caller frees each answer, too.
                answers[0][index].resp = pamela.STRDUP(self._password.encode())
                answers[0][index].resp_retcode = 0
            text = ctypes.cast(message.msg, ctypes.c_char_p).value or b""
            if message.msg_style == pamela.PAM_ERROR_MSG:
                self._said.append(text.decode("utf-8", "replace").strip())
        return int(pamela.PAM_SUCCESS)
