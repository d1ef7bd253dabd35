"""Speed of transformers (bfloat16) at the shape of a Llama GGUF.

    python bench/engine/transformers_peer.py MODEL.gguf THREADS PROMPT GEN

Either PROMPT tokens at once, or GEN single steps; the other is 0. A process of its own, since
torch's threads would disturb the others. Weights are random: only the shape is read from the file.
"""

import json
import sys
import time
from pathlib import Path

import llama2c_export


def main() -> int:
    path, threads, prompt, gen = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(threads)
    model = llama2c_export.Gguf(path)
    heads = model.number("attention.head_count")
    config = LlamaConfig(
        hidden_size=model.number("embedding_length"),
        intermediate_size=model.number("feed_forward_length"),
        num_hidden_layers=model.number("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=model.number("attention.head_count_kv", heads),
        vocab_size=len(model.strings("tokenizer.ggml.tokens")),
        max_position_embeddings=model.number("context_length"),
        tie_word_embeddings=not model.has("output.weight"),
    )
    with torch.device("meta"):
        network = LlamaForCausalLM(config).to(torch.bfloat16)
    network = network.to_empty(device="cpu").eval()
    with torch.inference_mode():
        for name, values in [*network.named_parameters(), *network.named_buffers()]:
            values.normal_(0, 0.02) if "norm" not in name else values.fill_(1)
        tokens = torch.randint(0, config.vocab_size, (1, max(prompt, 1)))
        state = network(tokens, logits_to_keep=1, use_cache=True).past_key_values  # warm up
        start = time.perf_counter()
        if prompt:
            network(tokens, logits_to_keep=1, use_cache=True)
        for _ in range(gen):
            state = network(tokens[:, :1], use_cache=True, past_key_values=state).past_key_values
        seconds = time.perf_counter() - start
    print(json.dumps({"speed": (prompt + gen) / seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
