"""An OPC UA session whose answers are checked: asyncua packs the messages, the socket is ours.

asyncua's own client works in the background: it reads ahead, keeps alive, renews and reconnects by
itself. Here one service call is one question and one whole answer through `asking.Asker`:

    HEL ─▶ ACK     OPN ─▶ secure channel     CreateSession, ActivateSession ─▶ session
    Read / Write ─▶ sequence, channel, request id, request handle, type, status, count checked
                          └─▶ anything else ─▶ socket closed ─▶ PlcError

The channel is renewed before a request, once three quarters of its life are over. A session outlives
its connection in the PLC, and a PLC has few of them: so a new connection takes the old session up again
(ActivateSession alone), and makes a new one only where the PLC refuses that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.common.utils import Buffer, create_nonce
from asyncua.crypto import security_policies, uacrypto
from asyncua.ua.ua_binary import (
    header_from_binary,
    nodeid_from_binary,
    struct_from_binary,
    struct_to_binary,
    uatcp_to_binary,
)

from inspection.errors import PlcError
from inspection.plc.asking import Asker, short
from inspection.plc.opcua_credentials import Credentials, ua

SESSION_TIMEOUT = 10.0
"""Seconds without a request after which the PLC may end a session: lost ones must not pile up there."""
CHANNEL_LIFETIME = 3600.0
"""Seconds asked for; the PLC may give less."""

_Result = TypeVar("_Result")


_HEAD = 8
_CHUNK = 65535
_CHUNKS = 16
_KINDS = (b"ACK", b"ERR", b"OPN", b"MSG")

_REMEDIES = {
    "BadNodeIdUnknown": "check ctrl_node and stat_node: there is no such node",
    "BadNodeIdInvalid": "check ctrl_node and stat_node: that is no node of this PLC",
    "BadNotReadable": "make the variable readable from OPC UA in the PLC's project",
    "BadNotWritable": "make STAT writable from OPC UA in the PLC's project",
    "BadUserAccessDenied": "check user and password, and what this user may do",
    "BadIdentityTokenRejected": "check user and password",
    "BadIdentityTokenInvalid": "check user and password",
    "BadTypeMismatch": "check that STAT is an array of 16 elements of the configured type",
    "BadOutOfRange": "check that STAT is an array of 16 elements of the configured type",
    "BadTooManySessions": "close other OPC UA clients, or allow more sessions in the PLC",
    "BadMaxConnectionsReached": "close other OPC UA clients, or allow more sessions in the PLC",
    "BadSecurityChecksFailed": "trust the station's certificate in the PLC",
    "BadCertificateUntrusted": "trust the station's certificate in the PLC",
    "BadCertificateUriInvalid": "make the station's certificate anew with its application URI",
    "BadCertificateTimeInvalid": "check both clocks and how long the certificates are valid",
    "BadSecurityPolicyRejected": "check security: the PLC does not offer this policy",
    "BadSecurityModeRejected": "check security: the PLC does not offer this mode",
    "BadTcpEndpointUrlInvalid": "check the path in url",
}


class Session:
    """One secure channel and one session. Every fault closes the socket and raises PlcError."""

    def __init__(
        self, where: str, url: str, asker: Asker, credentials: Credentials, timeout: float
    ) -> None:
        """Nothing is opened before `open`.

        Args:
            where: names the PLC in messages.
            url: of the endpoint.
            asker: asks over the socket.
            credentials: who the station is.
            timeout: told to the PLC with each request, in seconds.
        """
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # faults are raised as PlcError
        self._where = where
        self._url = url
        self._asker = asker
        self._credentials = credentials
        self._timeout = timeout
        self._policy: Any = None
        self._channel: Any = None
        self._session: Any = None
        """As the PLC told when it was made; None when there is none to take up again."""
        self._nonce = b""
        self._number = 0
        self._renew_at = float("inf")

    def open(self, advice: str) -> None:
        """Open a fresh socket and secure channel, and take up the old session or open a new one.

        Args:
            advice: what to check at this PLC when nobody answers.

        Raises:
            PlcError: the PLC did not agree in time; the socket is closed.
        """
        self._open_link(advice)
        old = self._session
        if old is not None:
            self._session = None  # taken up again, or given up
            if self._activate(old, again=True):
                self._session = old
                return
        new = self._created()
        self._activate(new)
        self._session = new

    def read(self, what: str, node: Any, take: Callable[[Any], _Result]) -> _Result:
        """Read the value of a node with one Read.

        Args:
            what: names the request in messages.
            node: the node's id.
            take: turns the good `ua.Variant` into the result. Raises: it is not what was expected.

        Raises:
            PlcError: no whole, right and good answer in time; the socket is closed.
        """
        request: Any = ua.ReadRequest()
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Neither
        wanted = ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value)
        request.Parameters.NodesToRead = [wanted]

        def taken(response: Any) -> _Result:
            (told,) = response.Results
            self._check(what, told.StatusCode)
            if told.Value is None:
                raise ValueError("the answer has no value")
            return take(told.Value)

        with self._whole(what):
            self._renew_when_due()
            return self._call(what, request, ua.ReadResponse, taken)

    def write(self, what: str, node: Any, value: Any) -> None:
        """Write a `ua.Variant` to a node with one Write. Raises PlcError as `read` does."""
        request: Any = ua.WriteRequest()
        item: Any = ua.WriteValue(NodeId=node, AttributeId=ua.AttributeIds.Value)
        # Value alone: most PLCs refuse a write that brings a status or a time.
        item.Value = ua.DataValue(Value=value, StatusCode=None)
        request.Parameters.NodesToWrite = [item]

        def taken(response: Any) -> None:
            (status,) = response.Results
            self._check(what, status)

        with self._whole(what):
            self._renew_when_due()
            self._call(what, request, ua.WriteResponse, taken)

    def close(self) -> None:
        """End the session in the PLC, where it is whole, and close the socket."""
        try:
            if self._session is not None:
                request: Any = ua.CloseSessionRequest()
                request.DeleteSubscriptions = True
                with self._whole("end"):
                    self._call("end", request, ua.CloseSessionResponse, lambda _: None)
                self._session = None
        except PlcError:
            return  # there was no connection, or there is none now: that is all that was wanted
        finally:
            self._asker.close()

    # ------------------------------------------------------------------ channel and session

    def _open_link(self, advice: str) -> None:
        self._asker.connect(advice)
        self._policy = self._credentials.policy()
        limits = TransportLimits(_CHUNK, _CHUNK, _CHUNKS, _CHUNKS * _CHUNK)
        self._channel = SecureConnection(self._policy, limits)
        hello = ua.Hello(EndpointUrl=self._url)
        hello.ReceiveBufferSize = hello.SendBufferSize = _CHUNK
        with self._whole("connection"):
            frame = uatcp_to_binary(ua.MessageType.Hello, hello)
            self._ask("greeting", frame, self._acknowledged)
            self._open_channel(ua.SecurityTokenRequestType.Issue)

    def _acknowledged(self, answer: bytes) -> None:
        told = self._unpacked("greeting", answer)
        if not isinstance(told, ua.Acknowledge):
            raise ValueError(f"it was {type(told).__name__}")  # noqa: TRY004

    def _open_channel(self, kind: Any) -> None:
        request: Any = ua.OpenSecureChannelRequest()
        nonce = create_nonce(self._policy.secure_channel_nonce_length)
        request.Parameters.RequestType = kind
        request.Parameters.SecurityMode = self._policy.Mode
        request.Parameters.RequestedLifetime = int(1000 * CHANNEL_LIFETIME)
        request.Parameters.ClientNonce = nonce
        told = self._call(
            "opening of a secure channel", request, ua.OpenSecureChannelResponse,
            lambda response: response.Parameters, ua.MessageType.SecureOpen,
        )  # fmt: skip
        self._channel.set_channel(told, kind, nonce)
        self._renew_at = time.monotonic() + 0.75e-3 * told.SecurityToken.RevisedLifetime

    def _renew_when_due(self) -> None:
        if time.monotonic() >= self._renew_at:
            self._open_channel(ua.SecurityTokenRequestType.Renew)
            self._channel.revolve_tokens()

    def _created(self) -> Any:
        """Make a session, not yet active."""
        policy, nonce = self._policy, create_nonce(32)
        request: Any = ua.CreateSessionRequest()
        wanted = request.Parameters
        wanted.ClientDescription.ApplicationUri = self._credentials.application_uri
        wanted.ClientDescription.ApplicationName = ua.LocalizedText("inspection")
        wanted.ClientDescription.ApplicationType = ua.ApplicationType.Client
        wanted.EndpointUrl = self._url
        wanted.SessionName = "inspection"
        wanted.ClientNonce = nonce
        wanted.ClientCertificate = policy.host_certificate
        wanted.RequestedSessionTimeout = 1000 * SESSION_TIMEOUT

        def created(response: Any) -> Any:
            told = response.Parameters
            signed = (policy.host_certificate or b"") + nonce
            policy.asymmetric_cryptography.verify(signed, told.ServerSignature.Signature)
            if policy.peer_certificate and told.ServerCertificate != policy.peer_certificate:
                raise ValueError("the session is with another certificate than server_certificate")
            return told

        with self._whole("opening of a session"):
            told = self._call("opening of a session", request, ua.CreateSessionResponse, created)
        self._nonce = told.ServerNonce or b""
        return told

    def _activate(self, session: Any, *, again: bool = False) -> bool:
        """Bind a session to this channel. Returns False: the PLC no longer knows it (only `again`)."""
        what = "activation of the session"
        with self._whole(what):
            policy = self._policy
            request: Any = ua.ActivateSessionRequest()
            wanted = request.Parameters
            if policy.peer_certificate:
                challenge = policy.peer_certificate + self._nonce
                wanted.ClientSignature.Algorithm = policy.AsymmetricSignatureURI
                signed = policy.asymmetric_cryptography.signature(challenge)
                wanted.ClientSignature.Signature = signed
            wanted.LocaleIds = ["en"]
            wanted.UserIdentityToken = self._identity(session)
            request.RequestHeader.AuthenticationToken = session.AuthenticationToken
            told = self._call(
                what, request, ua.ActivateSessionResponse,
                lambda response: response, may_refuse=again,
            )  # fmt: skip
            if told is not None:
                self._nonce = told.Parameters.ServerNonce or b""
            return told is not None

    def _identity(self, session: Any) -> Any:
        """Return the token that says who asks."""
        user = self._credentials.user
        kind = ua.UserTokenType.Anonymous if user is None else ua.UserTokenType.UserName
        offered = [
            token
            for endpoint in session.ServerEndpoints
            if endpoint.SecurityMode == self._policy.Mode
            and endpoint.SecurityPolicyUri == self._policy.URI
            for token in endpoint.UserIdentityTokens
            if token.TokenType == kind
        ]
        if not offered:
            advice = "set user and password_file" if user is None else "leave user out"
            self._raise(f"the PLC offers no session for {kind.name} with this security; {advice}")
        if user is None:
            return ua.AnonymousIdentityToken(PolicyId=offered[0].PolicyId)
        token: Any = ua.UserNameIdentityToken(PolicyId=offered[0].PolicyId, UserName=user)
        secret = self._credentials.password.encode()
        uri = offered[0].SecurityPolicyUri or self._policy.URI
        if uri == security_policies.SecurityPolicyNone.URI:
            if self._policy.Mode != ua.MessageSecurityMode.SignAndEncrypt:
                self._raise("the password would be sent in clear; set security: basic256sha256")
            token.Password = secret
            return token
        certificate: Any = uacrypto.x509_from_der(session.ServerCertificate)
        packed = len(secret + self._nonce).to_bytes(4, "little") + secret + self._nonce
        token.Password, token.EncryptionAlgorithm = security_policies.encrypt_asymmetric(
            certificate.public_key(), packed, uri
        )
        return token

    # ------------------------------------------------------------------ one service call

    def _call(
        self,
        what: str,
        request: Any,
        kind: Any,
        take: Callable[[Any], _Result],
        message_type: Any = ua.MessageType.SecureMessage,
        *,
        may_refuse: bool = False,
    ) -> _Result:
        if not self._asker.is_open:
            raise PlcError(f"{self._where}: {what} without a connection; call connect first")
        self._number = self._number % 0xFFFFFFFF + 1
        number = self._number
        if self._session is not None:
            request.RequestHeader.AuthenticationToken = self._session.AuthenticationToken
        request.RequestHeader.RequestHandle = number
        request.RequestHeader.TimeoutHint = int(1000 * self._timeout)
        frame = self._channel.message_to_binary(
            struct_to_binary(request), message_type=message_type, request_id=number
        )

        def taken(answer: bytes) -> _Result:
            return take(self._response(what, answer, number, kind, may_refuse=may_refuse))

        return self._ask(what, frame, taken)

    def _ask(self, what: str, frame: bytes, decode: Callable[[bytes], _Result]) -> _Result:
        return self._asker.ask(what, frame, _HEAD, _rest, decode, _goes_on)

    def _unpacked(self, what: str, answer: bytes) -> Any:
        """Return what asyncua makes of an answer's chunks. Raises PlcError: the PLC tells an error."""
        data = Buffer(answer)
        told: Any = None
        while data:
            told = self._channel.receive_from_header_and_body(header_from_binary(data), data)
        if isinstance(told, ua.ErrorMessage):
            self._check(what, told.Error)
            raise ValueError("an error without a code came")  # noqa: TRY004
        return told

    def _response(
        self, what: str, answer: bytes, number: int, kind: Any, *, may_refuse: bool
    ) -> Any:
        """Return the good answer to a request; None where it is refused and may be."""
        message = self._unpacked(what, answer)
        if not isinstance(message, ua.Message):
            raise ValueError("no message came")  # noqa: TRY004
        if message.request_id() != number:
            raise ValueError(f"it was for request {message.request_id()}, not {number}")
        body = message.body()
        found = nodeid_from_binary(body.copy())
        fault = found == ua.ServiceFault().TypeId
        if not fault and found != kind().TypeId:
            raise ValueError(f"it was of type {found.Identifier}")
        response: Any = struct_from_binary(ua.ServiceFault if fault else kind, body)
        header = response.ResponseHeader
        if header.RequestHandle != number or body:
            raise ValueError(f"it was for handle {header.RequestHandle}, {len(body)} bytes over")
        if may_refuse and header.ServiceResult.value >> 30:
            return None
        self._check(what, header.ServiceResult)
        if fault:
            raise ValueError("a fault without a code came")
        return response

    @contextmanager
    def _whole(self, what: str) -> Generator[None]:
        """Close the socket when anything fails between the questions of one call."""
        try:
            yield
        except PlcError:
            raise
        except Exception as error:  # asyncua cannot pack, sign or take something
            self._asker.close()
            raise PlcError(
                f"{self._where}: {what} failed ({short(error)}); the socket was closed"
            ) from error
        except BaseException:
            self._asker.close()
            raise

    def _check(self, what: str, status: Any) -> None:
        """Raise PlcError unless a status is good; none at all is good by the standard."""
        if status is None or status.value >> 30 == 0:
            return
        name: str = status.name
        remedy = _REMEDIES.get(name, "see the PLC's OPC UA diagnostics")
        self._raise(f"{what} was refused with {name} (0x{status.value:08X}); {remedy}")

    def _raise(self, message: str) -> NoReturn:
        self._asker.close()
        raise PlcError(f"{self._where}: {message}; the socket was closed")


def _rest(head: bytes) -> int:
    length = int.from_bytes(head[4:8], "little")
    if head[:3] not in _KINDS or head[3:4] not in b"FC" or not _HEAD < length <= _CHUNK + 1:
        raise ValueError(f"no chunk of OPC UA: {head.hex()}")
    return length - _HEAD


def _goes_on(head: bytes) -> bool:
    return head[3:4] == b"C"
