"""Logits and tokens of llama.cpp, with a cache in float32."""

import numpy as np


def load(path, length=192, **options):
    """Returns llama.cpp's model of a file."""
    import llama_cpp

    return llama_cpp.Llama(
        str(path),
        n_ctx=length,
        n_batch=length,
        n_ubatch=length,
        n_threads=1,
        n_threads_batch=1,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        logits_all=True,
        verbose=False,
        **options,
    )


def logits_of(path, tokens):
    """Returns the logits of each position, ``[T V]``."""
    model = load(path, max(192, len(tokens)))
    model.eval(list(tokens))
    return np.array(model.scores[: len(tokens)])


def requantize(path, output, kind=0):
    """Writes a file of another type, float32 by default, of all of its weights."""
    import llama_cpp

    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype, options.allow_requantize, options.nthread = kind, True, 1
    code = llama_cpp.llama_model_quantize(
        str(path).encode(), str(output).encode(), options
    )
    assert code == 0
    return output


def continue_greedily(path, tokens, count):
    """Returns the `count` most likely next tokens."""
    model = load(path)
    model.eval(list(tokens))
    found = []
    for _ in range(count):
        found.append(int(np.argmax(model.scores[model.n_tokens - 1])))
        model.eval(found[-1:])
    return found


def ids_of(model, text):
    """Returns the ids of a text; what spells a special token is text."""
    return model.tokenize(text.encode(), add_bos=False, special=False)
