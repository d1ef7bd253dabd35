"""Retrieval: one `search()` for files, notes, pages, tools and skills."""
