"""How Sphinx builds the documents: `nox -s docs`."""

import aplus_adapters

project = "aplus_adapters"
version = release = aplus_adapters.__version__
copyright = "the authors of aplus_adapters"  # noqa: A001  # Sphinx calls it so
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"aplus_adapters {version}"
html_extra_path = ["llms.txt"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4  # anchors are spelled as GitHub spells them
suppress_warnings = ["misc.highlighting_failure"]  # JSON with dots for what is left out

# Docstrings name arguments and classes in plain backticks, and types are those of the signature.
default_role = "code"
autodoc_member_order = "alphabetical"
autodoc_class_signature = "separated"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
nitpicky = True
# What is documented elsewhere or only in the code: types of other libraries and of inner modules.
# A name that is public and that the reference lacks is still found.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!aplus_adapters\.[A-Z]\w*$).*"),
]
