"""A run as a page: Markdown and self-contained HTML from the same figures."""

from srlm.report.render import write_report

__all__ = ["write_report"]
