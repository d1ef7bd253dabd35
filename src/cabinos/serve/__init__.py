"""Faces over HTTP."""
