"""The town of the tests on cases, for every file of them."""

from tests.acceptance.test_case_to_closed import town

__all__ = ["town"]
