"""Lossless compression by prediction: what a model finds likely takes few bits.

stream      whole files, in bounded memory
container   the packed file
chunk       one chunk, to packed bytes and back
spelling    bytes to tokens
predictor   the engine: what comes next, as odds
odds        logits to integers, the same on every machine
tree        the vocabulary as yes-or-no questions
mixer       what the text itself teaches
rangecoder  decisions to bytes
explain     what each token cost
"""
