"""asyncua's server with the doors closed that it leaves open.

What asyncua 2.1.0 does by itself, and what is done here instead:

    opens a channel without security even where no such endpoint is   there, only endpoints are told
    trusts every certificate; a validator sees the one that the       the channel's own certificate is
    session claims, and nothing where it claims none                  looked up before anything else
    counts its session tokens from 1000                               32 random bytes
    lets a session speak that was never activated                     only who signed in
    remembers servers that anybody registers                          refused
"""

from __future__ import annotations

import contextvars
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asyncua import Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto import security_policies
from asyncua.crypto.permission_rules import PermissionRuleset, User, UserRole
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession

from inspection_serve.opcua.certificates import TrustList

log = logging.getLogger("inspection.opcua")
POLICIES = [
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
]
_ALLOWED = (
    "Read", "Browse", "TranslateBrowsePathsToNodeIds", "Call", "RegisterNodes", "UnregisterNodes",
    "CreateSubscription", "ModifySubscription", "DeleteSubscriptions", "TransferSubscriptions",
    "CreateMonitoredItems", "ModifyMonitoredItems", "DeleteMonitoredItems", "SetMonitoringMode",
    "SetPublishingMode", "Publish", "Republish", "CloseSecureChannel",
)  # fmt: skip
"""What who signed in may ask for: nothing that writes."""

CALLER: contextvars.ContextVar[SignedIn | None] = contextvars.ContextVar("caller", default=None)
"""Who calls the method that runs now."""
SESSION: contextvars.ContextVar[Session | None] = contextvars.ContextVar("session", default=None)
"""The session of the method that runs now."""


@dataclass
class SignedIn(User):
    """Who signed in.

    Attributes:
        login: of the store's person.
        role_name: of the person, as the store has it.
        password: the hash against which they signed in; another one ends the session.
    """

    login: str = ""
    role_name: str = ""
    password: str = ""


class _RefusedError(ua.uaerrors.BadRequestTooLarge):
    """Raised while a channel opens: the one kind of error that asyncua tells a client at that time."""

    code = ua.StatusCodes.BadSecurityChecksFailed


class _Rules(PermissionRuleset):
    def __init__(self, is_welcome: Callable[[SignedIn], bool]) -> None:
        self._allowed = {
            ua.NodeId(getattr(ua.ObjectIds, f"{name}Request_Encoding_DefaultBinary"))
            for name in _ALLOWED
        }
        self._is_welcome = is_welcome

    def check_validity(self, user: Any, action_type: Any, body: Any) -> bool:
        del body
        if action_type not in self._allowed or not isinstance(user, SignedIn):
            return False
        return self._is_welcome(user)


class _Nothing(PermissionRuleset):
    def check_validity(self, user: Any, action_type: Any, body: Any) -> bool:
        del user, action_type, body
        return False


class _TrustingFactory(security_policies.SecurityPolicyFactory):
    """Makes the security of a channel for a client whose certificate is trusted; refuses the others."""

    trust: TrustList

    def create(self, peer_certificate: bytes | None) -> Any:
        why = self.trust.refusal(peer_certificate)
        if why:
            log.warning("a client is refused: %s", why)
            raise _RefusedError
        return super().create(peer_certificate)


class _DiscoveryFactory(security_policies.SecurityPolicyFactory):
    """Makes channels without security, for asking which endpoints there are. Who they are is not known."""

    def create(self, peer_certificate: bytes | None) -> Any:
        del peer_certificate
        return super().create(None)


class Session(InternalSession):
    """A session of the client that opened the channel, and of no other."""

    def __init__(self, server: Any, name: str, user: User, *, external: bool) -> None:
        super().__init__(server, server.aspace, server.subscription_service, name, user=user)
        self._certificate: bytes | None = None
        self.external = external
        if external:
            self.auth_token = ua.NodeId(secrets.token_bytes(32), 0, ua.NodeIdType.ByteString)
            server.register_external_session(self)

    async def create_session(self, params: Any, sockname: Any = None) -> Any:
        """Begin it for the client's certificate. Raises ServiceError: there is none."""
        if not params.ClientCertificate:
            raise ServiceError(ua.StatusCodes.BadCertificateInvalid)
        self._certificate = params.ClientCertificate
        return await super().create_session(params, sockname)

    def activate_session(self, params: Any, peer_certificate: bytes | None) -> Any:
        """Sign in. Raises ServiceError: the channel is another client's, or name or password is wrong."""
        if not peer_certificate or peer_certificate != self._certificate:
            raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
        return super().activate_session(params, peer_certificate)

    async def call(self, params: Any) -> Any:
        """Call methods, which find out here who calls."""
        before = CALLER.set(self.user if isinstance(self.user, SignedIn) else None)
        session = SESSION.set(self)
        try:
            return await super().call(params)
        finally:
            SESSION.reset(session)
            CALLER.reset(before)

    def is_gone(self, silence: float) -> bool:
        """Tell whether it was closed, or has said nothing that was allowed for so many seconds."""
        return not self.is_activated() or time.monotonic() - self._last_activity > silence


class _Internal(InternalServer):
    def create_session(self, name: str, user: Any = None, external: bool = False) -> Any:
        role = user if user is not None else User(role=UserRole.Anonymous)
        return Session(self, name, role, external=external)

    def register_server(self, server: Any, conf: Any = None) -> None:
        del server, conf
        raise ServiceError(ua.StatusCodes.BadServiceUnsupported)


class GuardedServer(Server):
    """asyncua's server; only who has a trusted certificate and signs in is heard."""

    def __init__(
        self, user_manager: Any, trust: TrustList, is_welcome: Callable[[SignedIn], bool]
    ) -> None:
        """Nothing listens yet.

        Args:
            user_manager: asyncua's `UserManager`: returns a `SignedIn`, or None.
            trust: the client certificates that are trusted.
            is_welcome: tells whether somebody who signed in may go on.
        """
        super().__init__(iserver=_Internal(user_manager=user_manager))
        self._trust = trust
        self.iserver.allow_remote_admin = False
        self.set_security_policy(POLICIES, permission_ruleset=_Rules(is_welcome))
        self.set_identity_tokens([ua.UserNameIdentityToken])

    async def _setup_server_nodes(self) -> None:
        await super()._setup_server_nodes()
        guarded: list[Any] = []
        for policy in self._policies:
            factory = _TrustingFactory(
                policy.cls, policy.mode, policy.certificate, policy.private_key, policy.permission_ruleset
            )  # fmt: skip
            factory.trust = self._trust
            guarded.append(factory)
        guarded.append(
            _DiscoveryFactory(
                security_policies.SecurityPolicyNone,
                ua.MessageSecurityMode.None_,
                permission_ruleset=_Nothing(),
            )
        )
        self._policies = guarded
