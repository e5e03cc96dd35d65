"""Pretraining on synthetic series: the prior, the training and its evaluation. Run with ``python -m``."""
