"""A run as a page: Markdown and self-contained HTML from the same figures; several runs side by side."""

from srlm.report.comparing import compare_runs
from srlm.report.render import comparison_text, write_comparison, write_pages, write_report

__all__ = ["compare_runs", "comparison_text", "write_comparison", "write_pages", "write_report"]
