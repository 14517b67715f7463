"""Schedulers of flow matching."""

CLASSES = {}
