"""Makes a tiny language model in seconds, with no training: `python tools/make_tiny_model.py OUT`.

It is a lookup table dressed as a transformer. Count which token follows which in a book, and let
row t of the embedding be log P(next | t) itself: the residual stream then *is* the prediction.

    embedding    row t = [ log P(· | t), c_t, 0 … ]      c_t makes every row equally long
    one layer    attention and feed-forward write zeros, so the residual passes through
    final norm   divides by the same length for every t, and its weight multiplies it back
    output head  [ identity, 0 … ]                       logits = log P(· | t)

The result is an ordinary Llama file in GGUF that any runtime opens. It dreams in bigrams: the words
are right, the story is not. The book is The Wonderful Wizard of Oz (L. Frank Baum, 1900, public
domain), in oz.txt beside this file.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

BOOK = Path(__file__).with_name("oz.txt")
VOCABULARY = 2016  # a multiple of 32, so that c_t sits in a Q8_0 group of its own
WIDTH = VOCABULARY + 32
HEADS, KV_HEADS = 32, 8  # of 64 dimensions each
FEED_FORWARD = 64
END = "<|endoftext|>"


def train_tokenizer(text: str) -> Tokenizer:
    """A byte-level BPE tokenizer (GPT-2's kind) for `text`, with `END` as token 0."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def bigram_logits(ids: list[int]) -> np.ndarray:
    """The matrix log P(next | current): float32 [VOCABULARY, VOCABULARY], rows of mean zero.

    Witten-Bell smoothing (Witten & Bell 1991): a token seen before n others, u of them different,
    leaves u / (n + u) of its probability to the unigram distribution.
    """
    counts = np.zeros((VOCABULARY, VOCABULARY))
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    unigram = counts.sum(0) + 0.01
    unigram /= unigram.sum()
    novel = np.maximum((counts > 0).sum(1, keepdims=True), 1)
    logits = np.log((counts + novel * unigram) / (counts.sum(1, keepdims=True) + novel))
    return np.asarray(logits - logits.mean(1, keepdims=True), dtype=np.float32)


def tensors(logits: np.ndarray) -> dict[str, np.ndarray]:
    """The model's tensors by their GGUF names, float32, matrices as [outputs, inputs]."""
    length = np.linalg.norm(logits, axis=1)
    radius = float(length.max())
    embedding = np.zeros((VOCABULARY, WIDTH), np.float32)
    embedding[:, :VOCABULARY] = logits
    embedding[:, VOCABULARY] = np.sqrt(np.maximum(radius**2 - length**2, 0))
    head_size = WIDTH // HEADS
    layer = {
        "attn_norm": np.ones(WIDTH, np.float32),
        "attn_q": np.zeros((HEADS * head_size, WIDTH), np.float32),
        "attn_k": np.zeros((KV_HEADS * head_size, WIDTH), np.float32),
        "attn_v": np.zeros((KV_HEADS * head_size, WIDTH), np.float32),
        "attn_output": np.zeros((WIDTH, HEADS * head_size), np.float32),
        "ffn_norm": np.ones(WIDTH, np.float32),
        "ffn_gate": np.zeros((FEED_FORWARD, WIDTH), np.float32),
        "ffn_up": np.zeros((FEED_FORWARD, WIDTH), np.float32),
        "ffn_down": np.zeros((WIDTH, FEED_FORWARD), np.float32),
    }
    return {
        "token_embd.weight": embedding,
        **{f"blk.0.{name}.weight": value for name, value in layer.items()},
        # RMSNorm divides by radius / sqrt(WIDTH) whatever the token; its weight undoes that.
        "output_norm.weight": np.full(WIDTH, radius / WIDTH**0.5, np.float32),
        "output.weight": np.eye(VOCABULARY, WIDTH, dtype=np.float32),
    }


def write(path: Path, tokenizer: Tokenizer, weights: dict[str, np.ndarray]) -> None:
    """Write a Llama-architecture GGUF file: matrices in Q8_0, vectors in F32."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny Oz bigrams")
    writer.add_description("A bigram table of The Wonderful Wizard of Oz, written as a transformer")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_block_count(1)
    writer.add_context_length(2048)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    vocabulary = tokenizer.get_vocab()
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(pieces)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if piece == END else gguf.TokenType.NORMAL for piece in pieces]
    )
    writer.add_token_merges(merges(tokenizer))
    writer.add_bos_token_id(vocabulary[END])
    writer.add_eos_token_id(vocabulary[END])
    writer.add_add_bos_token(False)
    for name, value in weights.items():
        if value.ndim == 1:
            writer.add_tensor(name, value)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def merges(tokenizer: Tokenizer) -> list[str]:
    """The BPE merges in order of rank, each as "left right"."""
    pairs = json.loads(tokenizer.to_str())["model"]["merges"]
    return [pair if isinstance(pair, str) else " ".join(pair) for pair in pairs]


def main(arguments: list[str] | None = None) -> None:
    """Command line; `arguments` stands in for sys.argv[1:]."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the GGUF file to write")
    path: Path = parser.parse_args(arguments).out
    text = BOOK.read_text(encoding="utf-8")
    tokenizer = train_tokenizer(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, tokenizer, tensors(bigram_logits(tokenizer.encode(text).ids)))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {VOCABULARY} tokens, 1 layer")


if __name__ == "__main__":
    main()
