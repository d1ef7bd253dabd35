"""Looking inside a model: what each part does with a text, and what happens without it.

subject    a model from a run, a Hugging Face folder or a GGUF file, with its words
hooks      record what flows, or change it; nothing stays behind
views      loss and alternatives by token, the logit lens, attention
ablation   heads and neurons, left out
induction  heads that look for what came after the same token before
direction  differences of means: what they separate, and steering with them
refusal    the shipped brain: call a tool, or decline
plots      pictures
report     a page with all of it
"""
