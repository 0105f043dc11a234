"""A table of all formats of files that contain sysctls, and how a file's format is recognised.

Adding a format:

1. Write a module beside this one with `read(text, source, found)`. It puts each setting into `found` (Found.setting)
   and each place that it cannot read (Found.trouble), with line and column. It raises nothing, runs nothing, and its
   running time is linear in its input (tests/test_tuning_fuzz.py checks this). If the format consists of mappings, turn
   the text into YAML's nodes, as json_documents and toml_documents do: manifests.Document then finds the settings.
2. Add a row to FORMATS: its name, its module, the endings of its files' names, and a test that recognises its text.
   The first row that fits is used, so a row with a narrow test must come before one with a wide test.
3. Add a generator to tests/test_tuning_fuzz.py that knows what it has written, and a line to docs/sysctl-files.md.

If only a program can evaluate a format, add it to FOREIGN: it is then recognised, and refused in one sentence that
suggests what to give instead.
"""

import importlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from harness.sysctl_files.lines import Found

Test = Callable[[str], bool]
"""Whether a file's text is of a format."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format that `module` reads. A file has this format if its name has one of the `endings`, or else if `test`."""

    name: str
    module: str
    endings: tuple[str, ...]
    test: Test

    def read(self, text: str, source: str, found: Found) -> None:
        """Read one file into `found`."""
        importlib.import_module(f"harness.sysctl_files.{self.module}").read(text, source, found)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A format that only a program can evaluate, and what to give instead of it."""

    name: str
    endings: tuple[str, ...]
    looks: str
    """A regular expression for a line, compiled only when a text is tested."""
    instead: str


_COMMENT = re.compile(r"[ \t]*([#;].*)?(\r?\n|$)")
_HEADER = re.compile(r"\[[\w .:@-]+\][ \t]*([#;].*)?$", re.M)
_TOML_HEADER = re.compile(r"\[\[?[\w.\"'-]+\]\]?[ \t]*(#.*)?$", re.M)
_UNIT = re.compile(r"^\[(sysctl|main|Unit|Service|Container|Pod|Install|Quadlet)\]", re.M)
_TOML_PAIR = re.compile(r"^[ \t]*(\"[\w./*-]+\"[ \t]*=|[\w.-]+[ \t]*=[ \t]*(\"[^\"\n]*\"|\[.*)[ \t]*(#.*)?$)", re.M)

_SCRIPT = re.compile(
    r"^#!|^[ \t]*(sudo\s+)?(/\S*/)?(sysctl|docker|podman)\s|^(FROM|RUN|COPY|ADD)[ \t]"
    r"|^(?![ \t]*[#;]).*([>\s]/proc/sys/|--sysctl\b)",
    re.M,
)
_WRITES_A_FILE = re.compile(r"^(?![ \t]*[#;])[^\n]{0,200}\b(cat|tee)\b[^\n]{0,200}<<-?[ \t]*[\"'\\]?\w", re.M)
_SETTING = re.compile(r"(?<!\\\n)^[ \t]*-?[\w*-]*[./][\w./*-]*[ \t]*=(?!>)", re.M)
"""A line of sysctl.d. A shell's variables have no dots; a line like this may also continue a command."""

_MANIFEST = re.compile(
    r"^[ \t-]*[\"']?(sysctls|(ansible\.\w+\.)?sysctl|apiVersion)[\"']?[ \t]*:(?!:)"
    r"|^---[ \t]*$|^[ \t]+[\"']?(net|vm|kernel|fs)\.[\w./-]+[\"']?:[ \t]",
    re.M,
)
_MAPPING = re.compile(r"\s*[{\[]\s*[\"'{\[]")


def _first_line(text: str) -> int:
    """The offset of the first line that is neither empty nor a comment."""
    at = 0
    while at < len(text) and (comment := _COMMENT.match(text, at)) and comment.end() > at:
        at = comment.end()
    return at


def _is_script(text: str) -> bool:
    settings = _SETTING.search(text)
    return text.startswith("#!") or bool(_SCRIPT.search(text) and not settings) or bool(_WRITES_A_FILE.search(text))


def _is_ini(text: str) -> bool:
    return bool(_HEADER.match(text, _first_line(text)) and (_UNIT.search(text) or not _is_toml(text)))


def _is_toml(text: str) -> bool:
    at = _first_line(text)
    return not _UNIT.search(text) and bool(_TOML_HEADER.match(text, at) and _TOML_PAIR.search(text))


SYSCTL_D = Format("sysctl.d", "sysctl_d", (), lambda _: True)

FORMATS = (
    Format("cloud-config", "yaml_documents", (), lambda text: text.startswith("#cloud-config")),
    Format("YAML", "yaml_documents", (".yml", ".yaml", ".sls"), lambda _: False),
    Format("TOML", "toml_documents", (".toml",), _is_toml),
    Format("INI", "ini_files", (".ini", ".service", ".container", ".pod"), _is_ini),
    Format("JSON", "json_documents", (".json",), lambda text: bool(_MAPPING.match(text))),
    Format("shell", "scripts", (".sh", ".bash"), _is_script),
    Format("YAML", "yaml_documents", (), lambda text: bool(_MANIFEST.search(text))),
    SYSCTL_D,
)
"""In the order in which they are tried. A file whose name ends in .conf can only have a format of _OF_CONF."""

