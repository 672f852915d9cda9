"""One call that checks a plugin's steps, or its source, against the laws every plugin keeps.

    from factory.testing import check_plugin, check_source, check_step

    def test_my_plugin():
        check_plugin("my_package", options={"my_step": {"words": 3}})

The steps run through the real engine, in temporary projects and in processes of their own, over hostile records of
the type they take. What was found is raised as one AssertionError, a sentence each; what could not be checked stands
in the report that is returned, with the reason.
"""

from __future__ import annotations

from .checking import check_plugin, check_source, check_step
from .report import Finding, Nonconformance, Report

__all__ = ["Finding", "Nonconformance", "Report", "check_plugin", "check_source", "check_step"]
