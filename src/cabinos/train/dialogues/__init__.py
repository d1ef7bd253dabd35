"""Stage 2's data: conversations from a typed grammar, every call of which was really made.

phrases    a small language for the many ways to say one thing
script     what a conversation is before anything has been executed
families/  one file for each thing that people ask for
stage      performs a script with the real devices: what they return is what the model reads
generate   as many conversations as wanted, the same for the same seed
"""
