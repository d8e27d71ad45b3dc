"""Whatever a file holds, its reader yields records or what is wrong with them."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimjax.errors import SlimjaxError
from slimjax.text.examples import Example, iterate_inputs
from slimjax.text.fields import choose_columns
from slimjax.text.kinds import KINDS
from slimjax.text.reading import BadDocument
from slimjax.text.records import Format, Record
from slimjax.text.sources import parse_source

GOOD = {
    "jsonl": b'{"text": "caf\xc3\xa9", "label": 1}\n{"text": [1], "label": null}\n',
    "csv": b'text,label\n"a, ""b""\n",1\ncaf\xc3\xa9,2\n',
    "conll": b"-DOCSTART- O\n\nNew\tB-LOC\nYork\tI-LOC\n\t\ncaf\xc3\xa9\tO\n",
    "squad": json.dumps(
        {
            "data": [
                {
                    "title": "t",
                    "paragraphs": [
                        {
                            "context": "It is blue.",
                            "qas": [
                                {
                                    "id": "1",
                                    "question": "What?",
                                    "answers": [{"text": "blue", "answer_start": 6}],
                                }
                            ],
                        }
                    ],
                }
            ]
        }
    ).encode(),
    "parallel": b"one\ntwo\ncaf\xc3\xa9\n",
}
DAMAGE = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 60), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)


def harm(data, damage):
    """Returns data with some of its parts replaced by others."""
    for start, size, other in damage:
        place = start % (len(data) + 1)
        data = data[:place] + other + data[place + size :]
    return data


@pytest.mark.parametrize("scheme", GOOD)
@settings(max_examples=60, deadline=None)
@given(damage=DAMAGE, packed=st.booleans(), header=st.booleans())
def test_a_damaged_file_is_read_as_far_as_it_goes(
    tmp_path_factory, scheme, damage, packed, header
):
    folder = tmp_path_factory.getbasetemp()
    path = folder / f"{scheme}.{'gz' if packed else 'txt'}"
    data = harm(
        gzip.compress(GOOD[scheme], mtime=0) if packed else GOOD[scheme], damage
    )
    path.write_bytes(data)
    twin = folder / "twin.txt"
    twin.write_bytes(GOOD["parallel"])
    name = f"{path},{twin}" if scheme == "parallel" else str(path)
    source, style = parse_source(f"{scheme}:{name}"), Format(header=header)
    (part,) = source.find_files(style)
    try:
        found = list(source.read_records(part, style))
    except SlimjaxError:
        found = None
    if found is None:  # Of another length than its twin.
        assert scheme == "parallel"
        return
    assert found or scheme in ("conll", "csv")
    for one in found:
        if isinstance(one, BadDocument):
            assert "\n" not in one.message
            assert one.path in (str(path), str(twin))
            continue
        assert isinstance(one, Record)
        for kind in KINDS.values():
            value = kind.read(one, ("text",))
            assert not isinstance(value, BadDocument) or "\n" not in value.message


@settings(max_examples=40, deadline=None)
@given(damage=DAMAGE)
def test_inputs_keep_their_order_whatever_is_bad_among_them(tmp_path_factory, damage):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "inputs.jsonl"
    lines = [b'{"text": "%d"}' % i for i in range(9)]
    lines[4] = harm(lines[4], damage).replace(b"\n", b" ") or b"{"
    path.write_bytes(b"\n".join(lines))
    columns = choose_columns({"text": "text"}, {}, header=True)
    found = list(iterate_inputs(f"jsonl:{path}", columns, style=Format()))
    good = [one.values["text"] for one in found if isinstance(one, Example)]
    if len(found) == 9:
        del found[4]
        assert [one.values["text"] for one in found] == list("01235678")
    else:
        assert not lines[4].strip()
        assert good == list("01235678")
