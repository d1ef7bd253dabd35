"""Answers from documents: found, quoted word for word, and checked against where they stand."""
