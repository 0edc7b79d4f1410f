"""The site: lessons with their saved outputs, guides, and the reference from docstrings; it asks no other host.

Its source folder is the repository's root, so that links between guides and lessons hold on disk and on the site.
"""

import tomllib
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref

from dsl_teach.config import Settings, help_text

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT.get("urls", {}).get("Repository", "").rstrip("/")
"""The public address, on GitHub. While there is none, no page links to one."""
COLAB = REPOSITORY.replace("https://github.com", "https://colab.research.google.com/github")

project = "dsl_teach"
release = PROJECT["version"]
html_title = f"{project} {release}"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "notebooks/*.ipynb"]
exclude_patterns = ["**/_build", ".*", "runs", "data", "scratch"]
nb_execution_mode = "off"
nb_output_stderr = "remove"  # progress bars
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
viewcode_follow_imported_members = False
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_additional_pages = {"index": "forward.html"}
html_copy_source = html_show_copyright = html_show_sphinx = False


def describe(app, doctree):
    """Say of a figure without alternative text that a cell drew it; its file's name, the default, says nothing."""
    for image in doctree.findall(nodes.image):
        image["alt"] = image.get("alt") or "Figure drawn by the cell above"


def addresses(app, doctree):
    """Links that need the public address, where there is one: to Colab, and to folders, which have no page."""
    here = Path(app.env.doc2path(app.env.docname))
    for node in list(doctree.findall(pending_xref)):
        if (folder := here.parent / node["reftarget"]).is_dir():
            place = f"{REPOSITORY}/tree/main/{folder.resolve().relative_to(ROOT).as_posix()}"
            node.replace_self(nodes.reference("", "", *node.children, refuri=place) if REPOSITORY else node.children)
    if REPOSITORY and here.suffix == ".ipynb":
        place = f"{COLAB}/blob/main/{here.relative_to(ROOT).as_posix()}"
        doctree[0].insert(1, nodes.paragraph("", "", nodes.reference("", "Open in Colab", refuri=place)))


def complete(app, what, name, obj, options, lines):
    """List the settings in their text; keep napoleon from reading a constant's ``these: those`` as its type."""
    if what in ("attribute", "data", "property"):
        lines.insert(0, "")
    if obj is Settings:
        for group, fields in help_text().items():
            lines += ["", group, ""]
            defaults = {field: getattr(Settings.model_fields.get(field), "default", None) for field in fields}
            lines += [f"- ``{field}`` ({defaults[field]!r}): {help}" for field, help in fields.items()]


def shorten(app, what, name, obj, options, signature, returned):
    """The settings are too many for one signature; its text lists them."""
    return ("(**values)", None) if obj is Settings else None


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", shorten)
    app.connect("doctree-read", describe)
    app.connect("doctree-read", addresses)
    app.connect("autodoc-process-docstring", complete, priority=400)
