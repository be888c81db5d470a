"""A run as a page: Markdown and self-contained HTML from the same figures; several runs side by side."""

from srlm.report.render import write_comparison, write_report

__all__ = ["write_comparison", "write_report"]
