"""Conversations: the messages so far are read, and the next one is written.

The last message of an example is what is learned, if it is the assistant's. A finished
model answers the messages before it, or all, where the last one is another's.
"""

import dataclasses

from slimjax.data.encoding import Prepared
from slimjax.data.material import Material
from slimjax.data.pairs import prepare_source, prepare_target, target_length
from slimjax.text.examples import Example
from slimjax.text.reading import BadDocument

MESSAGES = "messages"
"""Name of the value."""

ANSWER = "answer"
"""Name of the last message, where it is a value of its own."""

ASSISTANT = "assistant"
"""The role whose messages are written."""


def prepare_chats(material: Material) -> list[Prepared]:
    """Returns the columns of what is read, and of answers if there are examples."""
    texts = {
        split: [
            dataclasses.replace(example, values={MESSAGES: _texts(example)})
            for example in examples
        ]
        for split, examples in material.splits.items()
    }
    own = dataclasses.replace(material, splits=texts)
    tokenizer, config = own.tokenizer(MESSAGES), material.config
    source = prepare_source(read_past, tokenizer, tokenizer, config, keep_end=True)
    if not any(material.splits.values()):
        return [source]
    target = prepare_target(read_answer, tokenizer, target_length(config))
    return [source, dataclasses.replace(target, check=check_answer)]


def read_past(example: Example) -> str:
    """Returns the messages before the answer, one line each.

    Examples:
        >>> messages = (("user", "Hi."), ("assistant", "Hello!"))
        >>> read_past(Example({"messages": messages}, "", 0))
        'user: Hi.'
    """
    messages = take_apart(example).values[MESSAGES]
    return "\n".join(f"{role}: {content}" for role, content in messages)


def take_apart(example: Example) -> Example:
    """Returns an example whose messages end before the answer, which stands beside.

    Examples:
        >>> messages = (("user", "Hi."), ("assistant", "Hello!"))
        >>> take_apart(Example({"messages": messages}, "", 0)).values
        {'messages': (('user', 'Hi.'),), 'answer': 'Hello!'}
    """
    messages = example.values[MESSAGES]
    if messages[-1][0] != ASSISTANT:
        return example
    own = {MESSAGES: messages[:-1], ANSWER: messages[-1][1]}
    return dataclasses.replace(example, values={**example.values, **own})


def read_answer(example: Example) -> str:
    """Returns the last message."""
    return example.values[MESSAGES][-1][1]


def check_answer(example: Example) -> BadDocument | None:
    """Returns what is wrong with an example that has no answer to be learned."""
    messages = example.values[MESSAGES]
    role = messages[-1][0]
    if role == ASSISTANT and len(messages) > 1:
        return None
    if role == ASSISTANT:
        return example.bad("no_question", "has an answer and nothing before it.")
    problem = f"ends with a message of {role}; the last one must be {ASSISTANT}'s."
    return example.bad("no_answer", problem)


def check_past(example: Example) -> BadDocument | None:
    """Returns what is wrong with an example that leaves nothing to be answered."""
    if read_past(example):
        return None
    return example.bad("no_question", "has an answer and nothing before it.")


def _texts(example: Example) -> list[str]:
    return [read_past(example), read_answer(example)]
