"""Rendering: what a model, a tool or a page says, made fit to be shown to a person."""
