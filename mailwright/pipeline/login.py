"""What a job is given to log in with, for as long as it lasts: SSH keys out of the secrets, AWS by OIDC."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from mailwright.model.errors import MailwrightError, MissingSecretError
from mailwright.model.site import Site
from mailwright.pipeline.forge import Api
from mailwright.recovery import key_files, write_private

_AUDIENCE = "sts.amazonaws.com"
_REGION = "us-east-1"
"""Route 53 has one endpoint for the world, and its requests are signed for this region."""


@contextmanager
def ssh_keys(site: Site) -> Iterator[list[Path]]:
    """Put the SSH keys that are secrets where the fleet file wants them, and take them away again.

    A key that is there already stays, and one that is no secret is left to whoever runs the machine.

    Raises:
        MailwrightError: one cannot be written.
    """
    made: list[Path] = []
    try:
        for name, path in key_files(site.fleet).items():
            if path.exists():
                continue
            try:
                text = site.secrets.get(name)
            except MissingSecretError:
                continue
            write_private(path, text)
            made.append(path)
        yield made
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def aws(environ: Mapping[str, str]) -> dict[str, str]:
    """Credentials for AWS_ROLE_ARN, as variables: an hour's, for the job's own token; nothing without a role.

    GitHub gives the token to whoever has `id-token: write`, GitLab puts it into the variable that `id_tokens`
    names (AWS_ID_TOKEN). AWS trusts it for what it says of repository, branch and environment.

    Raises:
        MailwrightError: there is no token, or AWS does not take it.
    """
    role = environ.get("AWS_ROLE_ARN")
    if not role or environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):  # then boto3 does it alone
        return {}
    import boto3  # noqa: PLC0415 - takes longer to load than all of ours
    from botocore import UNSIGNED  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    number = environ.get("GITHUB_RUN_ID") or environ.get("CI_JOB_ID") or "job"
    try:
        sts = boto3.client("sts", region_name=_REGION, config=Config(signature_version=UNSIGNED))
        given = sts.assume_role_with_web_identity(
            RoleArn=role,
            RoleSessionName=re.sub(r"[^\w+=,.@-]", "-", f"mailwright-{number}"),
            WebIdentityToken=_token(environ),
        )["Credentials"]
    except (BotoCoreError, ClientError) as error:
        raise MailwrightError(f"AWS does not let this job be {role}: {error}") from None
    return {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }


def _token(environ: Mapping[str, str]) -> str:
    """The job's identity token (https://docs.github.com/en/actions/reference/security/oidc)."""
    if token := environ.get("AWS_ID_TOKEN"):
        return token
    url = environ.get("ACTIONS_ID_TOKEN_REQUEST_URL")
    if not url:
        raise MailwrightError(
            "AWS_ROLE_ARN is set, and this job has no identity token: `permissions: {id-token: write}` on "
            "GitHub, `id_tokens: {AWS_ID_TOKEN: {aud: sts.amazonaws.com}}` on GitLab"
        )
    bearer = {"Authorization": f"Bearer {environ['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"}
    return str(Api(bearer).send("GET", f"{url}&audience={quote(_AUDIENCE)}")["value"])
