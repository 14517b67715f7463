"""Schedulers of Karras et al. 2022's parameterisation."""

CLASSES = {}
