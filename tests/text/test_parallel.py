"""Parallel files: lines that belong together, or a refusal."""

import gzip

import pytest

from slimjax.errors import ConfigError, DataError
from slimjax.text.column_checks import check_columns
from slimjax.text.examples import iterate_examples
from slimjax.text.fields import choose_columns
from slimjax.text.records import DEFAULT_FORMAT
from slimjax.text.sources import parse_sources

KINDS = {"source": "text", "target": "text"}


def read(names, fields=None):
    columns = choose_columns(KINDS, fields or {}, header=True)
    found = iterate_examples(names, columns, style=DEFAULT_FORMAT)
    return [tuple(example.values.values()) for example in found]


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("_", ".")
        path.write_text(text, encoding="utf-8")


def test_lines_are_paired_whatever_their_files_are(tmp_path):
    write(tmp_path, a_en="one\ntwo\n\n", a_zh="\ufeff一\r\n二\r\n\n", b_en="three\n")
    (tmp_path / "b.zh").write_text("三", encoding="utf-8")
    expected = [("one", "一"), ("two", "二"), ("three", "三")]
    assert read(f"parallel:{tmp_path}/*.en,{tmp_path}/*.zh") == expected
    turned = {"source": "target", "target": "source"}
    found = read(f"parallel:{tmp_path}/*.en,{tmp_path}/*.zh", turned)
    assert found == [(target, source) for source, target in expected]
    for name in ("a.en", "a.zh"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
    packed = f"parallel:{tmp_path}/a.en.gz,{tmp_path}/a.zh.gz"
    assert read(packed) == expected[:2]
    assert read([packed, f"parallel:{tmp_path}/b.en,{tmp_path}/b.zh"]) == expected
    assert read(f"{packed},parallel:{tmp_path}/b.en,{tmp_path}/b.zh") == expected


def test_the_comma_counts_that_leaves_two_files(tmp_path):
    write(tmp_path, **{"a,b_en": "one", "c,d_zh": "一"})
    assert read(f"parallel:{tmp_path}/a,b.en,{tmp_path}/c,d.zh") == [("one", "一")]
    with pytest.raises(DataError, match="no comma of it leaves two patterns"):
        read(f"parallel:{tmp_path}/a,b.en,{tmp_path}/c,d.de")


@pytest.mark.parametrize(
    ("en", "zh", "message"),
    [
        ("one\ntwo", "一\n二\n三", "a.en has 2 lines, .*a.zh has 3: they must be"),
        ("one\n \n", "一\n二", "a.en, line 2 field source is empty"),
        ("one\ntwo", "一\n\n", "a.en, line 2 field target is empty"),
        ("", "", "a.en, line 1: the file is empty"),
    ],
)
def test_files_that_are_not_parallel_are_refused(tmp_path, en, zh, message):
    write(tmp_path, a_en=en, a_zh=zh)
    with pytest.raises(DataError, match=message) as caught:
        read(f"parallel:{tmp_path}/a.en,{tmp_path}/a.zh")
    assert "\n" not in str(caught.value)


def test_patterns_that_do_not_fit_are_refused(tmp_path):
    write(tmp_path, a_en="one", b_en="two", a_zh="一")
    with pytest.raises(DataError, match="matches 2 files, the second 1"):
        read(f"parallel:{tmp_path}/*.en,{tmp_path}/*.zh")
    with pytest.raises(DataError, match=r"a\.de does not exist"):
        read(f"parallel:{tmp_path}/a.en,{tmp_path}/a.de")
    with pytest.raises(
        ConfigError, match=r"one pattern, not two\. Write parallel:GLOB,"
    ):
        parse_sources("parallel:a.en")


def test_all_pairs_are_counted_before_the_first_line_is_read(tmp_path):
    write(tmp_path, a_en="one", a_zh="一", b_en="two\nthree", b_zh="二")
    names = f"parallel:{tmp_path}/*.en,{tmp_path}/*.zh"
    columns = choose_columns(KINDS, {}, header=True)
    with pytest.raises(DataError, match=r"b\.en has 2 lines, .*b\.zh has 1: they must"):
        check_columns(names, columns, style=DEFAULT_FORMAT)
