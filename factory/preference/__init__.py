"""Answers are compared here: sampled, judged by models and by people, made into the pairs that trainers learn from."""

from __future__ import annotations
