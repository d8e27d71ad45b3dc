"""Text in other encodings: refused with what it is and what to do, or converted."""

import gzip

import pytest

from slimjax.errors import ConfigError, DataError
from slimjax.text.corpus import iterate_documents
from slimjax.text.encodings import check_encoding, explain
from slimjax.text.reading import read_lines
from slimjax.text.records import Format

CHINESE = "他说的是中国人。在这里有很多的书。今天天气很好。我们去公园玩。"
TRADITIONAL = "他說的是中國人。在這裡有很多的書。今天天氣很好。我們去公園玩。"
JAPANESE = "これは日本語の文章です。今日は天気がいいので、公園へ行きました。"
KOREAN = "이것은 한국어 문장입니다. 오늘은 날씨가 좋아서 공원에 갔습니다."
RUSSIAN = "Сегодня хорошая погода, и мы пошли в парк гулять."
TEXTS = [
    ("gb18030", CHINESE, "GB18030"),
    ("gbk", CHINESE, "GB18030"),
    ("big5", TRADITIONAL, "BIG5"),
    ("shift_jis", JAPANESE, "SHIFT_JIS"),
    ("euc-jp", JAPANESE, "EUC-JP"),
    ("euc-kr", KOREAN, "EUC-KR"),
    ("cp1251", RUSSIAN, "CP1251"),
    ("koi8-r", RUSSIAN, "KOI8-R"),
    ("latin-1", "Le café était fermé, à cause de la fête.", "CP1252"),
    ("utf-16", "plain words", "UTF-16"),
    ("utf-16-le", "plain words", "UTF-16LE"),
    ("utf-16-be", "plain words", "UTF-16BE"),
    ("utf-32", "plain words", "UTF-32"),
]


@pytest.mark.parametrize(("encoding", "text", "name"), TEXTS)
def test_the_message_names_the_encoding_and_the_setting_that_reads_it(
    tmp_path, encoding, text, name
):
    path = tmp_path / "a.txt"
    path.write_bytes((text * 9).encode(encoding))
    hint = explain(path.read_bytes())
    assert f"iconv -f {name} " in hint
    setting = hint.split("config.data.encoding=")[1].split(",")[0]
    style = Format(encoding=setting)
    assert list(iterate_documents(f"text:{path}", style=style)) == [text * 9]
    for source in (f"text:{path}", f"jsonl:{path}#text", f"csv:{path}#text"):
        with pytest.raises(DataError, match=f"iconv -f {name}") as caught:
            list(iterate_documents(source))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "hint"),
    [
        (gzip.compress(b"x", mtime=0), ".gz"),
        (b"PK\x03\x04\xff", "unpack"),
        (b"%PDF-1.4 \xff", "pdftotext"),
        (b"\x89PNG\r\n", "PNG"),
        ("汉字汉字汉字".encode() + b"\xff", "mend this character"),
        (b"\xff", "config.data.encoding"),
    ],
)
def test_other_bytes_are_named_too(head, hint):
    assert hint in explain(head)


def test_a_file_of_utf_16_is_refused_although_its_start_is_utf_8(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffwords".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"config\.data\.encoding=utf-16"):
        list(iterate_documents(f"text:{tmp_path}/a.txt"))


def test_a_file_that_is_not_in_the_encoding_that_was_set_is_an_error(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"abc \xff\xff\xff", mtime=0))
    with pytest.raises(DataError, match=r"a\.txt\.gz.* not gb18030"):
        list(
            iterate_documents(f"text:{tmp_path}/*.gz", style=Format(encoding="gb18030"))
        )


def test_a_byte_in_another_encoding_is_refused_with_its_line(tmp_path):
    path = tmp_path / "a.txt"
    good = "汉字\n".encode("gb18030") * 30_000
    path.write_bytes(good + b"abc \xff\xff\n" + good)
    style = Format(encoding="gb18030")
    with pytest.raises(DataError, match=r"a\.txt cannot be read: line 30001 is not gb"):
        list(iterate_documents(f"text:{path}", style=style))
    path.write_bytes(b"caf\xc3\xa9\n" * 50_000 + b"caf\xe9\n")
    with pytest.raises(DataError, match=r"a\.txt, line 50001, byte offset 300003"):
        list(iterate_documents(f"text:{path}"))
    *_, bad = read_lines(str(path), "utf-8")
    assert bad.message.endswith("the file mixes encodings. Convert this line.")


def test_an_unknown_encoding_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean gb18030"):
        check_encoding("gb18031", "config.data.encoding")
    check_encoding("iso-8859-15", "config.data.encoding")
