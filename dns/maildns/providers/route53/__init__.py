"""The provider for hosted zones of Amazon Route 53, through boto3."""

from maildns.providers.route53.provider import Route53

__all__ = ["Route53"]
