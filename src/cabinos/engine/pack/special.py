"""Writing the vocabulary, the special tokens and the chat template into the GGUF metadata."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cabinos.engine.errors import ModelFileError
from cabinos.engine.pack.vocabulary import TokenType, Vocabulary

if TYPE_CHECKING:
    import gguf

# Tokens that end a turn rather than a text (llama.cpp recognises the same ones by name), most
# specific first. The end-of-message token of Llama 3 ends a turn that calls a tool.
END_OF_TURN = ("<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>")
END_OF_MESSAGE = "<|eom_id|>"


def write_vocabulary(writer: "gguf.GGUFWriter", folder: Path, vocabulary: Vocabulary) -> None:
    """Add `tokenizer.ggml.*` and `tokenizer.chat_template` to `writer`.

    BOS, EOS, UNK, PAD, the add_bos/add_eos flags, the merges and the template come from
    tokenizer.json, tokenizer_config.json and config.json by the rules of gguf's SpecialVocab, which
    llama.cpp's converter uses too. Raises ModelFileError if those files are malformed.
    """
    import gguf

    logging.getLogger("gguf.vocab").setLevel(logging.ERROR)  # it warns of every usual template
    byte_level = vocabulary.model == "gpt2"
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    if not byte_level:
        writer.add_token_scores(vocabulary.scores)
    writer.add_token_types(vocabulary.types)
    if vocabulary.add_space_prefix is not None:
        writer.add_add_space_prefix(vocabulary.add_space_prefix)
    try:
        special = gguf.SpecialVocab(folder, load_merges=byte_level, n_vocab=len(vocabulary.tokens))
        special.add_to_gguf(writer, quiet=True)
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise ModelFileError(f"{folder}: the special tokens are malformed ({error}).") from None
    if byte_level and not special.merges:
        raise ModelFileError(f"{folder}: the tokenizer has no merges.")
    control = {
        text: index
        for index, text in enumerate(vocabulary.tokens)
        if vocabulary.types[index] == TokenType.CONTROL
    }
    ends = [control[text] for text in END_OF_TURN if text in control]
    if ends and "eot" not in special.special_token_ids:
        writer.add_eot_token_id(ends[0])
    if END_OF_MESSAGE in control and "eom" not in special.special_token_ids:
        writer.add_eom_token_id(control[END_OF_MESSAGE])
