"""An AWS account: its client, its list of zones, and what goes wrong with either in one line."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import dns.exception
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from maildns.provider import ProviderError
from maildns.providers.route53.codec import Raw, decode_name

ZONES_A_PAGE = 100
SETS_A_PAGE = 300
"""The most that Amazon gives at once."""

ATTEMPTS = 10
"""Of one request; adaptive mode also slows all threads down to what the account is allowed."""

REGION = "us-east-1"

CONFIG = Config(
    retries={"mode": "adaptive", "total_max_attempts": ATTEMPTS},
    connect_timeout=10,
    read_timeout=60,
    max_pool_connections=32,
)

_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
)
_NOT_ACCEPTED = {
    "ExpiredToken": "have expired",
    "ExpiredTokenException": "have expired",
    "RequestExpired": "were used with a clock that is wrong",
    "InvalidClientTokenId": "are not known to Amazon",
    "UnrecognizedClientException": "are not known to Amazon",
    "InvalidAccessKeyId": "are not known to Amazon",
    "SignatureDoesNotMatch": "have a wrong secret half, or the clock here is wrong",
    "InvalidSignature": "have a wrong secret half, or the clock here is wrong",
    "InvalidSignatureException": "have a wrong secret half, or the clock here is wrong",
    "IncompleteSignature": "are malformed",
    "MissingAuthenticationToken": "are missing",
}
_WHERE = (
    "AWS looks in the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE), in ~/.aws/credentials and "
    "~/.aws/config, and at the role of the machine"
)
_HELD_BACK = {"Throttling", "ThrottlingException", "PriorRequestNotComplete"}


class Account:
    """One client and one list of zones for a whole run. Threads share it."""

    def __init__(self, profile: str | None, endpoint: str | None, keys: tuple[str, str] | None) -> None:
        """Connect to nothing yet. `keys`: access key id and secret access key."""
        self._profile = profile
        self._keys = keys or (None, None)
        self._endpoint = endpoint
        self._lock = threading.RLock()
        self._client: Any = None
        self._zones: dict[str, tuple[str, ...]] | None = None

    def zone_id(self, zone: str) -> str:
        """The id of the public hosted zone of that name. All zones are listed once.

        Raises:
            ProviderError: none, or several.
        """
        with self._lock:
            if self._zones is None:
                self._zones = self._list_zones()
            ids = self._zones.get(zone, ())
        if not ids:
            raise ProviderError(
                f"Route 53 has no public hosted zone {zone} for {self._who}; is it the right account?"
            )
        if len(ids) > 1:
            raise ProviderError(
                f"Route 53 has several public hosted zones {zone}: {', '.join(ids)}; "
                f"delete all but the one that {zone} is delegated to"
            )
        return ids[0]

    def record_sets(self, zone: str) -> Iterator[Raw]:
        """Everything in a zone, page by page.

        Raises:
            ProviderError: it cannot be read.
        """
        zone_id = self.zone_id(zone)
        start: dict[str, str] = {}
        while True:
            with self.asking(f"reading {zone}"):
                page = self.client.list_resource_record_sets(
                    HostedZoneId=zone_id, MaxItems=str(SETS_A_PAGE), **start
                )
            yield from page["ResourceRecordSets"]
            if not page["IsTruncated"]:
                return
            start = {
                f"StartRecord{what}": page[f"NextRecord{what}"]
                for what in ("Name", "Type", "Identifier")
                if f"NextRecord{what}" in page
            }

    @property
    def client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        """The boto3 client; call it within `asking`."""
        with self._lock:
            if self._client is None:
                key_id, key = self._keys
                session = boto3.Session(
                    aws_access_key_id=key_id, aws_secret_access_key=key, profile_name=self._profile
                )
                # The service has no regions; its partition (China has its own) follows from the region.
                self._client = session.client(
                    "route53",
                    region_name=session.region_name or REGION,
                    endpoint_url=self._endpoint,
                    config=CONFIG,
                )
            return self._client

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Turn whatever boto3 raises into one line that begins with `what`.

        Raises:
            ProviderError: no answer, or a refusal.
        """
        try:
            yield
        except _NO_CREDENTIALS as error:
            raise ProviderError(f"{what} at Route 53: {_line(error)}; {_WHERE}") from None
        except ClientError as error:
            raise self._refused(what, error) from None
        except (BotoCoreError, dns.exception.DNSException, ValueError) as error:  # ValueError: the endpoint
            raise ProviderError(f"{what} at Route 53: {_line(error)}") from None

    def _refused(self, what: str, error: ClientError) -> ProviderError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _NOT_ACCEPTED:
            why = f"the credentials of {self._who} {_NOT_ACCEPTED[code]} ({code})"
            return ProviderError(f"{what} at Route 53: {why}; {_WHERE}")
        message = _line(error.response.get("Error", {}).get("Message", ""))
        said = f"{what} at Route 53: {code}: {message}".rstrip(": ")
        if code in _HELD_BACK:
            said += f" (still after {ATTEMPTS} attempts)"
        return ProviderError(said)

    @property
    def _who(self) -> str:
        if self._keys[0]:
            return f"the access key {self._keys[0]}"
        return f"profile {self._profile}" if self._profile else "the default profile"

    def _list_zones(self) -> dict[str, tuple[str, ...]]:
        """Public zones by name: a private one of the same name is for the insides of a network."""
        found: dict[str, tuple[str, ...]] = {}
        start: dict[str, str] = {}
        while True:
            with self.asking("listing hosted zones"):
                page = self.client.list_hosted_zones(MaxItems=str(ZONES_A_PAGE), **start)
                for each in page["HostedZones"]:
                    if not each.get("Config", {}).get("PrivateZone"):
                        name = decode_name(each["Name"])
                        found[name] = (*found.get(name, ()), each["Id"].removeprefix("/hostedzone/"))
            if not page["IsTruncated"]:
                return found
            start = {"Marker": page["NextMarker"]}


def _line(text: object) -> str:
    """One line of at most a few hundred characters: some of Amazon's messages are pages."""
    return re.sub(r"\s+", " ", str(text)).strip()[:400]
