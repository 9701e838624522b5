"""The suite's hooks and fixtures. `pytest tests/hosts --inventory inventory/prod.yaml` runs it by hand."""

from mailwright.verify.plugin import (
    fault,
    pytest_addoption,
    pytest_collection_finish,
    pytest_configure,
    pytest_generate_tests,
    pytest_sessionfinish,
)

__all__ = [
    "fault",
    "pytest_addoption",
    "pytest_collection_finish",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_sessionfinish",
]
