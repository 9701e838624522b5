"""Places that hold zones, each behind `maildns.provider.Provider`; and zones as files."""
