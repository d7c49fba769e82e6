"""How Sphinx builds this documentation: `make docs`. Warnings, broken links among them, are errors."""

from vhdx.version import __version__

project = "vhdx"
author = "the makers of vhdx"
version = release = __version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_click"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!vhdx\.)(?!Disk$).*"),  # types of Python, and aliases that stand for several
    (
        "py:.*",
        r"vhdx\.(disk|ops|image|build|write|reshape|examine|format|storage|partitions|nbd|extents|rules)\..*",
    ),  # not public
]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"vhdx {__version__}"
html_copy_source = False
html_static_path = ["style"]
html_css_files = ["console.css"]
exclude_patterns = ["built"]

man_pages = [("reference/command", "vhdx", "VHDX virtual disks on any system", author, 1)]
man_show_urls = True
