"""Models of other software: folders of Hugging Face and GGUF files, read and written.

`foreign` is the form in which all formats meet; `families` knows the names and settings
of each kind of model. Nothing here needs torch or transformers.
"""
