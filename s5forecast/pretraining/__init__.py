"""Pretraining on synthetic series: the prior and the training. Run ``python -m s5forecast.pretraining``."""
