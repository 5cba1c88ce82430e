"""What is taken as evidence and what is refused, by content alone."""

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazardloop.service.errors import FileKindRefused
from hazardloop.service.file_content import MAGIC, media_type_of
from tests.files import CSV, JSON, jpeg, pdf, png, webp

TAKEN = {
    "image/jpeg": jpeg(),
    "image/png": png(),
    "image/webp": webp(),
    "application/pdf": pdf(),
    "text/csv": CSV,
    "application/json": JSON,
}


@pytest.mark.parametrize("media_type", TAKEN)
def test_a_whole_file_is_what_it_is(media_type: str) -> None:
    assert media_type_of(TAKEN[media_type]) == media_type


def test_a_phone_s_picture_of_several_parts_is_one() -> None:
    assert media_type_of(jpeg() + jpeg() + bytes(9)) == "image/jpeg"


def archive() -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as made:
        made.writestr("index.html", "<script>alert(1)</script>")
    return kept.getvalue()


REFUSED = {
    "a picture that runs scripts": (b"<svg onload=alert(1)>", "none of"),
    "a page": (b"<!doctype html><p>a,b", "none of"),
    "a program": (b"MZ\x90\0" + bytes(99), "none of"),
    "an archive": (archive(), "none of"),
    "a virus test file": (b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", "none of"),
    "nothing": (b"", "none of"),
    "a sound in the container of a picture": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(30), "none of"),
    "a PDF that does not begin as one": (b" " + pdf(), "none of"),
    "a JPEG with an archive behind it": (jpeg() + archive(), "follow its end"),
    "a JPEG with an archive within": (jpeg(more=archive()), "zip archive"),
    "a JPEG with a page within": (jpeg(more=b"<script>alert(1)</script>"), "script or a page"),
    "a JPEG that is a PDF, too": (jpeg(more=pdf()), "holds a PDF"),
    "a JPEG that is cut off": (jpeg()[:-1], "do not lead to its end"),
    "a JPEG without a picture": (b"\xff\xd8\xff\xd9", "do not lead to its end"),
    "a JPEG of 4,000 million pixels": (jpeg(65_500, 65_500), "pixels"),
    "a PNG of 100 million pixels": (png(10_000, 10_000), "pixels"),
    "a PNG of no width": (png(0, 5), "pixels"),
    "a PNG with an archive behind it": (png() + archive(), "follow its end"),
    "a PNG with an archive within": (png(more=archive()), "zip archive"),
    "a PNG with a wrong check sum": (png().replace(b"IDAT", b"IDAU"), "do not lead to its end"),
    "a PNG that is cut off": (png()[:-4], "do not lead to its end"),
    "a WebP with something behind it": (webp() + b"xx", "where it says"),
    "a WebP of no known picture": (webp().replace(b"VP8L", b"VP8?"), "pixels"),
    "a PDF with something behind it": (pdf() + archive(), "does not end as one"),
    "a PDF with a script": (pdf(b"/OpenAction<</S/JavaScript/JS(app.alert(1))>>"), "scripts"),
    "a PDF with a hidden script": (pdf(b"/OpenAction<</S/J#61vaScript>>"), "scripts"),
    "a PDF with a file in it": (pdf(b"/Names<</EmbeddedFiles 2 0 R>>"), "scripts"),
    "a PDF that starts a program": (pdf(b"/A<</S/Launch/F(x)>>"), "scripts"),
    "JSON of something else": (b'{"user": "x"}', "no list of readings"),
    "JSON without a zone": (JSON.replace(b"00Z", b"00"), "no list of readings"),
    "JSON that is deep": (b"[" * 100_000, "no list of readings"),
    "a table of something else": (b"a,b\r\n1,2\r\n", "no column observed_at and value"),
    "a table with a number that is none": (CSV.replace(b"12.5", b"=1+1"), "no table of readings"),
    "a table without zones": (CSV.replace(b"00Z", b"00"), "time zone"),
    "a table with too many fields": (CSV.replace(b"12.5", b"12.5,6"), "more fields"),
    "a table that is no text": (CSV.replace(b"GD", b"\xff\xfe"), "no table of readings"),
    "a table with a control character": (CSV.replace(b"GD", b"\x1b["), "character"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_whole_or_is_two_things_is_refused(what: str) -> None:
    content, reason = REFUSED[what]
    with pytest.raises(FileKindRefused, match=reason):
        media_type_of(content)


@settings(max_examples=300)
@given(kind=st.sampled_from(sorted(TAKEN)), data=st.data())
def test_a_damaged_file_is_judged_and_never_breaks_the_judge(
    kind: str, data: st.DataObject
) -> None:
    """And what is still taken is taken as what it was, or as text of readings."""
    content = bytearray(TAKEN[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        judged = media_type_of(bytes(content))
    except FileKindRefused:
        return
    assert judged == kind or kind not in MAGIC
