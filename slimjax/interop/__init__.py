"""Models of other software: folders of Hugging Face and GGUF files, read and written.

`foreign` is the form in which all formats meet; `families` knows the names and settings
of each kind of model. `gguf_reading` and `gguf_writing` are the two ways between it and
a GGUF file, and `gguf_layout` has the names of tensors there. Nothing here needs torch
or transformers.
"""
