"""Reviews whose words decide their label."""

import json
from random import Random

WORDS = {"bad": ["awful", "dull", "poor"], "good": ["fine", "great", "bright"]}


def make_reviews(number, seed=0):
    """Returns examples with a review, its stars and an id."""
    draw, lines = Random(seed), []
    for i in range(number):
        label = draw.choice(sorted(WORDS))
        words = draw.choices(WORDS[label], k=1 + i % 3) + draw.choices(
            "abcdef", k=i % 4
        )
        lines.append({"id": i, "review": f"{' '.join(words)} {i}", "stars": label})
    return lines


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
