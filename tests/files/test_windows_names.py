"""Names and links of guests as Windows can have them; nothing here needs Windows."""

import pytest

from vhdx.files.windows_names import host_name, host_target
from vhdx.storage.windows_paths import refuse_as_one_name


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("plain.txt", "plain.txt"),
        ("漢ä", "漢ä"),
        ("12:30", "12%3A30"),
        ("a\\b", "a%5Cb"),
        ("..\\..\\evil", "..%5C..%5Cevil"),
        ('what? "so" <|>*', "what%3F %22so%22 %3C%7C%3E%2A"),
        ("line\nend", "line%0Aend"),
        ("end.", "end%2E"),
        ("ends...", "ends..%2E"),
        ("blank ", "blank%20"),
        ("con", "%63on"),
        ("NUL.txt", "%4EUL.txt"),
        ("com1", "%63om1"),
        ("lpt²", "%6Cpt²"),
        ("aux .c", "%61ux .c"),
        ("conin$", "%63onin$"),
        ("console", "console"),
        ("com10", "com10"),
        ("..", "%2E%2E"),
        ("...", "..%2E"),
        (".", "%2E"),
        ("", "%"),
        ("/x", "%2Fx"),
        ("caf\udce9", "caf%E9"),
        ("half\ud800", "half%uD800"),
        ("漢" * 255, "漢" * 255),
    ],
)
def test_names(name: str, written: str) -> None:
    assert host_name(name) == written
    refuse_as_one_name(written)


@pytest.mark.parametrize(
    "name", ["x" * 256, "漢" * 300, "\U0001f600" * 200, ":" * 100, "." * 300, "x" + "." * 300]
)
def test_long_names(name: str) -> None:
    written = host_name(name)
    assert len(written.encode("utf-16-le")) <= 2 * 255
    assert written != host_name(name + "y")
    refuse_as_one_name(written)


@pytest.mark.parametrize(
    ("target", "is_windows", "written"),
    [
        ("../a/b", False, "..\\a\\b"),
        ("/etc/x", False, "\\etc\\x"),
        ("/", False, "\\"),
        ("./12:30/nul", False, ".\\12%3A30\\%6Eul"),
        ("a\\b", False, "a%5Cb"),
        ("C:/x", False, "C%3A\\x"),
        ("\\\\server\\share", False, "%5C%5Cserver%5Cshare"),
        ("..\\a", True, "..\\a"),
        ("C:\\Users\\me", True, "C:\\Users\\me"),
        ("C:", True, "C:"),
        ("C:x", True, "C%3Ax"),
        ("\\??\\C:\\x", True, "\\%3F%3F\\C%3A\\x"),
        ("a/b/", True, "a\\b\\"),
    ],
)
def test_links(target: str, is_windows: bool, written: str) -> None:
    assert host_target(target, is_windows=is_windows) == written


@pytest.mark.parametrize(
    ("target", "is_windows"),
    [
        ("", False),
        ("//server/share", False),
        ("///x", False),
        ("\\\\server\\share", True),
        ("\\/server", True),
        ("\\\\?\\Volume{1}\\", True),
        ("C:\\\\x", False),
    ],
)
def test_links_that_are_not_made(target: str, is_windows: bool) -> None:
    if target.startswith("C:"):
        assert host_target(target, is_windows=is_windows) == "C%3A%5C%5Cx"
        return
    with pytest.raises(ValueError, match="left out"):
        host_target(target, is_windows=is_windows)


@pytest.mark.parametrize("name", ["", ".", "..", "a:b", "a\\b", "a/b", "a.", "a ", "nul", "a\0", "a\n", "a*"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="Windows"):
        refuse_as_one_name(name)
