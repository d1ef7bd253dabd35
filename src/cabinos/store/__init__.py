"""One SQLite file that holds everything Cabin must not forget. See schema.sql."""
