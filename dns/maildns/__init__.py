"""The DNS of a fleet that sends mail: what has to be published, where, and whether the world sees it."""

from dns import _features

# Nothing here speaks DNS over HTTPS. dnspython loads an HTTP client for it wherever one is installed, which
# takes longer than all the rest of it; this is its own way to say that the feature is not there.
_features.force("doh", False)
