"""Schedulers of distilled models, and samplers that no other group has."""

CLASSES = {}