_GUESSED = ("shell", "sysctl.d", "INI", "TOML")
_OF_CONF = ("INI", "TOML", "sysctl.d")


def _lines(*patterns: str) -> str:
    """A regular expression for a line that matches any of these, indented or not, with or without trailing spaces."""
    ended = (each.removesuffix("$") + r"[ \t]*$" if each.endswith("$") else each for each in patterns)
    return "|".join(rf"^[ \t]*(?:{each})" for each in ended)


_RENDER = "render the template first, and give the result"
FOREIGN = (
    Foreign("a Terraform or HCL file", (".tf", ".hcl", ".tfvars"),
            _lines(r"(resource|variable|module|locals|provider|data|output|terraform)\b[^\n=:]*\{$"),
            "give the rendered file (`terraform show`), or the settings as a sysctl.d file"),
    Foreign("a Nix expression", (".nix",),
            _lines(r"boot\.kernel\.sysctl\b.*", r"\{[^\n}]*\.\.\.[^\n}]*\}[ \t]*:.*"),
            "give the file that it builds: /etc/sysctl.d/60-nixos.conf"),
    Foreign("a Puppet manifest", (".pp", ".epp"),
            _lines(r"(class|define|node)[ \t]+[\w:']+[^\n]*\{$", r"sysctl(::\w+)?[ \t]*\{[ \t]*(['\"$].*)?$"),
            "give the files that the Puppet agent writes from it"),
    Foreign("Ruby", (".rb",),
            _lines(r"(node\.)?(default|override|normal|set)\[['\":].*",
                   r"(sysctl|sysctl_param|describe|template|file)\b[^\n=]* do\b.*",
                   r"require(_relative)? ['\"].*", r"end$"),
            "give the settings as a sysctl.d file, or the file that it writes"),
    Foreign("Go", (".go",), _lines(r"package \w+$", r"func[ \t(].*"), "give the settings as a sysctl.d file"),
    Foreign("Python", (".py",), _lines(r"(import|from) [\w.]+.*", r"(def|class) \w+.*:$"),
            "give the settings as a sysctl.d file"),
    Foreign("XML", (".xml",), r"\A\s*<[?!\w]", "give the settings as a sysctl.d file"),
)  # fmt: skip
"""Formats that are recognised but not read. Go, Jinja, ERB and Terraform templates are recognised by their tags."""

_TEMPLATES = (
    ("a Jinja template", "{%", r"^[ \t]*\{%"),
    ("a Go template", "{{", r"^[ \t]*\{\{-?[ \t]*(if|else|end|range|with|define|include|template|block)\b"),
    ("an ERB template", "<%", r"^[ \t]*<%(?!=)"),
    ("a Terraform template", "%{", r"^[ \t]*%\{"),
)
"""Tags at the beginning of a line, which decide which lines the result has. A tag inside a line affects only that."""

_ENDINGS_OF_TEMPLATES = (".j2", ".jinja", ".jinja2", ".tmpl", ".tpl", ".gotmpl", ".erb", ".tftpl")


def format_of(path: str, text: str) -> Format:
    """The format of a file, by the ending of its name or else by its text."""
    ending = _ending(path)
    by_name = (each for each in FORMATS if ending in each.endings)
    by_text = (each for each in FORMATS if (ending != ".conf" or each.name in _OF_CONF) and each.test(text))
    return next(by_name, None) or next(by_text)


def _ending(path: str) -> str:
    path = path.lower()
    root, ending = os.path.splitext(path)  # noqa: PTH122
    return os.path.splitext(root)[1] if ending in _ENDINGS_OF_TEMPLATES else ending  # noqa: PTH122


def foreign(path: str, text: str, format: Format) -> tuple[int, str]:
    """The place that shows that a text has a foreign format, and a sentence on it; else empty.

    `format` is the format that it would be read as. A script or a document counts as foreign only by its file's name.
    """
    ending = _ending(path)
    guessed = format.name in _GUESSED and ending not in (".conf", ".sh", ".bash") and not text.startswith("#!")
    for each in FOREIGN:
        at = re.search(each.looks, text, re.M) if guessed or ending in each.endings else None
        if at or ending in each.endings:
            return at.start() if at else 0, f"this looks like {each.name}, which is not supported. Hint: {each.instead}"
    return 0, ""


def template(text: str) -> tuple[int, str]:
    """The place of the first template tag that decides which lines there are, and a sentence on it; else empty."""
    tags = ((name, re.search(pattern, text, re.M)) for name, opens, pattern in _TEMPLATES if opens in text)
    found = [(tag.start(), name) for name, tag in tags if tag]
    if not found:
        return 0, ""
    at, name = min(found)
    return at, f"this looks like {name}, which is not supported. Hint: {_RENDER}"
