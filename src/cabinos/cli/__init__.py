"""The `cabin` command: one file for each verb, imported only when it is used."""
