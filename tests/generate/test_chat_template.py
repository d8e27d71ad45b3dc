"""A message is written in the template of its model, and that can do no harm."""

import json
import re

import pytest

pytest.importorskip("jinja2")
tokenizers = pytest.importorskip("tokenizers")

from slimjax.data.json_tokenizer import JsonTokenizer  # noqa: E402
from slimjax.errors import ConfigError, DataError  # noqa: E402
from slimjax.generate.chat_template import write_chat  # noqa: E402

TEMPLATE = (
    "{% for message in messages %}"
    "<start>{{ message['role'] }}\n{{ message['content'] }}{{ eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}<start>assistant\n{% endif %}"
)


def make(template, name="tokenizer_config.json"):
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        special_tokens=["<start>", "<end>", "<pad>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    made.train_from_iterator([], trainer)
    config = {"eos_token": "<end>"}
    files = {}
    if name.endswith(".jinja"):
        files[name] = template.encode()
    else:
        config["chat_template"] = template
    files["tokenizer_config.json"] = json.dumps(config).encode()
    special = {"pad": 2, "bos": 0, "eos": 1, "adds_bos": 0}
    content = json.loads(made.to_str())
    size = made.get_vocab_size()
    return JsonTokenizer(content, special, vocab_size=size, files=files)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "chat_template.jinja"])
def test_a_message_is_written_with_special_tokens(name):
    tokenizer = make(TEMPLATE, name)
    text = write_chat(tokenizer, "Hi <end>.")
    assert text == "<start>user\nHi <end>.<end>\n<start>assistant\n"
    ids = tokenizer.encode_marked(text).tolist()
    assert ids.count(0) == 2
    assert not {0, 1} & set(tokenizer.encode(text).tolist())  # Plain text otherwise.


def test_of_several_templates_the_default_is_taken():
    several = [
        {"name": "tools", "template": "no"},
        {"name": "default", "template": "{{ messages[0].content }}"},
    ]
    assert write_chat(make(several), "yes") == "yes"


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% for i in range(10000000000) %}a{% endfor %}",
        "{{ raise_exception('only two roles') }}",
        "{% if %}",
        "{{ messages[5].content.upper() }}",
    ],
)
def test_a_template_that_fails_or_reaches_out_is_refused_in_a_line(template):
    with pytest.raises(DataError, match="chat template") as error:
        write_chat(make(template), "Hi.")
    assert "\n" not in str(error.value)


def test_a_model_without_a_template_is_refused():
    with pytest.raises(ConfigError, match="no chat template"):
        write_chat(make(""), "Hi.")


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        ("{{ strftime_now('%Y-%m') }}", r"\d{4}-\d\d"),
        ("{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}"
         "{% endfor %}", "1"),
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}", "<é> & 'x'"),
        ("{{ messages[0] | tojson }}",
         """{"role": "user", "content": "<é> & 'x'"}"""),
    ],
)  # fmt: skip
def test_templates_have_what_transformers_gives_them(template, pattern):
    assert re.fullmatch(pattern, write_chat(make(template), "<é> & 'x'"))


def test_json_of_a_template_may_be_indented():
    template = "{{ {'b': 1, 'a': [2]} | tojson(indent=1, sort_keys=true) }}"
    assert json.loads(write_chat(make(template), "Hi.")) == {"a": [2], "b": 1}
