"""Two sides that cannot agree on certificates: no waiting helps, and the reason is known."""

from __future__ import annotations

from ferryman.errors import StoreDenied, StoreError

_OURS_REFUSED = tuple(
    f"ALERT_{alert}"
    for alert in (
        "CERTIFICATE_REQUIRED", "UNKNOWN_CA", "BAD_CERTIFICATE", "UNSUPPORTED_CERTIFICATE",
        "CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED", "CERTIFICATE_UNKNOWN", "ACCESS_DENIED",
    )
)  # fmt: skip
"""Alerts of a server that wants another certificate of its client, as OpenSSL names them."""


def refusal(text: str, where: str) -> StoreError | None:
    """The error for what a TLS library said; None if it is about something else."""
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return StoreDenied(
            f"{where} has a certificate that is not trusted here: {text}. Name the authority that signed it "
            "by ssl_ca_certs in the URL, and the host as the certificate does."
        )
    if any(alert in text for alert in _OURS_REFUSED):
        return StoreDenied(
            f"{where} wants a certificate that it trusts: {text}. Give one by ssl_certfile and ssl_keyfile "
            "in the URL."
        )
    if "WRONG_VERSION_NUMBER" in text:
        return StoreError(f"{where} does not speak TLS there: {text}. Use redis://, or the port for TLS.")
    return None
