"""Changed copies of training examples: what a change leaves right is learned, too.

`config` is the block ``config.augment``. `characters` and `words` change texts, on the
host, before they become tokens; `texts` draws what is changed. `images` changes pixels
and `mixing` mixes rows, inside of the compiled step. All of it is a function of the
seed, the step and the row, so that a run that continues sees what it would have seen.
Nothing is changed at evaluation.

References: Wei and Zou, "EDA: Easy Data Augmentation Techniques for Boosting
Performance on Text Classification Tasks", 2019; Belinkov and Bisk, "Synthetic and
Natural Noise Both Break Neural Machine Translation", 2018. Back-translation is not
done: it needs a second model.
"""
