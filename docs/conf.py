"""The site, in two languages: `sphinx-build -W docs site` and `sphinx-build -W -c docs -t zh docs/zh site/zh`."""

import sys
from pathlib import Path

import chalkgrad

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
chinese = tags.has("zh")  # type: ignore[name-defined]  # noqa: F821  # Sphinx gives it

project = "chalkgrad"
author = "the authors of chalkgrad"
version = release = chalkgrad.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "directives"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
language = "zh_CN" if chinese else "en"
exclude_patterns = [] if chinese else ["zh"]
html_theme = "furo"
html_title = "chalkgrad"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
viewcode_line_numbers = True
suppress_warnings = ["myst.header"]
