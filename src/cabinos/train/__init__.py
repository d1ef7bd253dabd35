"""The workshop: from public texts to a model file that the engine runs.

    sources → documents → corpus → tokenizer → pretrain (model, optimizer, loop) → export

One file a step. torch is imported inside the functions that need it, so that the command line
stays quick without it.
"""
