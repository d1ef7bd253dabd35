"""The brain in the box, and what says where a brain came from.

`nano.gguf` is the model that Cabin runs when no other is configured, `nano.gguf.manifest.json` says
what it was made of and how, and `….minisig` is the signature of that.
"""
