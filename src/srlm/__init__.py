"""Self-rewarding language models: train M1, M2, M3 ... by letting the model judge its own answers."""

from importlib.metadata import version

__version__ = version("srlm")
